//! The OpenAI dialect: `/v1/…`. The wire format itself is the gateway's.

use std::collections::VecDeque;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use hearth_gateway::Error as GatewayError;
use hearth_gateway::backend::ServedModel;
use hearth_gateway::caller::Caller;
use hearth_gateway::dialect::openai::{self, Call, Collector, Heading, Printer, Shape};
use hearth_gateway::embedding::{EmbedRequest, Embedded};
use hearth_gateway::event::{Event, EventStream};
use hearth_gateway::request::RequestId;
use serde_json::{Value, json};

use crate::body::{JsonBytes, parse};
use crate::error::{Dialect, Failure, Result};
use crate::guard::Signed;
use crate::sse::{self, Frame};
use crate::state::AppState;

pub(crate) async fn chat(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    JsonBytes(body): JsonBytes,
) -> Result<Response> {
    let call = parse(&state, body, id.clone(), openai::parse_chat).await?;
    let name = format!("chatcmpl-{}", id.0);
    Answer { state, id, shape: Shape::Chat, name }.give(&caller, call).await
}

pub(crate) async fn completion(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    JsonBytes(body): JsonBytes,
) -> Result<Response> {
    let call = parse(&state, body, id.clone(), openai::parse_completion).await?;
    let name = format!("cmpl-{}", id.0);
    Answer { state, id, shape: Shape::Text, name }.give(&caller, call).await
}

pub(crate) async fn models(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> axum::Json<Value> {
    let models: Vec<Value> = state.gateway().models(&caller).iter().map(show).collect();
    axum::Json(json!({ "object": "list", "data": models }))
}

pub(crate) async fn model(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>> {
    Ok(axum::Json(show(&state.gateway().model(&caller, &id)?)))
}

pub(crate) async fn embeddings(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    JsonBytes(body): JsonBytes,
) -> Result<axum::Json<Value>> {
    let call = parse(&state, body, id, openai::parse_embeddings).await?;
    let embedded = embed(&state, &caller, call.request.clone()).await?;
    Ok(axum::Json(call.print(&embedded)?))
}

pub(crate) async fn rerank(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    JsonBytes(body): JsonBytes,
) -> Result<axum::Json<Value>> {
    let call = parse(&state, body, id, openai::parse_rerank).await?;
    let embedded = embed(&state, &caller, call.request.clone()).await?;
    Ok(axum::Json(call.print(&embedded)?))
}

/// Asks the gateway for vectors and tells the metrics.
async fn embed(state: &AppState, caller: &Caller, request: EmbedRequest) -> Result<Embedded> {
    let served = state.gateway().model(caller, &request.model)?;
    let embedded = state.gateway().embed(caller, request).await?;
    state.metrics().count_generation(&served.name, &embedded.usage);
    Ok(embedded)
}

fn show(model: &ServedModel) -> Value {
    json!({
        "id": model.name, "object": "model", "created": model.created_at, "owned_by": "hearth",
    })
}

/// What is known of an answer before it begins.
struct Answer {
    state: AppState,
    id: RequestId,
    shape: Shape,
    /// As the answer calls itself.
    name: String,
}

impl Answer {
    async fn give(self, caller: &hearth_gateway::caller::Caller, call: Call) -> Result<Response> {
        let Some(first) = call.requests.first() else {
            return Err(Failure::internal("a call without requests"));
        };
        let has_logprobs = first.logprobs.is_some();
        let choices = call.requests.len() * usize::from(first.choices);
        let served = self.state.gateway().model(caller, &first.model)?;
        let heading = Heading {
            id: self.name.clone(),
            model: first.model.clone(),
            created: self.state.now(),
            tier: call.tier,
        };
        let mut events = self.state.gateway().generate_all(caller, call.requests).await?;
        let first = next(&mut events).await?;
        match call.stream {
            Some(options) => {
                let printer = Printer::new(self.shape, heading, options, has_logprobs);
                let printing = Printing {
                    events,
                    printer,
                    counted: Counted { state: self.state, model: served.name },
                    id: self.id,
                    ready: VecDeque::new(),
                    has_ended: false,
                };
                Ok(sse::answer(printing.frames(first)))
            }
            None => {
                let mut collector = Collector::new(self.shape, heading, choices, has_logprobs);
                let counted = Counted { state: self.state, model: served.name };
                let mut event = first;
                loop {
                    let is_last = counted.see(&event);
                    collector.push(event);
                    if is_last {
                        return Ok(axum::Json(collector.finish()).into_response());
                    }
                    event = next(&mut events).await?;
                }
            }
        }
    }
}

/// The next event; a stream that ends without `Done` is a fault.
async fn next(events: &mut EventStream) -> std::result::Result<Event, GatewayError> {
    let cut = || Err(GatewayError::Internal("the events ended without `Done`".to_owned()));
    events.recv().await.unwrap_or_else(cut)
}

/// Tells the metrics what a generation used.
struct Counted {
    state: AppState,
    model: String,
}

impl Counted {
    /// Whether this was the last event.
    fn see(&self, event: &Event) -> bool {
        let Event::Done(usage) = event else { return false };
        self.state.metrics().count_generation(&self.model, usage);
        true
    }
}

/// A stream of chunks under way. Dropping it drops the events, which cancels the generation.
struct Printing {
    events: EventStream,
    printer: Printer,
    counted: Counted,
    id: RequestId,
    ready: VecDeque<Frame>,
    has_ended: bool,
}

impl Printing {
    fn frames(mut self, first: Event) -> impl Stream<Item = Frame> + Send + 'static {
        self.take(Ok(first));
        stream::unfold(self, |mut printing| async move {
            loop {
                if let Some(frame) = printing.ready.pop_front() {
                    return Some((frame, printing));
                }
                if printing.has_ended {
                    return None;
                }
                let event = next(&mut printing.events).await;
                printing.take(event);
            }
        })
    }

    fn take(&mut self, event: std::result::Result<Event, GatewayError>) {
        match event {
            Ok(event) => {
                self.has_ended = self.counted.see(&event);
                self.ready.extend(self.printer.payloads(&event).into_iter().map(Frame::data));
            }
            Err(error) => {
                let failure = Failure::from(error);
                // The status is sent already, so the access log cannot tell.
                tracing::warn!(
                    request.id = %self.id.0, error.code = failure.code,
                    detail = failure.detail.as_deref(), "a stream ended with an error"
                );
                let body = failure.body(Dialect::OpenAi, &self.id.0);
                self.ready.push_back(Frame::data(body.to_string()));
                self.ready.push_back(Frame::data("[DONE]".to_owned()));
                self.has_ended = true;
            }
        }
    }
}
