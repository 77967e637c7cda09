//! Brings models of elsewhere in, and tells how far it is: one JSON object per line.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use hearth_gateway::backend::ModelState;
use hearth_hub::{Address, PullEvent, PullRequest, PullWatch};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::body::Json;
use crate::error::{Failure, Result};
use crate::ndjson;
use crate::state::AppState;

/// A model of elsewhere.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pull {
    /// As in `qwen3:0.6b` or `hf.co/org/repo:Q4_K_M`; or the address of a GGUF file,
    /// `https://host/path/model.gguf`, of a split one that of its first part.
    name: String,
    /// What a model at an address will be called; without it, as its file is.
    #[serde(rename = "as")]
    save_as: Option<String>,
    /// What a file at an address must be.
    sha256: Option<String>,
    /// Whether to answer at once and go on alone, also after a restart. Otherwise the answer tells
    /// the progress, and the pull is cancelled when nobody reads it any more.
    #[serde(default)]
    detach: bool,
}

pub(crate) async fn pull(
    State(state): State<AppState>,
    Json(body): Json<Pull>,
) -> Result<Response> {
    let is_detached = body.detach;
    let watch = state.pulls().start(asked_for(body)?).await?;
    if is_detached {
        let name = json!({ "name": watch.name() });
        return Ok((StatusCode::ACCEPTED, axum::Json(name)).into_response());
    }
    Ok(lines(watch))
}

/// What a body asks for: only an address has a scheme.
fn asked_for(body: Pull) -> Result<PullRequest> {
    let is_detached = body.detach;
    if body.name.contains("://") {
        let address = Address::parse(&body.name, body.sha256.as_deref())?;
        let name = match body.save_as {
            Some(name) => name,
            None => address.default_name()?.to_string(),
        };
        return Ok(PullRequest { name, from: Some(address), is_detached });
    }
    if body.save_as.is_some() || body.sha256.is_some() {
        let problem = "`as` and `sha256` are for the address of a file; a name tells them itself.";
        return Err(Failure::invalid(problem));
    }
    Ok(PullRequest { name: body.name, from: None, is_detached })
}

/// Every pull that runs or waits.
pub(crate) async fn list(State(state): State<AppState>) -> axum::Json<Value> {
    axum::Json(json!({ "pulls": state.pulls().list() }))
}

pub(crate) async fn cancel(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    if state.pulls().cancel(&name) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Failure::new(StatusCode::NOT_FOUND, "not_found", "No pull of this model runs."))
}

/// Progress, and at last `{"model": …}` or `{"error": …}`.
fn lines(watch: PullWatch) -> Response {
    ndjson::answer(stream::unfold(watch, |mut watch| async move {
        let line = line(watch.next().await?);
        Some((line, watch))
    }))
}

fn line(event: PullEvent) -> Bytes {
    let value = match event {
        PullEvent::Progress(progress) => json!(progress),
        PullEvent::Done(entry) => json!({ "model": super::shape(&entry, ModelState::Idle) }),
        PullEvent::Failed(error) => {
            let failure = Failure::from(error);
            if let Some(detail) = &failure.detail {
                tracing::warn!(%detail, "a pull failed on this machine");
            }
            json!({ "error": { "code": failure.code, "message": failure.message } })
        }
    };
    Bytes::from(format!("{value}\n"))
}
