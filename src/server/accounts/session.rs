//! First setup, sign-in and sign-out.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::{FromRequestParts, OptionalFromRequestParts, State};
use axum::http::{HeaderValue, StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use hearth_gateway::accounts::{LANGUAGES, ShownPasskey, SignedIn, Site, Visit};
use hearth_gateway::permission::permissions;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::address::Peer;
use crate::body::Json;
use crate::error::{Failure, Result};
use crate::guard::{COOKIE, Signed};
use crate::host;
use crate::state::AppState;

/// What a page of sign-in should offer. `passkeys`: whether there can be some under the name by
/// which this was asked.
pub(crate) async fn status(
    State(state): State<AppState>,
    here: Option<Here>,
) -> Result<axum::Json<Value>> {
    Ok(axum::Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "setup_required": state.accounts().setup_required().await?,
        "languages": LANGUAGES,
        "password": true,
        "passkeys": here.is_some(),
        "oidc": state.accounts().offers_oidc(),
        "ldap": state.accounts().offers_ldap(),
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
    /// A passkey in its place.
    #[schema(value_type = Option<Object>)]
    passkey: Option<Value>,
}

pub(crate) async fn sign_in(
    State(state): State<AppState>,
    visit: Visitor,
    here: Option<Here>,
    Json(body): Json<SignIn>,
) -> Result<Response> {
    let visit = Visit { passkey: shown(here, body.passkey)?, ..visit.with(body.code) };
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
    /// Not needed with a passkey.
    password: Option<String>,
    /// Of the authenticator, or a recovery code, where there is a second factor.
    code: Option<String>,
    #[schema(value_type = Option<Object>)]
    passkey: Option<Value>,
}

pub(crate) async fn confirm(
    State(state): State<AppState>,
    Signed(caller): Signed,
    visit: Visitor,
    here: Option<Here>,
    Json(body): Json<Proof>,
) -> Result<StatusCode> {
    let accounts = state.accounts();
    let passkey = shown(here, body.passkey)?;
    let confirmed = match (body.password, passkey) {
        (None, None) => return Err(Failure::invalid("Send 'password' or 'passkey'.")),
        (None, Some(shown)) => {
            accounts.confirm_by_passkey(&caller, &shown.site, &shown.answer).await
        }
        (Some(password), passkey) => {
            let visit = Visit { passkey, ..visit.with(body.code) };
            accounts.confirm_session(&caller, &password, visit).await
        }
    };
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

/// The passkey of a body, as shown on this page.
fn shown(here: Option<Here>, answer: Option<Value>) -> Result<Option<ShownPasskey>> {
    let Some(answer) = answer else { return Ok(None) };
    match here {
        Some(Here(site)) => Ok(Some(ShownPasskey { site, answer })),
        None => Err(Failure::invalid("There are no passkeys under this address.")),
    }
}

/// The name under which the browser reaches us, if it is one that can have passkeys.
pub(crate) struct Here(pub(crate) Site);

impl FromRequestParts<AppState> for Here {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut request::Parts, state: &AppState) -> Result<Here> {
        let host = host::authority(&parts.uri, &parts.headers);
        let host = host.as_ref().map_or("", |host| host.as_str());
        Ok(Here(state.accounts().site(host)?))
    }
}

impl OptionalFromRequestParts<AppState> for Here {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut request::Parts,
        state: &AppState,
    ) -> std::result::Result<Option<Here>, Infallible> {
        Ok(<Here as FromRequestParts<AppState>>::from_request_parts(parts, state).await.ok())
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
        Visit { address: self.address, agent: self.agent, code, passkey: None }
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
