//! `/hearth/cache`: which answers are kept for whoever asks the same again.

use axum::extract::State;
use hearth_gateway::gateway::CacheRule;
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
    let (rules, stats) = state.gateway().cache(&caller).await?;
    Ok(axum::Json(json!({ "rules": rules, "stats": stats })))
}

/// The rules; the first that concerns a request counts.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    /// Each with `audience` (`group`, `models`), `max_age_s`, `shared`, `sampled` and `bills`.
    #[schema(value_type = Vec<Value>)]
    rules: Vec<CacheRule>,
}

pub(crate) async fn set(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<Rules>,
) -> Result<axum::Json<Value>> {
    state.gateway().set_cache_rules(&caller, body.rules).await?;
    let (rules, stats) = state.gateway().cache(&caller).await?;
    Ok(axum::Json(json!({ "rules": rules, "stats": stats })))
}

pub(crate) async fn clear(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    Ok(axum::Json(json!({ "forgotten": state.gateway().clear_cache(&caller)? })))
}
