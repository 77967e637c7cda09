//! Brings local files in, and tells how far it is.

pub(super) mod readable;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use hearth_gateway::backend::ModelState;
use hearth_gateway::request::RequestId;
use hearth_hub::import::Progress;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;

use crate::body::Json;
use crate::error::{Failure, Result};
use crate::sse::{self, Frame};
use crate::state::AppState;

/// Time between two reports of progress.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);
/// Reports that may wait for the client; further ones are left out.
const WAITING_REPORTS: usize = 8;

/// Files of this machine that become a model.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Import {
    #[schema(value_type = String)]
    path: PathBuf,
    name: String,
}

pub(crate) async fn import(
    State(state): State<AppState>,
    Extension(id): Extension<RequestId>,
    Json(body): Json<Import>,
) -> Result<Response> {
    if !body.path.is_absolute() {
        return Err(Failure::invalid("'path' must be an absolute path on the server's machine."));
    }
    let path = body.path.clone();
    let checked = tokio::task::spawn_blocking(move || readable::check(&path)).await;
    checked.map_err(|error| Failure::internal(format!("import: {error}")))??;
    let (sender, reports) = mpsc::channel(WAITING_REPORTS);
    let library = Arc::clone(state.library());
    let now = state.now();
    // Ends by itself, and at the next report when the client is gone.
    state.tasks().spawn_blocking(move || {
        let mut reported = None;
        let mut on_progress = |progress: Progress| {
            if sender.is_closed() {
                return ControlFlow::Break(());
            }
            if reported.is_none_or(|at: Instant| at.elapsed() >= REPORT_INTERVAL) {
                reported = Some(Instant::now());
                let data = json!({
                    "done_bytes": progress.done_bytes, "total_bytes": progress.total_bytes,
                });
                // A client that reads slowly misses reports; the end waits for it below.
                let _ = sender.try_send(Frame::named("progress", &data));
            }
            ControlFlow::Continue(())
        };
        let end = match library.import(&body.path, &body.name, now, &mut on_progress) {
            Ok(entry) => {
                let model = super::shape(&entry, ModelState::Idle);
                Frame::named("imported", &json!({ "model": model }))
            }
            Err(error) => failed(error.into(), &id),
        };
        // Whoever is gone does not hear the end.
        let _ = sender.blocking_send(end);
    });
    Ok(sse::answer(ReceiverStream::new(reports)))
}

fn failed(failure: Failure, id: &RequestId) -> Frame {
    tracing::warn!(
        request.id = %id.0, error.code = failure.code, detail = failure.detail.as_deref(),
        "an import failed"
    );
    let error = json!({ "code": failure.code, "message": failure.message });
    Frame::named("failed", &json!({ "error": error }))
}
