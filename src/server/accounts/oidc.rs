//! Sign-in by a provider of OpenID Connect, or by a proxy that has checked who somebody is.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use hearth_gateway::accounts::Arrival;
use serde::Deserialize;

use super::session::{Visitor, set_cookie, signed_in};
use crate::address::Through;
use crate::error::{Failure, Result};
use crate::guard::cookies;
use crate::state::AppState;

/// Keeps the browser that began a sign-in apart from all others.
const FLOW_COOKIE: &str = "hearth_oidc";
/// Seconds that it lives.
const FLOW_S: u32 = 600;
/// Most bytes of what the provider sends back.
const MAX_PARAMETER_BYTES: usize = 4_096;
/// The session's cookie is not sent on the way from another site, so the app is opened by a page
/// of our own.
const OPEN_APP: &str =
    "<!doctype html><meta http-equiv=\"refresh\" content=\"0;url=/\"><title>Hearth</title>";

pub(crate) async fn begin(State(state): State<AppState>, visit: Visitor) -> Result<Response> {
    let departure = state.accounts().begin_oidc(&visit.with(None)).await?;
    let secure = if state.config().secure_cookies { "; Secure" } else { "" };
    let cookie = format!(
        "{FLOW_COOKIE}={}; Path=/hearth/oidc; HttpOnly; SameSite=Lax; Max-Age={FLOW_S}{secure}",
        departure.binding
    );
    let unfit = |_| Failure::internal("an address or a cookie cannot stand in a head");
    let headers = [
        (header::LOCATION, HeaderValue::from_str(&departure.url).map_err(unfit)?),
        (header::SET_COOKIE, HeaderValue::from_str(&cookie).map_err(unfit)?),
    ];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

/// What the provider sends a browser back with; it may say more than we ask.
#[derive(Deserialize)]
pub(crate) struct Back {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
}

pub(crate) async fn end(
    State(state): State<AppState>,
    visit: Visitor,
    headers: HeaderMap,
    Query(back): Query<Back>,
) -> Result<Response> {
    if back.error.is_some() {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            "provider_refused",
            "The OpenID provider did not sign you in.",
        ));
    }
    let binding = cookies(&headers, FLOW_COOKIE).unwrap_or_default().to_owned();
    let (Some(code), Some(flow)) = (back.code, back.state) else {
        return Err(Failure::invalid("'code' and 'state' are missing."));
    };
    if [&code, &flow, &binding].iter().any(|text| text.len() > MAX_PARAMETER_BYTES) {
        return Err(Failure::invalid("'code' or 'state' is too long."));
    }
    let arrival = Arrival { code, state: flow, binding };
    let joined = state.accounts().end_oidc(arrival, visit.with(None)).await?;
    let cookie = set_cookie(&state, joined.session.reveal(), None)?;
    Ok((cookie, Html(OPEN_APP)).into_response())
}

/// Signs in whom the trusted proxy names.
pub(crate) async fn by_proxy(
    State(state): State<AppState>,
    visit: Visitor,
    through: Through,
    headers: HeaderMap,
) -> Result<Response> {
    let name = state.accounts().proxy_header().filter(|_| through.is_proxy);
    let user = name.and_then(|name| headers.get(name)).and_then(|value| value.to_str().ok());
    let joined = state.accounts().sign_in_by_proxy(user, visit.with(None)).await?;
    signed_in(&state, StatusCode::OK, &joined)
}
