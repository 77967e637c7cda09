//! Server-sent events: framing and the headers that keep proxies from holding them back.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use serde_json::Value;

/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One frame: its name, if it has one, and its data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    name: Option<&'static str>,
    data: String,
}

impl Frame {
    /// `event: NAME` and `data: JSON`.
    pub(crate) fn named(name: &'static str, data: &Value) -> Frame {
        Frame { name: Some(name), data: data.to_string() }
    }

    /// `data:` alone, as the OpenAI dialect has it. JSON and `[DONE]` have no line breaks.
    pub(crate) fn data(data: String) -> Frame {
        Frame { name: None, data }
    }

    fn into_event(self) -> Event {
        match self.name {
            Some(name) => Event::default().event(name).data(self.data),
            None => Event::default().data(self.data),
        }
    }
}

/// An answer that is a stream of frames. Dropped with the connection.
pub(crate) fn answer(frames: impl Stream<Item = Frame> + Send + 'static) -> Response {
    let events = frames.map(|frame| Ok::<_, Infallible>(frame.into_event()));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    // nginx holds answers back without it.
    let name = HeaderName::from_static("x-accel-buffering");
    response.headers_mut().insert(name, HeaderValue::from_static("no"));
    response
}
