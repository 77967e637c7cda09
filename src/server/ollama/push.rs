//! `/api/push`: sends a model to a registry, and tells it line by line in Ollama's words.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use hearth_gateway::request::RequestId;
use hearth_hub::{ModelName, PushEvent, PushProgress, PushWatch};
use serde::Deserialize;
use serde_json::{Value, json};

use super::library::read;
use super::pull::told;
use super::short;
use crate::body::AnyBytes;
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::models::pushable;
use crate::ndjson;
use crate::state::AppState;

/// The body. `insecure` has no effect: whether a registry may be asked without TLS is the admin's
/// setting `hub.plain_http`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    model: String,
    name: String,
    stream: Option<bool>,
}

pub(crate) async fn push(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    AnyBytes(body): AnyBytes,
) -> Result<Response> {
    let wanted: Wanted = read(&state, body, id).await?;
    let name = if wanted.model.is_empty() { wanted.name } else { wanted.model };
    if name.is_empty() {
        return Err(Failure::invalid("model is required"));
    }
    if name.parse::<ModelName>().is_err() {
        return Err(Failure::invalid("invalid model name"));
    }
    let served = state.gateway().model(&caller, &name)?;
    let watch = state.pushes().start(&pushable(&state, &served.name)?)?;
    if !wanted.stream.unwrap_or(true) {
        return whole(watch).await;
    }
    Ok(ndjson::answer(stream::unfold(watch, |mut watch| async move {
        let line = line(watch.next().await?);
        Some((Bytes::from(format!("{line}\n")), watch))
    })))
}

/// The end alone, for who wants one answer.
async fn whole(mut watch: PushWatch) -> Result<Response> {
    while let Some(event) = watch.next().await {
        match event {
            PushEvent::Progress(_) => {}
            PushEvent::Done => {
                return Ok(axum::Json(json!({ "status": "success" })).into_response());
            }
            PushEvent::Failed(error) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                return Err(Failure::new(status, "push_failed", told(error)));
            }
        }
    }
    Err(Failure::internal("a push ended without a word".to_owned()))
}

/// Clients show a bar for each digest and a line for any other status.
fn line(event: PushEvent) -> Value {
    match event {
        PushEvent::Progress(PushProgress::Manifest) => json!({ "status": "retrieving manifest" }),
        PushEvent::Progress(PushProgress::Sending { digest, total, completed }) => json!({
            "status": format!("pushing {}", short(&digest)), "digest": digest,
            "total": total, "completed": completed,
        }),
        PushEvent::Progress(PushProgress::Naming) => json!({ "status": "pushing manifest" }),
        PushEvent::Done => json!({ "status": "success" }),
        PushEvent::Failed(error) => json!({ "error": told(error) }),
    }
}
