//! What happens to every request before and after its handler: id, host check, panic net, error
//! shape, security headers, metrics and one log line.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hearth_gateway::request::RequestId;
use hearth_store::UserId;
use tokio::sync::OwnedSemaphorePermit;

use crate::body::json_body;
use crate::error::{Dialect, Failure};
use crate::host;
use crate::state::AppState;

/// Longest request id that is taken from a client.
const MAX_ID_BYTES: usize = 64;
/// Names the request in both directions.
const ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The route of requests that no route matched, in metrics and log.
const NO_ROUTE: &str = "none";
/// Routes that answer however busy the server is: they take no body and wait for nobody.
const WATCHING: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// What the page may do: run its own scripts and styles, talk to its own server, nothing else.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types hearth";
const PERMISSIONS: &str = "camera=(), geolocation=(), microphone=(), payment=(), usb=()";

/// Wraps every route.
pub(crate) async fn wrap(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let dialect = Dialect::of(request.uri().path());
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);

    let mut response = match admit(&state, &request, route) {
        Ok(_place) => next.run(request).await,
        Err(failure) => failure.into_response(),
    };
    let detail = shape(&mut response, dialect, &id);
    protect(response.headers_mut(), state.config().secure_cookies);
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(ID_HEADER, id);
    }

    let took = started.elapsed();
    let status = response.status().as_u16();
    state.metrics().count_request(route, &method, status, took);
    let user = response.extensions().get::<UserId>().map(|user| user.0);
    let ms = took.as_millis() as u64;
    match detail {
        Some(detail) => tracing::error!(
            request.id = %id, http.method = %method, http.route = route, http.status = status,
            ms, user.id = user, detail, "request failed"
        ),
        None => tracing::info!(
            request.id = %id, http.method = %method, http.route = route, http.status = status,
            ms, user.id = user, "request"
        ),
    }
    response
}

/// What a panic in a handler is answered with. The panic itself is logged by the hook.
///
/// Its text may quote a prompt, so it is not looked at.
pub(crate) fn caught(_panic: Box<dyn Any + Send>) -> Response {
    Failure::internal("a handler panicked").into_response()
}

/// A place among the running requests, for a host that is ours; whoever watches the server needs
/// none.
fn admit(
    state: &AppState,
    request: &Request,
    route: &str,
) -> Result<Option<OwnedSemaphorePermit>, Failure> {
    let authority = host::authority(request.uri(), request.headers());
    if !authority.is_some_and(|authority| host::is_ours(&authority, &state.config().hosts)) {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            "wrong_host",
            "This server does not answer to that name; add it to `hosts` in the settings.",
        ));
    }
    if WATCHING.contains(&route) {
        return Ok(None);
    }
    let place = state.requests().clone().try_acquire_owned().map_err(|_| {
        Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "The server has too many requests; try again in a second.",
        )
        .retry_after(Duration::from_secs(1))
    })?;
    Ok(Some(place))
}

/// The client's id if it is plain, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let is_plain = |id: &&str| {
        (1..=MAX_ID_BYTES).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let given = headers.get(ID_HEADER).and_then(|id| id.to_str().ok()).filter(is_plain);
    given.map_or_else(|| uuid::Uuid::now_v7().simple().to_string(), str::to_owned)
}

/// Gives a failure its body; returns what the log must know.
fn shape(response: &mut Response, dialect: Dialect, id: &str) -> Option<String> {
    let failure = response.extensions_mut().remove::<Failure>()?;
    *response.status_mut() = failure.status_in(dialect);
    *response.body_mut() = json_body(&failure.body(dialect, id));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.remove(header::CONTENT_LENGTH);
    failure.detail
}

fn protect(headers: &mut HeaderMap, is_https: bool) {
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, CONTENT_POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    // Not `no-referrer`: with it some browsers send `Origin: null`, and on plain HTTP `Origin` is
    // all that tells our own page from another.
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(HeaderName::from_static("permissions-policy"), PERMISSIONS);
    if is_https {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
