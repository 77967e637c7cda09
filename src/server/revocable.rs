//! Cuts answers off whose caller's credential was taken away.
//!
//! Answers of models say their dialect's last word by themselves ([`crate::running`]); what is
//! still open some seconds later, of whatever kind, is cut here.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hearth_gateway::Error as GatewayError;
use hearth_gateway::accounts::Watch;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

use crate::error::{Failure, Result};

/// How long an answer may take to say its last word.
const FAREWELL: Duration = Duration::from_secs(3);

/// Runs a handler, and watches over the body that it answers with.
pub(crate) async fn run(
    mut watch: Watch,
    handler: impl Future<Output = Response>,
) -> Result<Response> {
    let response = tokio::select! {
        biased;
        response = handler => response,
        () = watch.revoked() => return Err(Failure::from(GatewayError::NotSignedIn)),
    };
    if response.body().size_hint().exact().is_some() {
        return Ok(response);
    }
    let revoked = async move {
        watch.revoked().await;
        tokio::time::sleep(FAREWELL).await;
    };
    Ok(response.map(|body| Body::new(Revocable { body, revoked: revoked.boxed() })))
}

/// A body that breaks off once its caller may no longer have it.
struct Revocable {
    body: Body,
    revoked: BoxFuture<'static, ()>,
}

impl HttpBody for Revocable {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        if self.revoked.poll_unpin(context).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new(GatewayError::NotSignedIn))));
        }
        self.body.frame().poll_unpin(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
