//! The OpenAI dialect: `/v1/…`. The wire format itself is the gateway's.

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use hearth_gateway::backend::ServedModel;
use hearth_gateway::caller::Caller;
use hearth_gateway::dialect::openai::{self, Call, Collector, Heading, Printer, Shape};
use hearth_gateway::embedding::{EmbedRequest, Embedded};
use hearth_gateway::event::Event;
use hearth_gateway::request::RequestId;
use serde_json::{Value, json};

use crate::body::{JsonBytes, parse, tell_ignored};
use crate::error::{Dialect, Failure, Result};
use crate::guard::Signed;
use crate::running::{Print, Running, ignored};
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
pub(crate) async fn embed(
    state: &AppState,
    caller: &Caller,
    request: EmbedRequest,
) -> Result<Embedded> {
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
        let model = self.state.gateway().model(caller, &first.model)?.name;
        let heading = Heading {
            id: self.name.clone(),
            model: first.model.clone(),
            created: self.state.now(),
            tier: call.tier,
            calls: call.calls,
        };
        let watch = self.state.accounts().watch(caller);
        let is_streamed = call.stream.is_some();
        let requests = call.requests.into_iter().map(|request| request.streamed(is_streamed));
        let requests = requests.collect();
        let events = self.state.gateway().generate_all(caller, requests).await?;
        let mut running = Running { state: self.state, id: self.id, model, events, watch };
        let first = running.next().await?;
        let told = ignored(&first, call.ignored);
        let mut response = match call.stream {
            Some(options) => {
                let printer = Printer::new(self.shape, heading, options, has_logprobs);
                sse::answer(running.stream(first, Frames(printer)))
            }
            None => {
                let mut collector = Collector::new(self.shape, heading, choices, has_logprobs);
                running.all(first).await?.into_iter().for_each(|event| collector.push(event));
                axum::Json(collector.finish()).into_response()
            }
        };
        tell_ignored(response.headers_mut(), &told);
        Ok(response)
    }
}

/// Chunks, the last one `[DONE]`.
struct Frames(Printer);

impl Print for Frames {
    type Piece = Frame;

    fn print(&mut self, event: Event) -> Vec<Frame> {
        self.0.payloads(&event).into_iter().map(Frame::data).collect()
    }

    fn fail(&mut self, failure: &Failure, id: &RequestId) -> Vec<Frame> {
        let body = failure.body(Dialect::OpenAi, &id.0);
        vec![Frame::data(body.to_string()), Frame::data("[DONE]".to_owned())]
    }
}
