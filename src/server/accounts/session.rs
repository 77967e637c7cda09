//! First setup, sign-in and sign-out.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, State};
use axum::http::{HeaderValue, StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use hearth_gateway::accounts::{LANGUAGES, SignedIn, Visit};
use hearth_gateway::permission::permissions;
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
        "oidc": state.accounts().offers_oidc(),
        "proxy": state.accounts().proxy_header().is_some(),
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
    visit: Visitor,
    Json(body): Json<Setup>,
) -> Result<Response> {
    let visit = visit.with(None);
    let signed_in = state.accounts().setup(&body.code, &body.name, &body.password, visit).await?;
    self::signed_in(&state, StatusCode::CREATED, &signed_in)
}

/// Who wants to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    name: String,
    password: String,
    /// Of the authenticator, or a recovery code; asked for by `second_factor_required`.
    code: Option<String>,
}

pub(crate) async fn sign_in(
    State(state): State<AppState>,
    visit: Visitor,
    Json(body): Json<SignIn>,
) -> Result<Response> {
    let visit = visit.with(body.code);
    let signed_in = state.accounts().sign_in(&body.name, &body.password, visit).await?;
    self::signed_in(&state, StatusCode::OK, &signed_in)
}

pub(crate) async fn show(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let user = state.accounts().me(&caller).await?;
    let permissions = permissions(user.role);
    Ok(axum::Json(json!({ "user": user, "permissions": permissions })))
}

/// The user proves again who they are, for what is dangerous.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proof {
    password: String,
    /// Of the authenticator, or a recovery code, where there is a second factor.
    code: Option<String>,
}

pub(crate) async fn confirm(
    State(state): State<AppState>,
    Signed(caller): Signed,
    visit: Visitor,
    Json(body): Json<Proof>,
) -> Result<StatusCode> {
    let confirmed =
        state.accounts().confirm_session(&caller, &body.password, visit.with(body.code)).await;
    confirmed.map_err(|error| still_signed_in(error.into()))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Somebody who is signed in and wrong about a password: 401 would tell the web app otherwise.
pub(crate) fn still_signed_in(failure: Failure) -> Failure {
    match failure.code {
        "wrong_credentials" | "second_factor_required" => {
            Failure { status: StatusCode::FORBIDDEN, ..failure }
        }
        _ => failure,
    }
}

/// Whose browser it is.
pub(crate) struct Visitor {
    address: IpAddr,
    agent: Option<String>,
}

impl Visitor {
    /// With the code that the body brings.
    pub(crate) fn with(self, code: Option<String>) -> Visit {
        Visit { address: self.address, agent: self.agent, code }
    }
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut request::Parts, state: &AppState) -> Result<Visitor> {
        let Peer(address) = Peer::from_request_parts(parts, state).await?;
        let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        Ok(Visitor { address, agent: agent.map(str::to_owned) })
    }
}

pub(crate) async fn sign_out(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<Response> {
    state.accounts().sign_out(&caller).await?;
    let cookie = set_cookie(&state, "", Some(0))?;
    Ok((StatusCode::NO_CONTENT, cookie).into_response())
}

/// The answer to somebody who has just signed in.
pub(crate) fn signed_in(
    state: &AppState,
    status: StatusCode,
    signed_in: &SignedIn,
) -> Result<Response> {
    let cookie = set_cookie(state, signed_in.session.reveal(), None)?;
    Ok((status, cookie, shape(signed_in)).into_response())
}

fn shape(signed_in: &SignedIn) -> axum::Json<Value> {
    axum::Json(json!({ "user": signed_in.user }))
}

/// The session's cookie. The store ends sessions by time; to the browser it lasts until it closes.
pub(crate) fn set_cookie(
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
