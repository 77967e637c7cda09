//! What clients of OpenAI's former billing API, and of New API, ask about their own credential.

use axum::extract::{Query, State};
use hearth_gateway::caller::Caller;
use hearth_gateway::quota::calendar;
use hearth_store::{ApiToken, ApiTokenId, Period, Span, Summary, UsageFilter, Wallet};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

/// Dollars that stand for no limit, as New API has them.
const UNLIMITED_USD: f64 = 100_000_000.0;
/// Micro-dollars of a unit of New API, which has 500,000 in a dollar.
const UNIT_MICROS: u64 = 2;

pub(crate) async fn subscription(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let wallet = limited_wallet(&state, &caller).await?;
    let limit = wallet.map_or(UNLIMITED_USD, |wallet| wallet.granted.dollars());
    let expires_at = own_token(&state, &caller).await?.and_then(|token| token.expires_at);
    Ok(axum::Json(json!({
        "object": "billing_subscription",
        "has_payment_method": true,
        "soft_limit_usd": limit,
        "hard_limit_usd": limit,
        "system_hard_limit_usd": limit,
        "access_until": expires_at.unwrap_or(0),
    })))
}

/// Days, as `2026-11-30`; the last is part of it.
#[derive(Deserialize)]
pub(crate) struct Days {
    start_date: Option<String>,
    end_date: Option<String>,
}

pub(crate) async fn usage(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Query(days): Query<Days>,
) -> Result<axum::Json<Value>> {
    let token = caller.token_id();
    let filter = UsageFilter { user_id: caller.user_id, token_id: token, ..UsageFilter::default() };
    let first = days.start_date.as_deref().and_then(day).map_or(0, |day| day.start);
    let last = days.end_date.as_deref().and_then(day).map(|day| day.end);
    let end = last.unwrap_or(state.now().saturating_add(1)).max(first);
    let question = Summary { span: Span { start: first, end }, by: None, filter };
    let sums = state.store().usage().summary(question).await?;
    let micros = sums.first().map_or(0, |sum| sum.cost_micros);
    // Hundredths of dollars.
    let total = micros as f64 / 10_000.0;
    Ok(axum::Json(json!({ "object": "list", "total_usage": total })))
}

/// What New API tells of an API token at `/api/usage/token/`.
pub(crate) async fn token(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let wallet = limited_wallet(&state, &caller).await?;
    let token = own_token(&state, &caller).await?;
    let models = token.as_ref().and_then(|token| token.models.clone());
    let limits: serde_json::Map<String, Value> =
        models.iter().flatten().map(|model| (model.clone(), Value::Bool(true))).collect();
    let units = |of: fn(Wallet) -> u64| wallet.map_or(0, |wallet| of(wallet) / UNIT_MICROS);
    Ok(axum::Json(json!({
        "code": true,
        "message": "ok",
        "data": {
            "object": "token_usage",
            "name": token.as_ref().map_or(caller.name.as_str(), |token| token.name.as_str()),
            "total_granted": units(|wallet| wallet.granted.micros()),
            "total_used": units(|wallet| wallet.used.micros()),
            "total_available": units(|wallet| wallet.remaining.micros()),
            "unlimited_quota": wallet.is_none(),
            "model_limits": limits,
            "model_limits_enabled": models.is_some(),
            "expires_at": token.and_then(|token| token.expires_at).unwrap_or(0),
        },
    })))
}

/// The limited wallet nearest to the credential: the API token's, the user's, the group's.
async fn limited_wallet(state: &AppState, caller: &Caller) -> Result<Option<Wallet>> {
    let remaining = state.gateway().quota().remaining(caller).await?;
    let nearest = |wallet: &Wallet| match wallet.holder {
        hearth_store::Holder::Token(_) => 0,
        hearth_store::Holder::User(_) => 1,
        hearth_store::Holder::Group(_) => 2,
    };
    let limited = remaining.wallets.into_iter().filter(|wallet| !wallet.is_unlimited);
    Ok(limited.min_by_key(nearest))
}

/// The API token that was shown.
async fn own_token(state: &AppState, caller: &Caller) -> Result<Option<ApiToken>> {
    let (Some(id), Some(user)) = (caller.token_id(), caller.user_id) else { return Ok(None) };
    let before = Some(ApiTokenId(id.0.saturating_sub(1)));
    let found = state.store().api_tokens().list_of(user, before, 1).await?;
    Ok(found.into_iter().find(|token| token.id == id))
}

/// A day of UTC.
fn day(text: &str) -> Option<Span> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let noon = date.at(12, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    calendar::span("UTC", Period::Day, noon.timestamp().as_second())
}
