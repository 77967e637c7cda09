//! Stories of requests, on a real store and with a scripted backend.

mod ends;
mod guarded;
mod kept;
mod money;
mod scripted;
mod ways;

use std::sync::Arc;
use std::time::Duration;

use hearth_store::{Store, UsageFilter, UsageRow, UserId, UserRole};

use super::{Gateway, GatewayConfig};
use crate::caller::{Caller, Via};
use crate::clock::Clock;
use crate::error::Result;
use crate::event::{Event, EventStream, FinishReason, Usage};
use crate::request::{AnswerRules, GenerateRequest, Input, Priority, RequestId, Sampling, Window};

use scripted::Scripted;

struct Fixture {
    gateway: Gateway,
    backend: Arc<Scripted>,
    store: Store,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new(config: GatewayConfig) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let backend = Arc::new(Scripted::default());
        let clock = Clock::of(|| 777);
        let backends: Vec<Arc<dyn crate::backend::Backend>> = vec![Arc::clone(&backend) as _];
        let gateway = Gateway::new(store.clone(), backends, config, clock);
        Fixture { gateway, backend, store, _dir: dir }
    }

    async fn rows(&self) -> Vec<UsageRow> {
        let mut rows = self.store.usage().latest(UsageFilter::default(), 100).await.unwrap();
        rows.reverse();
        rows
    }

    /// Waits until this many requests are recorded.
    async fn recorded(&self, count: usize) -> Vec<UsageRow> {
        let all = async {
            loop {
                let rows = self.rows().await;
                if rows.len() >= count {
                    return rows;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), all).await.unwrap()
    }
}

fn caller() -> Caller {
    Caller {
        user_id: Some(UserId(1)),
        name: "ann".to_owned(),
        role: UserRole::User,
        via: Via::Session(hearth_store::SessionHash([0; 32])),
        scope: crate::caller::Scope::default(),
    }
}

fn request(id: &str) -> GenerateRequest {
    GenerateRequest {
        id: RequestId(id.to_owned()),
        model: "m".to_owned(),
        input: Input::Text("once".to_owned()),
        priority: Priority::Default,
        sampling: Sampling::default(),
        max_tokens: None,
        stop: Vec::new(),
        choices: 1,
        logprobs: None,
        echo: false,
        rules: AnswerRules::default(),
        window: Window::default(),
        fallback: Sampling::default(),
        extras: None,
    }
}

fn started(prompt_tokens: u32) -> Result<Event> {
    Ok(Event::Started { prompt_tokens })
}

fn text(choice: u16, text: &str) -> Result<Event> {
    Ok(Event::Text { choice, text: text.to_owned(), tokens: Vec::new() })
}

fn finished(choice: u16) -> Result<Event> {
    Ok(Event::Finished { choice, reason: FinishReason::Stop })
}

fn done(prompt_tokens: u32, completion_tokens: u32) -> Result<Event> {
    Ok(Event::Done(Usage { prompt_tokens, completion_tokens, ..Usage::default() }))
}

async fn read_all(mut stream: EventStream) -> Vec<Result<Event>> {
    let mut events = Vec::new();
    while let Some(event) = stream.recv().await {
        events.push(event);
    }
    events
}
