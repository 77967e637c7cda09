//! Rate limits: requests and tokens in a minute, requests at once.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use hearth_gateway::caller::Caller;
use hearth_store::{Holder, LimitKind, RateLimit, RateLimitRow};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::prices::full_name;
use crate::body::Json;
use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let limits = state.gateway().quota().rate_limits(&caller).await?;
    let holder = |row: &RateLimitRow| Holder::of(row.kind.as_str(), row.holder.parse().ok()?);
    let holders = limits.iter().filter_map(holder).collect();
    let names = state.store().holders().names(holders).await?;
    let shown: Vec<Value> = limits
        .iter()
        .map(|row| {
            let mut shown = json!(row);
            shown["name"] = json!(holder(row).and_then(|holder| names.get(&holder)));
            shown
        })
        .collect();
    Ok(axum::Json(json!({ "limits": shown })))
}

/// A rate limit to be set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    /// `user`, `token`, `group` or `model`.
    #[schema(value_type = String)]
    kind: LimitKind,
    /// A number, a model's name, or `*` for each without a limit of its own.
    holder: String,
    requests_per_minute: Option<u32>,
    tokens_per_minute: Option<u32>,
    concurrent: Option<u32>,
}

pub(crate) async fn set(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<New>,
) -> Result<axum::Json<Value>> {
    let limit = RateLimit {
        requests_per_minute: body.requests_per_minute,
        tokens_per_minute: body.tokens_per_minute,
        concurrent: body.concurrent,
    };
    let holder = holder_of(&state, &caller, body.kind, body.holder);
    let row = RateLimitRow { kind: body.kind, holder, limit };
    state.gateway().quota().set_rate_limit(&caller, row.clone()).await?;
    Ok(axum::Json(json!({ "limit": row })))
}

/// Models by their full names, as they are counted.
fn holder_of(state: &AppState, caller: &Caller, kind: LimitKind, holder: String) -> String {
    match kind {
        LimitKind::Model => full_name(state, caller, holder),
        LimitKind::User | LimitKind::Token | LimitKind::Group => holder,
    }
}

/// Whose limit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whose {
    kind: LimitKind,
    holder: String,
}

pub(crate) async fn delete(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Query(whose): Query<Whose>,
) -> Result<StatusCode> {
    let holder = holder_of(&state, &caller, whose.kind, whose.holder);
    state.gateway().quota().remove_rate_limit(&caller, whose.kind, holder).await?;
    Ok(StatusCode::NO_CONTENT)
}
