//! One's sessions.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let (sessions, current) = state.accounts().list_sessions(&caller).await?;
    Ok(axum::Json(json!({ "sessions": sessions, "current": current })))
}

pub(crate) async fn end(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    state.accounts().end_session(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn end_others(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let ended = state.accounts().end_other_sessions(&caller).await?;
    Ok(axum::Json(json!({ "ended": ended })))
}
