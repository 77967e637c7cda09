//! `/hearth/guards`: rules for what may go in and out of models.

use axum::extract::State;
use hearth_gateway::gateway::GuardRule;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::body::Json;
use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

pub(crate) async fn show(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let (rules, stats) = state.gateway().guards(&caller).await?;
    Ok(axum::Json(json!({ "rules": rules, "stats": stats })))
}

/// All rules.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    /// Each with `name`, `audience` (`group`, `models`), `on` (`request`, `response`, `both`),
    /// `find` (`known`, `regex` or `keywords`) and `action` (`block`, `mask`, `note`).
    #[schema(value_type = Vec<Value>)]
    rules: Vec<GuardRule>,
}

pub(crate) async fn set(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<Rules>,
) -> Result<axum::Json<Value>> {
    state.gateway().set_guards(&caller, body.rules).await?;
    let (rules, stats) = state.gateway().guards(&caller).await?;
    Ok(axum::Json(json!({ "rules": rules, "stats": stats })))
}
