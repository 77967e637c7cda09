//! Request bodies: JSON within limits of size, time and depth.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use hearth_gateway::request::RequestId;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::config::ServerConfig;
use crate::error::{Dialect, Failure, Result};
use crate::guard::Access;
use crate::state::AppState;

/// Most bytes of a body on a route for anyone: a name, a password and a code, long ones.
const ANYONE_BODY_BYTES: u32 = 16 << 10;
/// Most bytes of a body of Hearth's own API: names, paths and settings.
const OWN_BODY_BYTES: u32 = 64 << 10;
/// Most bytes of a chat's settings or of a prompt that is kept.
const SETTINGS_BODY_BYTES: u32 = 256 << 10;
/// Most bytes of a turn: a long document as a question. What was said before is the store's.
const TURN_BODY_BYTES: u32 = 1 << 20;
/// Most bytes of chats that come from elsewhere in one request.
const IMPORT_BODY_BYTES: u32 = 8 << 20;
/// Most bytes of a file of people.
const PEOPLE_BODY_BYTES: u32 = 1 << 20;
/// A body of more bytes is not parsed on the async threads.
const LARGE_BODY_BYTES: usize = 64 << 10;
/// Names what of a request changed nothing.
const IGNORED_HEADER: &str = "x-hearth-ignored";

/// Most bytes that a route's body may have; its router leaves this with the request.
#[derive(Clone, Copy)]
pub(crate) struct BodyLimit(u32);

impl BodyLimit {
    /// The limit of this route: prompts of `/v1` may be as large as the settings allow.
    pub(crate) fn of(path: &str, access: Access, config: &ServerConfig) -> BodyLimit {
        let most = match (access, Dialect::of(path)) {
            (Access::Anyone, _) => ANYONE_BODY_BYTES,
            (_, Dialect::OpenAi | Dialect::Anthropic | Dialect::Ollama | Dialect::Gemini) => {
                config.max_body_bytes
            }
            (_, Dialect::Hearth) if path.ends_with("/turns") => TURN_BODY_BYTES,
            (_, Dialect::Hearth) if path == "/hearth/chats/import" => IMPORT_BODY_BYTES,
            // Instructions for models and texts behind commands.
            (_, Dialect::Hearth) if path.starts_with("/hearth/chats") => SETTINGS_BODY_BYTES,
            (_, Dialect::Hearth) if path.starts_with("/hearth/shelf") => SETTINGS_BODY_BYTES,
            (_, Dialect::Hearth) if path == "/hearth/users/import" => PEOPLE_BODY_BYTES,
            (_, Dialect::Hearth) => OWN_BODY_BYTES,
        };
        BodyLimit(most.min(config.max_body_bytes))
    }
}

/// A body that is JSON of this shape; unknown fields are refused by the shape.
pub(crate) struct Json<T>(pub(crate) T);

/// A body that says it is JSON, whole but not parsed.
pub(crate) struct JsonBytes(pub(crate) Bytes);

/// A body, whole but not parsed, whatever it says it is: Ollama's clients often say nothing.
pub(crate) struct AnyBytes(pub(crate) Bytes);

impl FromRequest<AppState> for JsonBytes {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &AppState) -> Result<JsonBytes> {
        if !says_json(request.headers()) {
            return Err(Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Send the body as JSON, with Content-Type: application/json.",
            ));
        }
        read(request, state).await.map(JsonBytes)
    }
}

impl FromRequest<AppState> for AnyBytes {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &AppState) -> Result<AnyBytes> {
        read(request, state).await.map(AnyBytes)
    }
}

/// The whole body, within the route's limits.
async fn read(request: Request, state: &AppState) -> Result<Bytes> {
    let config = state.config();
    let BodyLimit(limit) = request
        .extensions()
        .get()
        .copied()
        .ok_or_else(|| Failure::internal("a route without a limit of its body"))?;
    let limit = limit as usize;
    let time = Duration::from_secs(config.body_timeout_s.into());
    let length = request.headers().get(header::CONTENT_LENGTH);
    let announced = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > limit as u64) {
        return Err(too_large(limit));
    }
    let read = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(time, read).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(_)) => Err(Failure::invalid("The body broke off before its end.")),
        Err(_) => Err(Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            format!("The body did not arrive within {} s.", time.as_secs()),
        )),
    }
}

/// Parses a body; a large one on a thread of its own, because it takes a while.
pub(crate) async fn parse<C: Send + 'static>(
    state: &AppState,
    body: Bytes,
    id: RequestId,
    parse: impl FnOnce(&[u8], RequestId) -> hearth_gateway::Result<C> + Send + 'static,
) -> Result<C> {
    if body.len() <= LARGE_BODY_BYTES {
        return Ok(parse(&body, id)?);
    }
    let place = Arc::clone(state.large_bodies()).acquire_owned().await;
    let parsed = tokio::task::spawn_blocking(move || {
        // Held by the thread: it goes on when the client has gone.
        let _place = place;
        parse(&body, id)
    });
    let parsed = parsed.await.map_err(|_| Failure::internal("parsing a body broke off"))?;
    Ok(parsed?)
}

impl<T: DeserializeOwned> FromRequest<AppState> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &AppState) -> Result<Json<T>> {
        let JsonBytes(bytes) = JsonBytes::from_request(request, state).await?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Json(value)),
            Err(error) => Err(Failure::invalid(format!("The body is not as expected: {error}."))),
        }
    }
}

/// A field that may be absent, null or a value: `None`, `Some(None)`, `Some(Some(_))`.
pub(crate) fn present<'de, D, T>(deserializer: D) -> std::result::Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

pub(crate) fn says_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn too_large(limit: usize) -> Failure {
    Failure::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("The body is larger than the {limit} bytes that this server takes."),
    )
}

/// A JSON answer.
pub(crate) fn json_body(value: &serde_json::Value) -> Body {
    Body::from(value.to_string())
}

/// Says what of the request changed nothing.
pub(crate) fn tell_ignored(headers: &mut HeaderMap, ignored: &[String]) {
    if !ignored.is_empty()
        && let Ok(value) = HeaderValue::from_str(&ignored.join(","))
    {
        headers.insert(IGNORED_HEADER, value);
    }
}
