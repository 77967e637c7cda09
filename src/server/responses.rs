//! `/v1/responses`. The wire format itself is the gateway's.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hearth_gateway::dialect::responses::{self, Call, Heading, Printer};
use hearth_gateway::event::Event;
use hearth_gateway::request::RequestId;

use crate::body::{JsonBytes, parse, tell_ignored};
use crate::error::{Dialect, Failure, Result};
use crate::guard::Signed;
use crate::running::{Print, Running, ignored};
use crate::sse::{self, Frame};
use crate::state::AppState;

pub(crate) async fn create(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    JsonBytes(body): JsonBytes,
) -> Result<Response> {
    let call = parse(&state, body, id.clone(), responses::parse_response).await?;
    let Call { request, is_streamed, echoed, ignored: locally } = call;
    let model = request.model.clone();
    let heading = Heading { id: format!("resp_{}", id.0), model, created: state.now(), echoed };
    let mut printer = Printer::new(heading);
    let (running, first) = Running::begin(state, &caller, request.streamed(is_streamed)).await?;
    let told = ignored(&first, locally);
    let mut response = match is_streamed {
        true => sse::answer(running.stream(first, Frames(printer))),
        false => {
            for event in running.all(first).await? {
                printer.events(event);
            }
            axum::Json(printer.answer()).into_response()
        }
    };
    tell_ignored(response.headers_mut(), &told);
    Ok(response)
}

/// Typed events, the last one with the whole answer or what went wrong.
struct Frames(Printer);

impl Print for Frames {
    type Piece = Frame;

    fn print(&mut self, event: Event) -> Vec<Frame> {
        let events = self.0.events(event).into_iter();
        events.map(|(name, data)| Frame::named(name, &data)).collect()
    }

    fn fail(&mut self, failure: &Failure, id: &RequestId) -> Vec<Frame> {
        let error = failure.body(Dialect::OpenAi, &id.0);
        let text = |field: &str| error["error"][field].as_str().unwrap_or_default().to_owned();
        let code = match failure.status.is_server_error() {
            true => "server_error".to_owned(),
            false => text("code"),
        };
        let (name, data) = self.0.failed(&code, &text("message"));
        vec![Frame::named(name, &data)]
    }
}
