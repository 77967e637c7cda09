//! Who may call a route: every route's handler stands behind the guard that its entry declares.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Uri, header, request};
use axum::middleware::Next;
use axum::response::Response;
use hearth_gateway::Error as GatewayError;
use hearth_gateway::caller::{Caller, Via};
use serde::Serialize;

use crate::address::peer_of;
use crate::body::BodyLimit;
use crate::error::{Dialect, Failure, Result};
use crate::host;
use crate::notes;
use crate::rate_headers;
use crate::revocable;
use crate::state::AppState;

/// The name of the session's cookie.
pub(crate) const COOKIE: &str = "hearth_session";

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Whoever reaches the server.
    Anyone,
    /// Users and the operator; rows of others are not found.
    User,
    /// Users who are signed in themselves; no API token.
    Person,
    /// Admins and the operator.
    Admin,
    /// The command line on the same machine.
    Operator,
}

/// What a guard needs to know.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) state: AppState,
    pub(crate) access: Access,
    pub(crate) body_limit: BodyLimit,
}

/// The caller whom the guard let in.
pub(crate) struct Signed(pub(crate) Caller);

impl FromRequestParts<AppState> for Signed {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut request::Parts, _: &AppState) -> Result<Signed> {
        // Absent on a route for anyone: a handler there has no caller to act for.
        parts.extensions.get::<Caller>().cloned().map(Signed).ok_or_else(not_signed_in)
    }
}

/// Lets a request through to its handler, with its caller, or refuses it.
pub(crate) async fn check(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> std::result::Result<Response, Failure> {
    refuse_foreign_page(&request)?;
    request.extensions_mut().insert(guard.body_limit);
    if guard.access == Access::Anyone {
        return Ok(next.run(request).await);
    }
    let key = key_of(request.uri());
    let mut caller = caller_of(&guard.state, key, request.headers(), request.extensions()).await?;
    match guard.access {
        Access::Anyone | Access::User => {}
        Access::Person => require_person(&caller)?,
        Access::Admin => caller.require_admin()?,
        Access::Operator => caller.require_operator()?,
    }
    if matches!(caller.via, Via::Session(_)) {
        require_own_page(&request)?;
    }
    let user = caller.user_id;
    let dialect = Dialect::of(request.uri().path());
    let is_asking = dialect != Dialect::Hearth && !is_reading(request.method());
    if is_asking {
        caller.scope.notes = notes::of(request.headers());
    }
    let limited = is_asking.then(|| caller.clone());
    let watch = guard.state.accounts().watch(&caller);
    request.extensions_mut().insert(caller);
    let mut response = revocable::run(watch, next.run(request)).await?;
    if let Some(caller) = limited {
        let limits = guard.state.gateway().rate_limits(&caller).await;
        rate_headers::tell(response.headers_mut(), dialect, limits);
        notes::tell(response.headers_mut(), &caller.scope.notes.mark);
    }
    if let Some(user) = user {
        // For the access log.
        response.extensions_mut().insert(user);
    }
    Ok(response)
}

/// What is a person's own business is not done with an API token, which others may hold.
fn require_person(caller: &Caller) -> Result<()> {
    match caller.via {
        Via::Session(_) => Ok(()),
        Via::ApiToken { .. } | Via::Operator => Err(GatewayError::Forbidden(
            "Sign in to do this; it cannot be done with a token.".to_owned(),
        )
        .into()),
    }
}

async fn caller_of(
    state: &AppState,
    key: Option<&str>,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Caller> {
    let peer = peer_of(extensions, headers, state.proxies());
    if let Some(secret) = secret(headers).or(key) {
        return Ok(state.accounts().caller_by_bearer(secret, peer.0).await?);
    }
    let secret = cookie(headers).ok_or_else(not_signed_in)?;
    Ok(state.accounts().caller_by_session(secret, peer.0).await?)
}

/// The secret in the address, where Google's clients may put it; the log has no addresses.
fn key_of(uri: &Uri) -> Option<&str> {
    if Dialect::of(uri.path()) != Dialect::Gemini {
        return None;
    }
    let mut pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(name, value)| (name == "key").then_some(value))
}

/// The secret in one of the headers that clients know.
fn secret(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
    });
    bearer.or_else(|| text("x-api-key")).or_else(|| text("x-goog-api-key"))
}

/// The session's secret.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    cookies(headers, COOKIE)
}

/// The first cookie of this name.
pub(crate) fn cookies<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == wanted).then_some(value))
}

/// Refuses what a browser itself says another site's page has sent, on routes for anyone too: a
/// page must not sign its visitor in under a foreign account.
fn refuse_foreign_page(request: &Request) -> Result<()> {
    match site(request.headers()) {
        Some("same-origin" | "none") | None => Ok(()),
        Some(_) if is_reading(request.method()) => Ok(()),
        Some(_) => Err(cross_site()),
    }
}

/// Refuses changes with a cookie that do not verifiably come from our own page. Browsers tell
/// `Sec-Fetch-Site` only to HTTPS and loopback, `Origin` with every such request.
fn require_own_page(request: &Request) -> Result<()> {
    if is_reading(request.method()) || site(request.headers()).is_some() {
        return Ok(());
    }
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let origin = origin.and_then(|origin| origin.split_once("://"));
    let host = host::authority(request.uri(), request.headers());
    match (origin, host) {
        (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host.as_str()) => Ok(()),
        _ => Err(cross_site()),
    }
}

fn site(headers: &HeaderMap) -> Option<&str> {
    headers.get("sec-fetch-site").map(|site| site.to_str().unwrap_or("unreadable"))
}

fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn cross_site() -> Failure {
    Failure::new(
        StatusCode::FORBIDDEN,
        "cross_site",
        "This request did not come from Hearth's own page; reload the page and try again.",
    )
}

fn not_signed_in() -> Failure {
    GatewayError::NotSignedIn.into()
}
