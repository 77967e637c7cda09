//! `/api/pull`: brings a model in, and tells it line by line in Ollama's words.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use hearth_gateway::request::RequestId;
use hearth_hub::{PullError, PullEvent, PullProgress, PullRequest, PullStage, PullWatch};
use serde::Deserialize;
use serde_json::{Value, json};

use super::library::read;
use super::short;
use crate::body::AnyBytes;
use crate::error::{Failure, Result};
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

/// A pull, and what its next line says after the one before.
struct Lines {
    watch: PullWatch,
    last: Option<PullProgress>,
    is_over: bool,
}

pub(crate) async fn pull(
    State(state): State<AppState>,
    Extension(id): Extension<RequestId>,
    AnyBytes(body): AnyBytes,
) -> Result<Response> {
    let wanted: Wanted = read(&state, body, id).await?;
    let name = if wanted.model.is_empty() { wanted.name } else { wanted.model };
    let request = PullRequest { name, from: None, is_detached: false };
    let watch = state.pulls().start(request).await.map_err(|error| match error {
        PullError::BadName(_) => Failure::invalid("invalid model name"),
        error => error.into(),
    })?;
    if !wanted.stream.unwrap_or(true) {
        return whole(watch).await;
    }
    let lines = stream::unfold(Lines { watch, last: None, is_over: false }, Lines::next);
    Ok(ndjson::answer(lines))
}

/// The end alone, for who wants one answer.
async fn whole(mut watch: PullWatch) -> Result<Response> {
    while let Some(event) = watch.next().await {
        match event {
            PullEvent::Progress(_) => {}
            PullEvent::Done(_) => {
                return Ok(axum::Json(json!({ "status": "success" })).into_response());
            }
            PullEvent::Failed(error) => {
                let message = told(error);
                return Err(Failure::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "pull_failed",
                    &message,
                ));
            }
        }
    }
    Err(Failure::internal("a pull ended without a word".to_owned()))
}

impl Lines {
    async fn next(mut self) -> Option<(Bytes, Lines)> {
        while !self.is_over {
            let lines = match self.watch.next().await? {
                PullEvent::Progress(progress) => self.progress(progress),
                PullEvent::Done(_) => {
                    self.is_over = true;
                    vec![json!({ "status": "success" })]
                }
                PullEvent::Failed(error) => {
                    self.is_over = true;
                    vec![json!({ "error": told(error) })]
                }
            };
            if !lines.is_empty() {
                let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
                return Some((Bytes::from(text), self));
            }
        }
        None
    }

    /// Clients show a bar for each digest and a line for any other status.
    fn progress(&mut self, progress: PullProgress) -> Vec<Value> {
        let before = self.last.replace(progress);
        let is_new = before.is_none_or(|before| before.stage != progress.stage);
        let status = match (progress.stage, progress.digest) {
            (PullStage::Waiting, _) => "waiting for other pulls".to_owned(),
            (PullStage::Manifest, _) => "pulling manifest".to_owned(),
            (PullStage::Verifying, _) => "verifying sha256 digest".to_owned(),
            (PullStage::Writing, _) => "writing manifest".to_owned(),
            (PullStage::Fetching, Some(digest)) => {
                return vec![json!({
                    "status": format!("pulling {}", short(&digest)), "digest": digest.to_string(),
                    "total": progress.total, "completed": progress.completed,
                })];
            }
            (PullStage::Fetching, None) => {
                return vec![json!({
                    "status": "pulling files", "total": progress.total,
                    "completed": progress.completed,
                })];
            }
        };
        if is_new { vec![json!({ "status": status })] } else { Vec::new() }
    }
}

/// What clients compare, where they do; what is wrong with this machine is for its log.
pub(super) fn told(error: PullError) -> String {
    if let PullError::NotFound(_) = error {
        return "pull model manifest: file does not exist".to_owned();
    }
    let words = match &error {
        PullError::Denied { .. } => "unauthorized: access denied: ",
        PullError::Unreachable { .. } => "max retries exceeded: ",
        _ => "",
    };
    let failure = Failure::from(error);
    if let Some(detail) = &failure.detail {
        tracing::warn!(%detail, "a pull or push failed on this machine");
    }
    format!("{words}{}", failure.message)
}
