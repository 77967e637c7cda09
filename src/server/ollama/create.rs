//! `/api/create`: makes a model out of one that is there, or of files that were sent.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use hearth_gateway::dialect::ollama::check_parameters;
use hearth_gateway::request::RequestId;
use hearth_hub::{Base, Changes, CreateStep, Digest, ModelName, ProfileMessage, Recipe};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::library::read;
use crate::body::AnyBytes;
use crate::error::{Dialect, Failure, Result};
use crate::guard::Signed;
use crate::ndjson;
use crate::state::AppState;

/// Most messages and licences of one model.
const MAX_TEXTS: usize = 32;
/// Time between two lines that tell how far quantising is.
const LINE_INTERVAL: Duration = Duration::from_millis(100);
/// Lines that may wait for the client: one for each text of a model, and some more.
const WAITING_LINES: usize = 4 * MAX_TEXTS;
/// So many places are left to the lines that must not be missed.
const KEPT_LINES: usize = 3 * MAX_TEXTS;
/// What Ollama calls the file that is being quantised, which has no digest yet.
const NO_DIGEST: &str = "0000000000000000000";

/// The body; what is not known is passed over, as in Ollama.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    model: String,
    name: String,
    from: String,
    files: BTreeMap<String, String>,
    adapters: BTreeMap<String, String>,
    template: String,
    system: String,
    license: Value,
    parameters: Option<Map<String, Value>>,
    messages: Vec<ProfileMessage>,
    quantize: String,
    quantization: String,
    renderer: String,
    parser: String,
    requires: String,
    draft_files: BTreeMap<String, String>,
    stream: Option<bool>,
}

pub(crate) async fn create(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    AnyBytes(body): AnyBytes,
) -> Result<Response> {
    let wanted: Wanted = read(&state, body, id.clone()).await?;
    let name = if wanted.model.is_empty() { &wanted.name } else { &wanted.model }.clone();
    if name.parse::<ModelName>().is_err() {
        return Err(Failure::invalid("invalid model name"));
    }
    let base = match (wanted.from.as_str(), wanted.files.is_empty()) {
        ("", true) => return Err(Failure::invalid("neither 'from' or 'files' was specified")),
        ("", false) => Base::Files(digests(&wanted.files)?),
        (from, true) => {
            let served = state.gateway().model(&caller, from)?;
            Base::Model(served.name.parse::<ModelName>()?)
        }
        (_, false) => return Err(Failure::invalid("'from' and 'files' exclude each other")),
    };
    let is_streamed = wanted.stream.unwrap_or(true);
    let notes = wanted.notes();
    let mut lines = begin(&state, name, Recipe { base, changes: wanted.changes()? });
    let next = async |lines: &mut mpsc::Receiver<Result<Value>>| {
        let ended = || Err(Failure::internal("the making of a model ended without a word"));
        lines.recv().await.unwrap_or_else(ended)
    };
    // A failure before the first line has a status of its own.
    let mut first = next(&mut lines).await?;
    if !is_streamed {
        while first["status"] != "success" {
            first = next(&mut lines).await?;
        }
        return Ok(axum::Json(first).into_response());
    }
    let mut before = vec![first];
    before.splice(0..0, notes.into_iter().map(|words| json!({ "status": words })));
    let before: String = before.iter().map(|line| format!("{line}\n")).collect();
    let lines = stream::unfold((Some(before), lines, id), async |(before, mut lines, id)| {
        let text = match before {
            Some(before) => before,
            None => match lines.recv().await? {
                Ok(line) => format!("{line}\n"),
                Err(failure) => {
                    let body = failure.body(Dialect::Ollama, &id.0);
                    format!("{}\n", json!({ "error": body["error"] }))
                }
            },
        };
        Some((text, (None, lines, id)))
    });
    Ok(ndjson::answer(lines))
}

/// Starts the work; its lines end with success or a failure. It ends by itself, and at the next
/// step when the client is gone.
fn begin(state: &AppState, name: String, recipe: Recipe) -> mpsc::Receiver<Result<Value>> {
    let (sender, lines) = mpsc::channel(WAITING_LINES);
    let (library, now) = (Arc::clone(state.library()), state.now());
    state.tasks().spawn_blocking(move || {
        let mut told: Option<Instant> = None;
        let mut on_step = |step: CreateStep| {
            if sender.is_closed() {
                return ControlFlow::Break(());
            }
            if let CreateStep::Quantizing { progress, .. } = &step {
                let is_soon = told.is_some_and(|told| told.elapsed() < LINE_INTERVAL);
                if is_soon && progress.done_bytes < progress.total_bytes {
                    return ControlFlow::Continue(());
                }
                told = Some(Instant::now());
                // A client that reads slowly misses some.
                if sender.capacity() <= KEPT_LINES {
                    return ControlFlow::Continue(());
                }
            }
            // The library does not wait for whoever reads.
            let _ = sender.try_send(Ok(line(step)));
            ControlFlow::Continue(())
        };
        let made = library.create(&name, &recipe, now, &mut on_step);
        let end = made.map(|_| json!({ "status": "success" })).map_err(Failure::from);
        // Whoever is gone does not hear the end.
        let _ = sender.blocking_send(end);
    });
    lines
}

/// A step in Ollama's words.
fn line(step: CreateStep) -> Value {
    match step {
        CreateStep::Checked { is_gguf: true } => json!({ "status": "parsing GGUF" }),
        CreateStep::Checked { is_gguf: false } => json!({ "status": "parsing safetensors" }),
        CreateStep::NoTemplate(Some(family)) => {
            json!({ "status": format!("using autodetected template {family}") })
        }
        CreateStep::NoTemplate(None) => {
            let words = "the model has no chat template: chats are written as lines of \
                         'role: text' unless TEMPLATE says otherwise";
            json!({ "status": words })
        }
        CreateStep::Quantizing { from, to, progress } => json!({
            "status": format!("quantizing {from} model to {to}"), "digest": NO_DIGEST,
            "total": progress.total_bytes, "completed": progress.done_bytes,
        }),
        CreateStep::Layer { digest, is_new: true } => {
            json!({ "status": format!("creating new layer {digest}") })
        }
        CreateStep::Layer { digest, is_new: false } => {
            json!({ "status": format!("using existing layer {digest}") })
        }
        CreateStep::Naming => json!({ "status": "writing manifest" }),
    }
}

fn digests(files: &BTreeMap<String, String>) -> Result<HashMap<String, Digest>> {
    let digest =
        |text: &String| Digest::parse(text).map_err(|_| Failure::invalid("invalid digest format"));
    files.iter().map(|(name, text)| Ok((name.clone(), digest(text)?))).collect()
}

impl Wanted {
    /// What is understood and has no effect here.
    fn notes(&self) -> Vec<&'static str> {
        let has_code = !(self.renderer.is_empty() && self.parser.is_empty());
        let code = "renderer and parser have no effect: the chat template is used";
        let requires = "requires has no effect: it names a version of Ollama";
        [(has_code, code), (!self.requires.is_empty(), requires)]
            .into_iter()
            .filter_map(|(is_said, words)| is_said.then_some(words))
            .collect()
    }

    fn changes(self) -> Result<Changes> {
        if !self.adapters.is_empty() {
            return Err(Failure::invalid("adapters are not supported by this version of Hearth"));
        }
        if !self.draft_files.is_empty() {
            let message = "draft models are not kept in a model: name one in engine.draft_models";
            return Err(Failure::invalid(message));
        }
        let quantization = [self.quantize, self.quantization].into_iter().find(|q| !q.is_empty());
        let quantization = quantization.map(|name| name.parse()).transpose()?;
        let parameters = self.parameters.unwrap_or_default();
        check_parameters(&parameters)?;
        let licenses = match self.license {
            Value::Null => Vec::new(),
            Value::String(text) if text.is_empty() => Vec::new(),
            Value::String(text) => vec![text],
            Value::Array(list) => list
                .into_iter()
                .map(|text| match text {
                    Value::String(text) => Ok(text),
                    _ => Err(Failure::invalid("license must be a string or a list of strings")),
                })
                .collect::<Result<_>>()?,
            _ => return Err(Failure::invalid("license must be a string or a list of strings")),
        };
        let roles = ["system", "user", "assistant"];
        if self.messages.iter().any(|message| !roles.contains(&message.role.as_str())) {
            return Err(Failure::invalid("a message's role must be system, user or assistant"));
        }
        if licenses.len() > MAX_TEXTS || self.messages.len() > MAX_TEXTS {
            let message = format!("a model carries at most {MAX_TEXTS} messages and licenses");
            return Err(Failure::invalid(message));
        }
        let given = |text: String| (!text.is_empty()).then_some(text);
        Ok(Changes {
            system: given(self.system),
            template: given(self.template),
            parameters,
            messages: (!self.messages.is_empty()).then_some(self.messages),
            licenses,
            quantization,
        })
    }
}
