//! For whoever runs the server: health, figures and the machine.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hearth_gateway::backend::Activity;
use serde_json::{Value, json};

use crate::error::{Failure, Result};
use crate::state::AppState;

/// The process lives.
pub(crate) async fn healthz() -> &'static str {
    "ok"
}

/// 503 while the process is ending, so that no new work is sent to it.
pub(crate) async fn readyz(State(state): State<AppState>) -> Response {
    if state.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining").into_response();
    }
    "ok".into_response()
}

pub(crate) async fn metrics(State(state): State<AppState>) -> Result<Response> {
    let guards = state.gateway().guard_stats().await;
    let text = state.metrics().print(state.gateway(), state.channels(), &guards);
    let text = text.map_err(|error| Failure::internal(format!("metrics: {error}")))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

pub(crate) async fn machine(State(state): State<AppState>) -> Result<axum::Json<Value>> {
    let measure = state.machine();
    let facts = tokio::task::spawn_blocking(move || measure()).await;
    let facts = facts.map_err(|error| Failure::internal(format!("machine: {error}")))?;
    let loaded: Vec<Value> = state.gateway().activity().iter().map(shape).collect();
    let mut body = json!(facts);
    body["models_loaded"] = loaded.into();
    Ok(axum::Json(body))
}

fn shape(model: &Activity) -> Value {
    json!({
        "name": model.model,
        "memory_bytes": model.memory_bytes,
        "running": model.running,
        "waiting": model.waiting,
        "queue_wait_ms": model.queue_wait_ms,
        "kv_pages_used": model.kv_pages_used,
        "kv_pages_cached": model.kv_pages_cached,
        "kv_pages_total": model.kv_pages_total,
    })
}
