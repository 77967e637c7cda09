//! Budgets: limits on what holders spend in a day, a week or a month.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use hearth_gateway::quota::BudgetWish;
use hearth_store::{Period, Unit};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{holder, named_budgets};
use crate::body::Json;
use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let budgets = state.gateway().quota().budgets(&caller).await?;
    Ok(axum::Json(json!({ "budgets": named_budgets(&state, &budgets).await? })))
}

/// A budget to be set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    /// `user`, `token` or `group`.
    kind: String,
    /// A number, or the name of a user or group.
    holder: String,
    /// `day`, `week` or `month`.
    #[schema(value_type = String)]
    period: Period,
    /// `money` (in micro-dollars), `tokens` or `requests`.
    #[schema(value_type = String)]
    unit: Unit,
    /// Most in each period.
    most: u64,
    /// Whose midnight, as `Europe/Berlin`.
    #[serde(default = "utc")]
    time_zone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

pub(crate) async fn set(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<New>,
) -> Result<axum::Json<Value>> {
    let New { kind, holder: name, period, unit, most, time_zone } = body;
    let holder = holder(&state, &kind, &name).await?;
    let wish = BudgetWish { holder, period, unit, most, time_zone };
    let budget = state.gateway().quota().set_budget(&caller, wish).await?;
    let budget = named_budgets(&state, &[budget]).await?.pop();
    Ok(axum::Json(json!({ "budget": budget })))
}

pub(crate) async fn delete(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    state.gateway().quota().remove_budget(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
