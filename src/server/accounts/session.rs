//! First setup, sign-in and sign-out.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hearth_gateway::accounts::{LANGUAGES, SignedIn};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::address::Peer;
use crate::body::Json;
use crate::error::{Failure, Result};
use crate::guard::{COOKIE, Signed};
use crate::state::AppState;

pub(crate) async fn status(State(state): State<AppState>) -> Result<axum::Json<Value>> {
    Ok(axum::Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "setup_required": state.accounts().setup_required().await?,
        "languages": LANGUAGES,
    })))
}

/// The first admin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Setup {
    code: String,
    name: String,
    password: String,
}

pub(crate) async fn setup(
    State(state): State<AppState>,
    peer: Peer,
    Json(body): Json<Setup>,
) -> Result<Response> {
    let signed_in = state.accounts().setup(&body.code, &body.name, &body.password, peer.0).await?;
    let cookie = set_cookie(&state, signed_in.session.reveal(), None)?;
    Ok((StatusCode::CREATED, cookie, shape(&signed_in)).into_response())
}

/// Who wants to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    name: String,
    password: String,
}

pub(crate) async fn sign_in(
    State(state): State<AppState>,
    peer: Peer,
    Json(body): Json<SignIn>,
) -> Result<Response> {
    let signed_in = state.accounts().sign_in(&body.name, &body.password, peer.0).await?;
    let cookie = set_cookie(&state, signed_in.session.reveal(), None)?;
    Ok((cookie, shape(&signed_in)).into_response())
}

pub(crate) async fn show(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    Ok(axum::Json(json!({ "user": state.accounts().me(&caller).await? })))
}

pub(crate) async fn sign_out(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<Response> {
    state.accounts().sign_out(&caller).await?;
    let cookie = set_cookie(&state, "", Some(0))?;
    Ok((StatusCode::NO_CONTENT, cookie).into_response())
}

fn shape(signed_in: &SignedIn) -> axum::Json<Value> {
    axum::Json(json!({ "user": signed_in.user }))
}

/// The session's cookie. The store ends sessions by time; to the browser it lasts until it closes.
fn set_cookie(
    state: &AppState,
    secret: &str,
    max_age_s: Option<u32>,
) -> Result<[(header::HeaderName, HeaderValue); 1]> {
    let secure = if state.config().secure_cookies { "; Secure" } else { "" };
    let age = max_age_s.map(|age| format!("; Max-Age={age}")).unwrap_or_default();
    let cookie = format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}{age}");
    let mut value = HeaderValue::from_str(&cookie)
        .map_err(|_| Failure::internal("a session's secret cannot stand in a cookie"))?;
    value.set_sensitive(true);
    Ok([(header::SET_COOKIE, value)])
}
