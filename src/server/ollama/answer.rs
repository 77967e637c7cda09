//! `/api/chat` and `/api/generate`: answers as lines or as one object, loads and unloads.

use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hearth_gateway::Error as GatewayError;
use hearth_gateway::backend::KeepAlive;
use hearth_gateway::caller::Caller;
use hearth_gateway::dialect::ollama::{self, Call, Printer, Shape, Task, Timing};
use hearth_gateway::error::Feature;
use hearth_gateway::event::Event;
use hearth_gateway::request::RequestId;
use serde_json::json;

use super::fold::folded;
use super::now;
use crate::body::{AnyBytes, parse, tell_ignored};
use crate::error::{Dialect, Failure, Result};
use crate::guard::Signed;
use crate::ndjson;
use crate::running::{Print, Running, ignored as told};
use crate::state::AppState;

pub(crate) async fn chat(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    AnyBytes(body): AnyBytes,
) -> Result<Response> {
    let started = Instant::now();
    let call = parse(&state, body, id, |body, id| ollama::parse_chat(&folded(body), id)).await?;
    Answer { state, started }.give(&caller, call).await
}

pub(crate) async fn generate(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    AnyBytes(body): AnyBytes,
) -> Result<Response> {
    let started = Instant::now();
    let call =
        parse(&state, body, id, |body, id| ollama::parse_generate(&folded(body), id)).await?;
    Answer { state, started }.give(&caller, call).await
}

/// What is known of an answer before it begins.
struct Answer {
    state: AppState,
    started: Instant,
}

impl Answer {
    async fn give(self, caller: &Caller, call: Call) -> Result<Response> {
        let Call { model, task, shape, is_streamed, keep_alive, mut ignored } = call;
        let mut response = match task {
            Task::Load => self.load(caller, &model, shape, keep_alive).await?,
            Task::Render(request) => {
                // It shows what the model's maker may want to keep.
                caller.require_admin()?;
                let text = self.state.gateway().render(caller, *request).await?;
                let about = json!({ "rendered_template": text, "image_count": 0 });
                let shown = json!({ "model": model, "created_at": now(), "_debug_info": about });
                axum::Json(shown).into_response()
            }
            Task::Generate(request) => {
                let printer = Printer::new(shape, model.clone(), request.logprobs.is_some());
                let request = request.streamed(is_streamed);
                let begun = Running::begin(self.state.clone(), caller, request).await;
                let (running, first) = begun.map_err(|error| by_route(error, shape))?;
                ignored = told(&first, ignored);
                if let Some(time) = keep_alive
                    && !keep(&self.state, caller, &running.model, time).await?
                {
                    ignored.push("keep_alive".to_owned());
                }
                match is_streamed {
                    true => {
                        let lines = Lines { printer, started: self.started };
                        ndjson::answer(running.stream(first, lines))
                    }
                    false => {
                        let events = running.all(first).await?;
                        let answer = printer.answer(events, &timing(self.started));
                        axum::Json(answer).into_response()
                    }
                }
            }
        };
        tell_ignored(response.headers_mut(), &ignored);
        Ok(response)
    }

    /// Makes the model ready, or lets it go.
    async fn load(
        &self,
        caller: &Caller,
        model: &str,
        shape: Shape,
        keep_alive: Option<KeepAlive>,
    ) -> Result<Response> {
        let gateway = self.state.gateway();
        let printer = Printer::new(shape, model.to_owned(), false);
        if keep_alive == Some(KeepAlive::For(Duration::ZERO)) {
            gateway.unload(caller, model).await?;
            return Ok(axum::Json(printer.loaded("unload", &timing(self.started))).into_response());
        }
        gateway.prepare(caller, model).await?;
        let mut response =
            axum::Json(printer.loaded("load", &timing(self.started))).into_response();
        if let Some(time) = keep_alive
            && !keep(&self.state, caller, model, time).await?
        {
            tell_ignored(response.headers_mut(), &["keep_alive".to_owned()]);
        }
        Ok(response)
    }
}

/// The gateway knows no routes: which of the two a model does not support is this one's to say.
fn by_route(error: GatewayError, shape: Shape) -> GatewayError {
    match error {
        GatewayError::Unsupported { model, feature: Feature::Chat, message }
            if shape == Shape::Generate =>
        {
            GatewayError::Unsupported { model, feature: Feature::Generate, message }
        }
        other => other,
    }
}

/// Sets how long the model stays; `false` if that is not the caller's to say.
pub(super) async fn keep(
    state: &AppState,
    caller: &Caller,
    model: &str,
    time: KeepAlive,
) -> Result<bool> {
    if caller.require_admin().is_err() {
        return Ok(false);
    }
    state.gateway().keep(caller, model, time).await?;
    Ok(true)
}

/// Lines, the last one with `done: true`.
struct Lines {
    printer: Printer,
    started: Instant,
}

impl Print for Lines {
    type Piece = String;

    fn print(&mut self, event: Event) -> Vec<String> {
        let objects = self.printer.objects(event, &timing(self.started)).into_iter();
        objects.map(|object| format!("{object}\n")).collect()
    }

    fn fail(&mut self, failure: &Failure, id: &RequestId) -> Vec<String> {
        let body = failure.body(Dialect::Ollama, &id.0);
        let error = body["error"].as_str().unwrap_or_default();
        vec![format!("{}\n", self.printer.failed(error, &timing(self.started)))]
    }
}

fn timing(started: Instant) -> Timing {
    Timing { created_at: now(), since_start: started.elapsed() }
}
