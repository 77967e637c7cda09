//! Long work on the library whose progress is told: one JSON object per line, the result at last.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::Response;
use futures_util::stream;
use hearth_gateway::request::RequestId;
use hearth_hub::Library;
use hearth_hub::import::{OnProgress, Progress};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::error::{Failure, Result};
use crate::ndjson;
use crate::state::AppState;

/// Time between two lines of progress.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);
/// Lines that may wait for the client; further ones are left out.
const WAITING_LINES: usize = 8;

/// Starts the work and answers with its lines. It ends by itself, and at the next report when the
/// client is gone. What fails before its first report has a status of its own.
pub(super) async fn told(
    state: &AppState,
    id: RequestId,
    work: impl FnOnce(&Library, OnProgress<'_>) -> hearth_hub::Result<Value> + Send + 'static,
) -> Result<Response> {
    let (sender, mut lines) = mpsc::channel(WAITING_LINES);
    let library = Arc::clone(state.library());
    state.tasks().spawn_blocking(move || {
        let mut reported: Option<Instant> = None;
        let mut on_progress = |progress: Progress| {
            if sender.is_closed() {
                return ControlFlow::Break(());
            }
            let is_last = progress.done_bytes == progress.total_bytes;
            if is_last || reported.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL) {
                reported = Some(Instant::now());
                // A client that reads slowly misses lines; the end waits for it below.
                let _ = sender.try_send(Ok(json!({
                    "done_bytes": progress.done_bytes, "total_bytes": progress.total_bytes,
                })));
            }
            ControlFlow::Continue(())
        };
        let end = work(&library, &mut on_progress).map_err(Failure::from);
        // Whoever is gone does not hear the end.
        let _ = sender.blocking_send(end);
    });
    let ended = || Err(Failure::internal("the work on the library ended without a word"));
    let first = lines.recv().await.unwrap_or_else(ended)?;
    let lines = stream::unfold((Some(first), lines), move |(first, mut lines)| {
        let id = id.clone();
        async move {
            let line = match first {
                Some(first) => first,
                None => lines.recv().await?.unwrap_or_else(|failure| failed(&failure, &id)),
            };
            Some((format!("{line}\n"), (None, lines)))
        }
    });
    Ok(ndjson::answer(lines))
}

fn failed(failure: &Failure, id: &RequestId) -> Value {
    tracing::warn!(
        request.id = %id.0, error.code = failure.code, detail = failure.detail.as_deref(),
        "work on the library failed"
    );
    json!({ "error": { "code": failure.code, "message": failure.message } })
}
