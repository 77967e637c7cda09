//! One's second factor.

use axum::extract::State;
use axum::http::StatusCode;
use hearth_gateway::accounts::Secret;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::session::still_signed_in;
use crate::body::Json;
use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

pub(crate) async fn show(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let factor = state.accounts().second_factor(&caller).await?;
    Ok(axum::Json(json!({ "is_on": factor.is_on, "recovery_codes_left": factor.codes_left })))
}

pub(crate) async fn begin(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<(StatusCode, axum::Json<Value>)> {
    let enrolment = state.accounts().begin_second_factor(&caller).await?;
    let body = json!({ "seed": enrolment.seed.reveal(), "address": enrolment.address.reveal() });
    Ok((StatusCode::CREATED, axum::Json(body)))
}

/// The first code of an authenticator.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
    code: String,
}

pub(crate) async fn confirm(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<Code>,
) -> Result<axum::Json<Value>> {
    let codes = state.accounts().confirm_second_factor(&caller, &body.code).await;
    let codes = codes.map_err(|error| still_signed_in(error.into()))?;
    Ok(axum::Json(shown(&codes)))
}

pub(crate) async fn renew_codes(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    Ok(axum::Json(shown(&state.accounts().renew_recovery_codes(&caller).await?)))
}

pub(crate) async fn end(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<StatusCode> {
    state.accounts().end_second_factor(&caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(codes: &[Secret]) -> Value {
    let codes: Vec<&str> = codes.iter().map(Secret::reveal).collect();
    json!({ "recovery_codes": codes })
}
