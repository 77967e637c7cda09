//! The Anthropic dialect: `/v1/messages`. The wire format itself is the gateway's.

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use hearth_gateway::dialect::anthropic::{self, Call, Collector, Heading, Printer};
use hearth_gateway::event::Event;
use hearth_gateway::request::{Extras, Family, GenerateRequest, RequestId};
use serde_json::{Value, json};

use crate::body::{JsonBytes, parse, tell_ignored};
use crate::error::{Dialect, Failure, Result};
use crate::guard::Signed;
use crate::running::{Print, Running, ignored};
use crate::sse::{self, Frame};
use crate::state::AppState;

/// Names features that are not part of the dialect yet.
const BETA_HEADER: &str = "anthropic-beta";
/// Longest of these headers that is kept.
const MAX_BETA_BYTES: usize = 1 << 10;

pub(crate) async fn messages(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    JsonBytes(body): JsonBytes,
) -> Result<Response> {
    let call = parse(&state, body, id.clone(), anthropic::parse_messages).await?;
    let Call { mut request, is_streamed, ignored: locally } = call;
    keep_betas(&headers, &mut request);
    let heading = Heading {
        id: format!("msg_{}", id.0),
        model: request.model.clone(),
        stop: request.stop.clone(),
    };
    let (running, first) = Running::begin(state, &caller, request.streamed(is_streamed)).await?;
    let told = ignored(&first, locally);
    let mut response = match is_streamed {
        true => sse::answer(running.stream(first, Frames(Printer::new(heading)))),
        false => {
            let mut collector = Collector::new(heading);
            running.all(first).await?.into_iter().for_each(|event| collector.push(event));
            axum::Json(collector.finish()).into_response()
        }
    };
    tell_ignored(response.headers_mut(), &told);
    Ok(response)
}

pub(crate) async fn count_tokens(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    JsonBytes(body): JsonBytes,
) -> Result<axum::Json<Value>> {
    let call = parse(&state, body, id, anthropic::parse_count).await?;
    let tokens = state.gateway().count_tokens(&caller, call.request).await?;
    Ok(axum::Json(json!({ "input_tokens": tokens })))
}

/// Features of the dialect that are switched on by a header go to providers that speak it.
fn keep_betas(headers: &HeaderMap, request: &mut GenerateRequest) {
    let values = headers.get_all(BETA_HEADER).iter().filter_map(|value| value.to_str().ok());
    let betas = values.collect::<Vec<_>>().join(",");
    if betas.is_empty() || betas.len() > MAX_BETA_BYTES {
        return;
    }
    let extras = request.extras.get_or_insert_with(|| Box::new(Extras::empty(Family::Anthropic)));
    extras.headers.push((BETA_HEADER, betas));
}

/// Named events, the last one `message_stop` or `error`.
struct Frames(Printer);

impl Print for Frames {
    type Piece = Frame;

    fn print(&mut self, event: Event) -> Vec<Frame> {
        let events = self.0.events(&event).into_iter();
        events.map(|(name, data)| Frame::named(name, &data)).collect()
    }

    fn fail(&mut self, failure: &Failure, id: &RequestId) -> Vec<Frame> {
        vec![Frame::named("error", &failure.body(Dialect::Anthropic, &id.0))]
    }
}
