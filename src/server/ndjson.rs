//! Answers that are a stream of lines, one JSON object each.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use futures_util::{Stream, StreamExt};

/// An answer of lines, each with its end. Dropped with the connection.
pub(crate) fn answer<L>(lines: impl Stream<Item = L> + Send + 'static) -> Response
where
    L: Into<Bytes> + 'static,
{
    let mut response = Response::new(Body::from_stream(lines.map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    // nginx holds answers back without it.
    let name = HeaderName::from_static("x-accel-buffering");
    headers.insert(name, HeaderValue::from_static("no"));
    response
}
