//! A backend that says what it was told to say.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use hearth_gateway::backend::{Activity, Asker, Backend, ModelState, ServedModel};
use hearth_gateway::event::{Event, EventStream, FinishReason, Usage};
use hearth_gateway::request::GenerateRequest;
use hearth_gateway::{Error, Result};
use tokio::sync::{mpsc, watch};

/// What happens to one request.
pub(super) enum Script {
    /// It is refused.
    Refuse(Error),
    /// These events, and then the end of the stream.
    Say(Vec<Result<Event>>),
    /// These events, and then silence until the stream is dropped.
    SayAndHang(Vec<Result<Event>>),
    /// The handler's task panics.
    Panic,
}

/// Takes the next script for each request.
pub(super) struct Scripted {
    scripts: Mutex<VecDeque<Script>>,
    /// What was asked.
    pub(super) asked: Mutex<Vec<GenerateRequest>>,
    cancelled: watch::Sender<usize>,
}

impl Default for Scripted {
    fn default() -> Scripted {
        let cancelled = watch::Sender::new(0);
        Scripted { scripts: Mutex::default(), asked: Mutex::default(), cancelled }
    }
}

impl Scripted {
    pub(super) fn then(&self, script: Script) {
        self.scripts.lock().unwrap().push_back(script);
    }

    /// Returns when this many streams were dropped before their end.
    pub(super) async fn wait_for_cancelled(&self, count: usize) {
        self.cancelled.subscribe().wait_for(|cancelled| *cancelled >= count).await.unwrap();
    }
}

#[async_trait]
impl Backend for Scripted {
    fn models(&self) -> Vec<ServedModel> {
        let model = |name: &str| ServedModel {
            name: name.to_owned(),
            state: ModelState::Idle,
            created_at: 5,
        };
        vec![model("m"), model("hf.co/a/b:q4")]
    }

    async fn generate(&self, _asker: Asker, request: GenerateRequest) -> Result<EventStream> {
        self.asked.lock().unwrap().push(request);
        let script = self.scripts.lock().unwrap().pop_front().expect("a script per request");
        let (events, hangs) = match script {
            Script::Refuse(error) => return Err(error),
            Script::Panic => panic!("as told"),
            Script::Say(events) => (events, false),
            Script::SayAndHang(events) => (events, true),
        };
        let (sender, stream) = mpsc::channel(1);
        let cancelled = self.cancelled.clone();
        tokio::spawn(async move {
            for event in events {
                if sender.send(event).await.is_err() {
                    break;
                }
            }
            if hangs {
                sender.closed().await;
                cancelled.send_modify(|count| *count += 1);
            }
        });
        Ok(stream)
    }

    async fn count_tokens(&self, request: GenerateRequest) -> Result<u32> {
        self.asked.lock().unwrap().push(request);
        Ok(3)
    }

    async fn load(&self, _model: &str) -> Result<()> {
        Ok(())
    }

    async fn unload(&self, _model: &str) -> Result<()> {
        Ok(())
    }

    fn activity(&self) -> Vec<Activity> {
        vec![Activity {
            model: "m".to_owned(),
            memory_bytes: 7,
            gpu_bytes: 0,
            context_tokens: 64,
            expires_in: Some(std::time::Duration::from_secs(300)),
            running: 1,
            waiting: 0,
            queue_wait_ms: 4,
            kv_pages_used: 2,
            kv_pages_cached: 1,
            kv_pages_total: 3,
            cached_tokens: 5,
            preemptions: 6,
        }]
    }
}

pub(super) fn started() -> Result<Event> {
    Ok(Event::Started { prompt_tokens: 3 })
}

pub(super) fn text(text: &str) -> Result<Event> {
    Ok(Event::Text { choice: 0, text: text.to_owned(), tokens: Vec::new() })
}

/// A whole answer of these pieces.
pub(super) fn whole(pieces: &[&str]) -> Script {
    let mut events = vec![started()];
    events.extend(pieces.iter().map(|piece| text(piece)));
    events.push(Ok(Event::Finished { choice: 0, reason: FinishReason::Stop }));
    let completion_tokens = pieces.len() as u32;
    events.push(Ok(Event::Done(Usage { prompt_tokens: 3, completion_tokens, ..Usage::default() })));
    Script::Say(events)
}
