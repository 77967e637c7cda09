//! `/v1/images/…`, `/v1/audio/…` and `/v1/moderations`: requests that pass through to channels,
//! and what comes back.

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use futures_util::stream;
use hearth_gateway::Error as GatewayError;
use hearth_gateway::accounts::Watch;
use hearth_gateway::caller::Caller;
use hearth_gateway::dialect::openai;
use hearth_gateway::passage::{PassKind, PassRequest, PassRoute, Passage, Piece};
use hearth_gateway::request::RequestId;

use crate::body::{AnyBytes, parse, says_json};
use crate::error::{Dialect, Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

/// All of these routes: which one it is stands in the path.
pub(crate) async fn pass(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    (uri, headers): (Uri, HeaderMap),
    AnyBytes(body): AnyBytes,
) -> Result<Response> {
    let path = uri.path().strip_prefix("/v1").unwrap_or_default();
    let route = PassRoute::ALL.into_iter().find(|route| route.path() == path);
    let route = route.ok_or_else(|| Failure::internal("a path that passes to nowhere"))?;
    let request = read(&state, route, &headers, body, id).await?;
    give(state, &caller, request).await
}

/// The request, as a form or as JSON.
async fn read(
    state: &AppState,
    route: PassRoute,
    headers: &HeaderMap,
    body: Bytes,
    id: RequestId,
) -> Result<PassRequest> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default();
    let is_form = kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data");
    if is_form && route.takes_forms() {
        return Ok(openai::parse_form(route, kind, body, id).await?);
    }
    if says_json(headers) && route.takes_json() {
        let read = move |body: &[u8], id| openai::parse_passage(route, body, id);
        return parse(state, body, id, read).await;
    }
    let wanted = match route.takes_json() {
        true => "JSON, with Content-Type: application/json",
        false => "a form, with Content-Type: multipart/form-data",
    };
    Err(Failure::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("Send the body as {wanted}."),
    ))
}

/// An answer under way.
struct Passing {
    state: AppState,
    id: RequestId,
    /// By its full name, for the metrics.
    model: String,
    passage: Passage,
    /// Ends the answer when the caller's credential is taken away.
    watch: Watch,
    has_ended: bool,
}

async fn give(state: AppState, caller: &Caller, request: PassRequest) -> Result<Response> {
    let model = state.gateway().model(caller, &request.model)?.name;
    let (watch, id) = (state.accounts().watch(caller), request.id.clone());
    let passage = state.gateway().pass(caller, request).await?;
    let kind = passage.kind.clone();
    let mut passing = Passing { state, id, model, passage, watch, has_ended: false };
    let (media_type, body) = match kind {
        PassKind::Json => {
            // One piece, and the books are closed before it is given.
            let mut whole = Bytes::new();
            while let Some(bytes) = passing.next().await? {
                whole = bytes;
            }
            ("application/json".to_owned(), Body::from(whole))
        }
        PassKind::Events => ("text/event-stream".to_owned(), passing.body(true)),
        PassKind::Bytes(media_type) => (media_type, passing.body(false)),
    };
    let media_type = HeaderValue::from_str(&media_type)
        .map_err(|_| Failure::internal("a media type that is no header"))?;
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds answers back without it.
    let name = HeaderName::from_static("x-accel-buffering");
    headers.insert(name, HeaderValue::from_static("no"));
    Ok(response)
}

impl Passing {
    /// The next piece; `None` is the end of a whole answer.
    async fn next(&mut self) -> std::result::Result<Option<Bytes>, GatewayError> {
        let cut = || Err(GatewayError::Internal("an answer ended without its end".to_owned()));
        let piece = tokio::select! {
            biased;
            piece = self.passage.pieces.recv() => piece.unwrap_or_else(cut)?,
            () = self.watch.revoked() => return Err(GatewayError::NotSignedIn),
        };
        match piece {
            Piece::Bytes(bytes) => Ok(Some(bytes)),
            Piece::Done(usage) => {
                self.state.metrics().count_generation(&self.model, &usage);
                Ok(None)
            }
        }
    }

    /// The pieces as they come. One that breaks off says so: events by a last one, anything else
    /// by breaking the connection off too.
    fn body(self, is_events: bool) -> Body {
        let pieces = stream::unfold(self, move |mut passing| async move {
            if passing.has_ended {
                return None;
            }
            let error = match passing.next().await {
                Ok(bytes) => return bytes.map(|bytes| (Ok(bytes), passing)),
                Err(error) => error,
            };
            passing.has_ended = true;
            let failure = Failure::from(error);
            // The status is sent already, so the access log cannot tell.
            tracing::warn!(
                request.id = %passing.id.0, error.code = failure.code,
                detail = failure.detail.as_deref(), "an answer ended with an error"
            );
            if !is_events {
                return Some((Err(std::io::Error::other("the answer broke off")), passing));
            }
            let body = failure.body(Dialect::OpenAi, &passing.id.0);
            Some((Ok(format!("event: error\ndata: {body}\n\n").into()), passing))
        });
        Body::from_stream(pieces)
    }
}
