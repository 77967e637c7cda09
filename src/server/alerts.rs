//! Alerts: what is watched, where they go, and what was sent.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use hearth_gateway::alerts::RULES;
use hearth_store::{AlertRule, AlertWay};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::body::Json;
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

/// Entries of a page without a wish, and the most of them.
const PAGE: u32 = 50;
const MAX_PAGE: u32 = 500;

pub(crate) async fn show(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let rules = state.alerts().rules(&caller).await?;
    let shown: Vec<Value> = rules
        .iter()
        .map(|rule| {
            let known = RULES.iter().find(|known| known.name == rule.rule);
            let mut shown = json!(rule);
            shown["about"] = json!(known.map(|known| known.about));
            shown
        })
        .collect();
    let targets = state.alerts().targets(&caller).await?;
    Ok(axum::Json(json!({ "rules": shown, "targets": targets, "mail": state.alerts().has_mail() })))
}

/// A rule as it shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// `budget`, `spend`, `failures` or `sign_in`.
    rule: String,
    is_on: bool,
    /// Without it, as it comes.
    threshold: Option<u64>,
    /// Without it, as it comes.
    floor: Option<u64>,
}

pub(crate) async fn set_rule(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<Rule>,
) -> Result<axum::Json<Value>> {
    let known = RULES.iter().find(|known| known.name == body.rule);
    let usual = |wish: Option<u64>, usual: Option<u64>| wish.or(usual).unwrap_or(0);
    let rule = AlertRule {
        rule: body.rule,
        is_on: body.is_on,
        threshold: usual(body.threshold, known.map(|known| known.threshold)),
        floor: usual(body.floor, known.map(|known| known.floor)),
    };
    state.alerts().set_rule(&caller, rule.clone()).await?;
    Ok(axum::Json(json!({ "rule": rule })))
}

/// Where alerts shall go.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    /// `email` or `webhook`.
    #[schema(value_type = String)]
    way: AlertWay,
    /// An address of e-mail, or of the web.
    address: String,
}

/// The secret with which calls of a webhook are signed is told here alone.
pub(crate) async fn add_target(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<New>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    let added = state.alerts().add_target(&caller, body.way, &body.address).await?;
    let (target, secret) = added;
    Ok((StatusCode::CREATED, axum::Json(json!({ "target": target, "secret": secret }))))
}

pub(crate) async fn remove_target(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    state.alerts().remove_target(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn test(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
) -> Result<axum::Json<Value>> {
    let sent = state.alerts().test(&caller, id).await?;
    Ok(axum::Json(json!({ "sent": sent })))
}

/// Which part of the list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// `next` of the page before.
    before: Option<i64>,
    limit: Option<u32>,
}

pub(crate) async fn sent(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Query(part): Query<Part>,
) -> Result<axum::Json<Value>> {
    let limit = part.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Failure::invalid(format!("'limit' must be 1 to {MAX_PAGE}.")));
    }
    let sent = state.alerts().sent(&caller, part.before, limit).await?;
    let is_whole = sent.len() < limit as usize;
    let next = sent.last().filter(|_| !is_whole).map(|sent| sent.id);
    Ok(axum::Json(json!({ "sent": sent, "next": next })))
}
