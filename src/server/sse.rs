//! Server-sent events: framing and the headers that keep proxies from holding them back.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use futures_util::{Stream, StreamExt};
use serde_json::Value;
use tokio::time::{Instant, Sleep};

/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What it shows: a comment, which no client looks at.
const SIGN_OF_LIFE: &[u8] = b": keep-alive\n\n";
/// Frames that are ready go out together, up to so many bytes.
const TOGETHER_BYTES: usize = 16 << 10;

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

    fn write(&self, to: &mut Vec<u8>) {
        debug_assert!(!self.data.contains(['\n', '\r']), "a line break ends a line of a frame");
        if let Some(name) = self.name {
            to.extend_from_slice(b"event: ");
            to.extend_from_slice(name.as_bytes());
            to.push(b'\n');
        }
        to.extend_from_slice(b"data: ");
        to.extend_from_slice(self.data.as_bytes());
        to.extend_from_slice(b"\n\n");
    }
}

/// An answer that is a stream of frames. Dropped with the connection.
pub(crate) fn answer(frames: impl Stream<Item = Frame> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(Written::new(frames)));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx holds answers back without it.
    let name = HeaderName::from_static("x-accel-buffering");
    headers.insert(name, HeaderValue::from_static("no"));
    response
}

/// The bytes of frames: those that are ready together, or when everybody else had a turn, go out
/// together, and a silent stream shows now and then that it lives.
struct Written<S> {
    frames: Pin<Box<S>>,
    ready: Vec<u8>,
    /// Whether what is ready has let the others have their turn: under load there is more then, for
    /// one write.
    has_waited: bool,
    /// When something was written last. The timer is set anew only when it has run out: thousands
    /// of frames a second do not touch it.
    last: Instant,
    timer: Pin<Box<Sleep>>,
    has_ended: bool,
}

impl<S: Stream<Item = Frame>> Written<S> {
    fn new(frames: S) -> Written<S> {
        let timer = Box::pin(tokio::time::sleep(KEEP_ALIVE));
        let (frames, last) = (Box::pin(frames), Instant::now());
        Written { frames, ready: Vec::new(), has_waited: false, last, timer, has_ended: false }
    }

    /// Whether it was silent for so long that it must show that it lives.
    fn is_silent(&mut self, context: &mut Context<'_>) -> bool {
        while self.timer.as_mut().poll(context).is_ready() {
            let due = self.last + KEEP_ALIVE;
            if due <= Instant::now() {
                self.last = Instant::now();
                self.timer.as_mut().reset(self.last + KEEP_ALIVE);
                return true;
            }
            self.timer.as_mut().reset(due);
        }
        false
    }
}

impl<S: Stream<Item = Frame>> Stream for Written<S> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.has_ended && this.ready.len() < TOGETHER_BYTES {
            match this.frames.poll_next_unpin(context) {
                Poll::Ready(Some(frame)) => frame.write(&mut this.ready),
                Poll::Ready(None) => this.has_ended = true,
                Poll::Pending if this.ready.is_empty() || this.has_waited => break,
                Poll::Pending => {
                    this.has_waited = true;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        if !this.ready.is_empty() {
            this.has_waited = false;
            this.last = Instant::now();
            return Poll::Ready(Some(Ok(std::mem::take(&mut this.ready).into())));
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        match self.is_silent(context) {
            true => Poll::Ready(Some(Ok(Bytes::from_static(SIGN_OF_LIFE)))),
            false => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::sync::mpsc;

    use super::*;

    fn stream(receiver: mpsc::Receiver<Frame>) -> Written<impl Stream<Item = Frame>> {
        Written::new(futures_util::stream::unfold(receiver, |mut receiver| async move {
            Some((receiver.recv().await?, receiver))
        }))
    }

    #[tokio::test]
    async fn frames_that_are_ready_go_out_together_and_in_order() {
        let (sender, receiver) = mpsc::channel(8);
        let mut written = stream(receiver);
        sender.send(Frame::data("1".to_owned())).await.unwrap();
        sender.send(Frame::named("two", &json!({ "a": "\n" }))).await.unwrap();
        let bytes = written.next().await.unwrap().unwrap();
        assert_eq!(bytes, "data: 1\n\nevent: two\ndata: {\"a\":\"\\n\"}\n\n");
        sender.send(Frame::data("[DONE]".to_owned())).await.unwrap();
        drop(sender);
        assert_eq!(written.next().await.unwrap().unwrap(), "data: [DONE]\n\n");
        assert!(written.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_silent_stream_shows_that_it_lives() {
        let (sender, receiver) = mpsc::channel(8);
        let mut written = stream(receiver);
        let started = Instant::now();
        for _ in 0..4 {
            tokio::time::sleep(KEEP_ALIVE / 2).await;
            sender.send(Frame::data("x".to_owned())).await.unwrap();
            assert_eq!(written.next().await.unwrap().unwrap(), "data: x\n\n");
        }
        for times in 1..=2 {
            assert_eq!(written.next().await.unwrap().unwrap(), SIGN_OF_LIFE);
            let wanted = 2 * KEEP_ALIVE + times * KEEP_ALIVE;
            assert!(started.elapsed().abs_diff(wanted) < Duration::from_millis(50));
        }
    }
}
