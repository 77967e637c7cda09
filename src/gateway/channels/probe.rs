//! Tests a channel: its list of models, and a word of one of them.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::exchange::{self, Trouble};
use super::live::Live;
use crate::dialect::openai::parse_chat;
use crate::error::Error;
use crate::event::Event;
use crate::request::{GenerateRequest, RequestId};
use crate::wire::{Shape, Target};

/// Longest list of models, in bytes.
const MAX_LIST_BYTES: usize = 16 << 20;
/// Longest answer to the test, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// How long a test may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Longest text of the answer that is shown, in characters.
const MAX_SHOWN_CHARS: usize = 200;

/// How a channel did in a test.
#[derive(Clone, Debug, Serialize)]
pub struct Probe {
    /// Whether it can be used.
    pub ok: bool,
    pub list: ProbeList,
    /// `None` where there is no model to ask.
    pub answer: Option<ProbeAnswer>,
}

/// The provider's list of models.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeList {
    pub took_ms: u64,
    pub models: Vec<String>,
    /// The provider's own words.
    pub error: Option<String>,
}

/// A word of one model.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeAnswer {
    pub model: String,
    pub took_ms: u64,
    pub text: String,
    /// The provider's own words.
    pub error: Option<String>,
}

/// Asks for the list, and the model `asked`, or the channel's test model, or the first it knows.
pub(super) async fn probe(live: &Live, asked: Option<&str>) -> Probe {
    let list = list(live).await;
    let model = asked
        .or(live.settings.test_model.as_deref())
        .map(str::to_owned)
        .or_else(|| live.listed().min().cloned())
        .or_else(|| list.models.first().cloned());
    let answer = match model {
        Some(model) => Some(answer(live, model).await),
        None => None,
    };
    let ok = match &answer {
        Some(answer) => answer.error.is_none(),
        None => list.error.is_none(),
    };
    Probe { ok, list, answer }
}

pub(super) async fn list(live: &Live) -> ProbeList {
    let started = Instant::now();
    let listed = async {
        let key = &live.keys[0];
        let response = exchange::get(live, key, live.wire.models_path()).await?;
        let body = exchange::read(response, MAX_LIST_BYTES, started + LIMIT).await?;
        live.wire.models(&body).map_err(Trouble::from)
    };
    let (models, error) = match listed.await {
        Ok(models) => (models, None),
        Err(trouble) => (Vec::new(), Some(trouble.message)),
    };
    ProbeList { took_ms: millis(started), models, error }
}

async fn answer(live: &Live, model: String) -> ProbeAnswer {
    let started = Instant::now();
    let (text, error) = match say(live, &model, started + LIMIT).await {
        Ok(text) => (text, None),
        Err(trouble) => (String::new(), Some(trouble.message)),
    };
    ProbeAnswer { model, took_ms: millis(started), text, error }
}

async fn say(live: &Live, model: &str, until: Instant) -> Result<String, Trouble> {
    let request = question(model).map_err(Trouble::cannot_carry)?;
    let target = Target { model: live.own_name(model).to_owned(), shape: Shape::Whole };
    let mut call = live.wire.call(&request, &target).map_err(Trouble::cannot_carry)?;
    for change in &live.settings.request.overrides {
        change.apply(&mut call.body);
    }
    let response = exchange::post(live, &live.keys[0], &call).await?;
    let body = exchange::read(response, MAX_ANSWER_BYTES, until).await?;
    let (mut reader, mut events) = (live.wire.reader(&request, Shape::Whole), Vec::new());
    reader.feed(&body, &mut events).map_err(Trouble::from)?;
    reader.end(&mut events).map_err(Trouble::from)?;
    let texts = events.iter().filter_map(|event| match event {
        Event::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    Ok(texts.collect::<String>().chars().take(MAX_SHOWN_CHARS).collect())
}

/// Enough tokens for models that think first.
fn question(model: &str) -> Result<GenerateRequest, Error> {
    let message = json!({ "role": "user", "content": "Say OK." });
    let body = json!({ "model": model, "messages": [message], "max_tokens": 256 });
    let call = parse_chat(body.to_string().as_bytes(), RequestId("probe".to_owned()))?;
    call.requests.into_iter().next().ok_or(Error::NotFound)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
