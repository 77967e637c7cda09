//! `/api/chat` and `/api/generate`: answers as lines or as one object, loads and unloads.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use hearth_gateway::Error as GatewayError;
use hearth_gateway::backend::KeepAlive;
use hearth_gateway::caller::Caller;
use hearth_gateway::dialect::ollama::{self, Call, Printer, Shape, Task, Timing};
use hearth_gateway::error::Feature;
use hearth_gateway::event::{Event, EventStream};
use hearth_gateway::request::{GenerateRequest, RequestId};

use super::{now, tell_ignored};
use crate::body::{AnyBytes, parse};
use crate::error::{Dialect, Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

pub(crate) async fn chat(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    AnyBytes(body): AnyBytes,
) -> Result<Response> {
    let started = Instant::now();
    let call = parse(&state, body, id.clone(), ollama::parse_chat).await?;
    Answer { state, id, started }.give(&caller, call).await
}

pub(crate) async fn generate(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    AnyBytes(body): AnyBytes,
) -> Result<Response> {
    let started = Instant::now();
    let call = parse(&state, body, id.clone(), ollama::parse_generate).await?;
    Answer { state, id, started }.give(&caller, call).await
}

/// What is known of an answer before it begins.
struct Answer {
    state: AppState,
    id: RequestId,
    started: Instant,
}

impl Answer {
    async fn give(self, caller: &Caller, call: Call) -> Result<Response> {
        let Call { model, task, shape, is_streamed, keep_alive, mut ignored } = call;
        let mut response = match task {
            Task::Load => self.load(caller, &model, shape, keep_alive).await?,
            Task::Generate(request) => {
                let printer = Printer::new(shape, model.clone(), request.logprobs.is_some());
                let served = self.state.gateway().model(caller, &model)?.name;
                let (first, events) = self.begin(caller, *request, shape).await?;
                if let Some(time) = keep_alive
                    && !keep(&self.state, caller, &served, time).await?
                {
                    ignored.push("keep_alive".to_owned());
                }
                let answering = Answering {
                    answer: self,
                    printer,
                    model: served,
                    events,
                    ready: VecDeque::new(),
                    has_ended: false,
                };
                match is_streamed {
                    true => answering.stream(first),
                    false => answering.whole(first).await?,
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
            return Ok(axum::Json(printer.loaded("unload", &self.timing())).into_response());
        }
        gateway.prepare(caller, model).await?;
        let mut response = axum::Json(printer.loaded("load", &self.timing())).into_response();
        if let Some(time) = keep_alive
            && !keep(&self.state, caller, model, time).await?
        {
            tell_ignored(response.headers_mut(), &["keep_alive".to_owned()]);
        }
        Ok(response)
    }

    async fn begin(
        &self,
        caller: &Caller,
        request: GenerateRequest,
        shape: Shape,
    ) -> std::result::Result<(Event, EventStream), GatewayError> {
        let begun = self.state.gateway().generate(caller, request).await;
        let mut events = begun.map_err(|error| match error {
            GatewayError::Unsupported { model, feature: Feature::Chat, message }
                if shape == Shape::Generate =>
            {
                GatewayError::Unsupported { model, feature: Feature::Generate, message }
            }
            other => other,
        })?;
        Ok((next(&mut events).await?, events))
    }

    fn timing(&self) -> Timing {
        Timing { created_at: now(), since_start: self.started.elapsed() }
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

/// The next event; a stream that ends without `Done` is a fault.
async fn next(events: &mut EventStream) -> std::result::Result<Event, GatewayError> {
    let cut = || Err(GatewayError::Internal("the events ended without `Done`".to_owned()));
    events.recv().await.unwrap_or_else(cut)
}

/// An answer under way. Dropping it drops the events, which cancels the generation.
struct Answering {
    answer: Answer,
    printer: Printer,
    /// By its full name, for the metrics.
    model: String,
    events: EventStream,
    /// Lines that are not sent yet.
    ready: VecDeque<String>,
    has_ended: bool,
}

impl Answering {
    async fn whole(mut self, first: Event) -> Result<Response> {
        let mut events = Vec::new();
        let mut event = first;
        loop {
            let is_last = self.count(&event);
            events.push(event);
            if is_last {
                let timing = self.answer.timing();
                return Ok(axum::Json(self.printer.answer(events, &timing)).into_response());
            }
            event = next(&mut self.events).await?;
        }
    }

    fn stream(self, first: Event) -> Response {
        let lines = self.lines(first).map(Ok::<_, Infallible>);
        let mut response = Response::new(Body::from_stream(lines));
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/x-ndjson");
        headers.insert(header::CONTENT_TYPE, kind);
        // nginx holds answers back without it.
        let name = HeaderName::from_static("x-accel-buffering");
        headers.insert(name, HeaderValue::from_static("no"));
        response
    }

    fn lines(mut self, first: Event) -> impl Stream<Item = String> + Send + 'static {
        self.take(Ok(first));
        stream::unfold(self, |mut answering| async move {
            loop {
                if let Some(line) = answering.ready.pop_front() {
                    return Some((line, answering));
                }
                if answering.has_ended {
                    return None;
                }
                let event = next(&mut answering.events).await;
                answering.take(event);
            }
        })
    }

    fn take(&mut self, event: std::result::Result<Event, GatewayError>) {
        let timing = self.answer.timing();
        match event {
            Ok(event) => {
                self.has_ended = self.count(&event);
                let objects = self.printer.objects(event, &timing);
                self.ready.extend(objects.into_iter().map(|object| format!("{object}\n")));
            }
            Err(error) => {
                let failure = Failure::from(error);
                // The status is sent already, so the access log cannot tell.
                tracing::warn!(
                    request.id = %self.answer.id.0, error.code = failure.code,
                    detail = failure.detail.as_deref(), "a stream ended with an error"
                );
                let body = failure.body(Dialect::Ollama, &self.answer.id.0);
                let error = body["error"].as_str().unwrap_or_default();
                self.ready.push_back(format!("{}\n", self.printer.failed(error, &timing)));
                self.has_ended = true;
            }
        }
    }

    /// Whether this was the last event.
    fn count(&self, event: &Event) -> bool {
        let Event::Done(usage) = event else { return false };
        self.answer.state.metrics().count_generation(&self.model, usage);
        true
    }
}
