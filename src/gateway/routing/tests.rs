//! Stories of requests that go elsewhere: real connections to providers on this machine that do
//! what they are told.

mod faults;
mod formats;
mod here;
mod keys;
mod money;
mod passage;
mod places;
mod shapes;
mod signed;
mod streams;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use hearth_store::{ChannelId, Store, UserId};
use serde_json::{Value, json};

use super::{Route, RoutingConfig, Switchboard};
use crate::backend::{Asker, Backend};
use crate::caller::Caller;
use crate::channels::{ChannelView, Channels, known_wire};
use crate::clock::Clock;
use crate::dialect::openai::parse_chat;
use crate::error::{Error, Result};
use crate::event::{Event, EventStream, Usage};
use crate::request::{GenerateRequest, RequestId};
use crate::vault::Vault;

use here::Here;
use upstream::Upstream;

struct Fixture {
    board: Switchboard,
    channels: Channels,
    here: Arc<Here>,
    store: Store,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(RoutingConfig::default())
    }

    fn with(config: RoutingConfig) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let vault = Vault::open(dir.path(), None).unwrap();
        let channels = Channels::new(store.clone(), vault, Clock::of(|| 777), known_wire);
        let here = Arc::new(Here::default());
        let local: Arc<dyn Backend> = Arc::clone(&here) as _;
        let board = Switchboard::new(local, channels.clone(), config);
        Fixture { board, channels, here, store, _dir: dir }
    }

    /// A channel to this provider that offers `m`, changed by this.
    async fn channel(&self, name: &str, base_url: &str, change: Value) -> ChannelView {
        let mut spec = json!({
            "name": name,
            "type": "openai-compatible",
            "base_url": base_url,
            "keys": ["sk-test-0123456789"],
            "settings": {
                "models": ["m"],
                "network": { "allow_private": ["127.0.0.1"] },
                "timeouts": { "first_byte_ms": 5000, "idle_ms": 5000 },
            },
        });
        crate::channels::merge(&mut spec, &change, 0).unwrap();
        let spec = serde_json::from_value(spec).unwrap();
        self.channels.create(&Caller::operator(), spec).await.unwrap()
    }

    async fn route(&self, model: &str, route: Value) {
        let route: Route = serde_json::from_value(route).unwrap();
        self.channels.set_route(&Caller::operator(), model, &route).await.unwrap();
    }

    async fn ask(&self, model: &str) -> Result<EventStream> {
        self.board.generate(Asker::default(), chat(model, "hi")).await
    }

    /// The whole answer to a request that must be answered.
    async fn say(&self, model: &str) -> Said {
        heard(self.ask(model).await.unwrap()).await
    }

    fn show(&self, id: ChannelId) -> ChannelView {
        self.channels.show(&Caller::operator(), id).unwrap()
    }
}

/// An answer, read to its end.
#[derive(Debug, Default)]
struct Said {
    channel: Option<ChannelId>,
    text: String,
    usage: Option<Usage>,
    error: Option<Error>,
}

async fn heard(mut stream: EventStream) -> Said {
    let mut said = Said::default();
    let all = async {
        while let Some(event) = stream.recv().await {
            match event {
                Ok(Event::Served { channel, .. }) => said.channel = Some(channel),
                Ok(Event::Text { text, .. }) => said.text.push_str(&text),
                Ok(Event::Done(usage)) => said.usage = Some(usage),
                Ok(_) => {}
                Err(error) => said.error = Some(error),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("a stream ends");
    said
}

fn chat(model: &str, question: &str) -> GenerateRequest {
    turns(model, &[("user", question)])
}

fn turns(model: &str, turns: &[(&str, &str)]) -> GenerateRequest {
    let message = |(role, content): &(&str, &str)| json!({ "role": role, "content": content });
    let messages: Vec<Value> = turns.iter().map(message).collect();
    let body = json!({ "model": model, "messages": messages, "temperature": 0.5 }).to_string();
    let call = parse_chat(body.as_bytes(), RequestId("r".to_owned())).unwrap();
    call.requests.into_iter().next().unwrap()
}
