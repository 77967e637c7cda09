//! One's passkeys, and sign-in by them.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use hearth_gateway::accounts::Secret;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::session::{Here, Visitor, signed_in};
use crate::address::Peer;
use crate::body::Json;
use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let (passkeys, asked) = state.accounts().passkeys(&caller).await?;
    Ok(axum::Json(json!({ "passkeys": passkeys, "asked_with_password": asked })))
}

/// What `navigator.credentials.create` is to be called with.
pub(crate) async fn begin(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Here(site): Here,
) -> Result<axum::Json<Value>> {
    let options = state.accounts().begin_passkey(&caller, &site).await?;
    Ok(axum::Json(json!({ "options": options })))
}

/// What the authenticator has made of it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    name: String,
    /// As the browser's `toJSON` gives it.
    #[schema(value_type = Object)]
    credential: Value,
}

pub(crate) async fn add(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Here(site): Here,
    Json(body): Json<New>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    let accounts = state.accounts();
    let passkey = accounts.add_passkey(&caller, &site, &body.name, &body.credential).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "passkey": passkey }))))
}

/// Another name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    name: String,
}

pub(crate) async fn rename(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
    Json(body): Json<Named>,
) -> Result<StatusCode> {
    state.accounts().rename_passkey(&caller, &id, &body.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn remove(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    state.accounts().remove_passkey(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether the password needs a passkey beside it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    with_password: bool,
}

pub(crate) async fn ask(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<Asked>,
) -> Result<axum::Json<Value>> {
    let codes = state.accounts().ask_passkey(&caller, body.with_password).await?;
    let codes: Vec<&str> = codes.iter().map(Secret::reveal).collect();
    Ok(axum::Json(json!({ "recovery_codes": codes })))
}

/// What `navigator.credentials.get` is to be called with.
pub(crate) async fn begin_proof(
    State(state): State<AppState>,
    Peer(peer): Peer,
    Here(site): Here,
) -> Result<axum::Json<Value>> {
    let options = state.accounts().begin_passkey_proof(&site, peer)?;
    Ok(axum::Json(json!({ "options": options })))
}

/// What the authenticator has answered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shown {
    /// As the browser's `toJSON` gives it.
    #[schema(value_type = Object)]
    credential: Value,
}

pub(crate) async fn sign_in(
    State(state): State<AppState>,
    visit: Visitor,
    Here(site): Here,
    Json(body): Json<Shown>,
) -> Result<Response> {
    let joined = state.accounts().sign_in_by_passkey(&site, &body.credential, visit.with(None));
    signed_in(&state, StatusCode::OK, &joined.await?)
}
