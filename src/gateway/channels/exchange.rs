//! One exchange with a provider: what is sent, what may come back, and what can go wrong.

use std::error::Error as StdError;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::multipart::Form;
use reqwest::{Method, RequestBuilder, Response, Url};
use tokio::time::{Instant, timeout_at};

use super::credential::Outgoing;
use super::guard::IS_PRIVATE;
use super::live::{Live, LiveKey};
use crate::error::Error;
use crate::wire::{Call, Refusal, RefusalKind};

/// Longest refusal that is read, in bytes; of more the beginning counts.
const MAX_REFUSAL_BYTES: usize = 64 << 10;
/// How long a refusal may take to come whole.
const REFUSAL_LIMIT: Duration = Duration::from_secs(10);

/// Why a provider gave no answer.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) kind: TroubleKind,
    /// In the provider's own words, or the network's: for admins and logs.
    pub(crate) message: String,
    /// When the provider wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
}

/// What can be done about it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TroubleKind {
    Refused(RefusalKind),
    /// No connection, or it broke off.
    Unreachable,
    TimedOut,
    /// The request cannot be written for this provider.
    CannotCarry(Box<Error>),
}

impl Trouble {
    pub(crate) fn new(kind: TroubleKind, message: impl Into<String>) -> Trouble {
        Trouble { kind, message: message.into(), retry_after: None }
    }

    pub(crate) fn cannot_carry(error: Error) -> Trouble {
        Trouble::new(TroubleKind::CannotCarry(Box::new(error.clone())), error.to_string())
    }

    pub(crate) fn timed_out(what: &str, time_ms: u32) -> Trouble {
        Trouble::new(TroubleKind::TimedOut, format!("{what} within {time_ms} ms"))
    }

    /// What the network says, without the address and with its innermost cause.
    pub(crate) fn of_network(error: reqwest::Error) -> Trouble {
        let is_timeout = error.is_timeout();
        let error = error.without_url();
        let mut cause: &dyn StdError = &error;
        let mut is_private = false;
        while let Some(inner) = cause.source() {
            is_private |= inner.is::<hearth_reach::IsPrivate>();
            cause = inner;
        }
        let message = match is_private {
            true => IS_PRIVATE.to_owned(),
            false => cause.to_string(),
        };
        let kind = if is_timeout { TroubleKind::TimedOut } else { TroubleKind::Unreachable };
        Trouble::new(kind, message)
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Trouble {
        Trouble::new(TroubleKind::Refused(refusal.kind), refusal.message)
    }
}

/// Sends a call; gives the answer once its head has come and says that it is one.
pub(crate) async fn post(live: &Live, key: &LiveKey, call: &Call) -> Result<Response, Trouble> {
    post_within(live, key, call, live.settings.timeouts.first_byte_ms).await
}

/// The same, with another time limit for the head.
pub(crate) async fn post_within(
    live: &Live,
    key: &LiveKey,
    call: &Call,
    wait_ms: u32,
) -> Result<Response, Trouble> {
    let body = serde_json::to_vec(&call.body)
        .map_err(|error| Trouble::cannot_carry(Error::Internal(error.to_string())))?;
    let mut request = request(live, key, (Method::POST, &call.path), &body)
        .await?
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in &call.headers {
        request = request.header(HeaderName::from_static(name), value);
    }
    send(live, key, request.body(body), wait_ms).await
}

/// Sends a form; gives the answer once its head has come, within so long, and says that it is one.
pub(crate) async fn post_form(
    live: &Live,
    key: &LiveKey,
    path: &str,
    form: Form,
    wait_ms: u32,
) -> Result<Response, Trouble> {
    let request = request(live, key, (Method::POST, path), b"").await?;
    send(live, key, request.multipart(form), wait_ms).await
}

/// Asks for something, such as the list of models.
pub(crate) async fn get(live: &Live, key: &LiveKey, path: &str) -> Result<Response, Trouble> {
    let wait_ms = live.settings.timeouts.first_byte_ms;
    let request = request(live, key, (Method::GET, path), b"").await?;
    send(live, key, request, wait_ms).await
}

/// A whole answer of at most `limit` bytes.
pub(crate) async fn read(
    mut response: Response,
    limit: usize,
    until: Instant,
) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    loop {
        let chunk = timeout_at(until, response.chunk()).await.map_err(|_| {
            Trouble::new(TroubleKind::TimedOut, "the answer did not come whole in time")
        })?;
        let Some(chunk) = chunk.map_err(Trouble::of_network)? else { return Ok(bytes) };
        if bytes.len() + chunk.len() > limit {
            let message = format!("the answer is longer than {limit} bytes");
            return Err(Trouble::new(TroubleKind::Refused(RefusalKind::Broken), message));
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// A request that shows the key. `body`: as far as the key is shown by signing it.
async fn request(
    live: &Live,
    key: &LiveKey,
    (method, path): (Method, &str),
    body: &[u8],
) -> Result<RequestBuilder, Trouble> {
    let mut headers = live.headers.clone();
    let url = Url::parse(&format!("{}{path}", live.base_url)).map_err(|error| {
        Trouble::cannot_carry(Error::Internal(format!("a path that is none: {error}")))
    })?;
    let outgoing = Outgoing { method: &method, url: &url, body };
    key.credential.show(live, outgoing, &mut headers).await?;
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    Ok(live.client.request(method, url).headers(headers))
}

async fn send(
    live: &Live,
    key: &LiveKey,
    request: RequestBuilder,
    wait_ms: u32,
) -> Result<Response, Trouble> {
    let until = Instant::now() + Duration::from_millis(wait_ms.into());
    let response = timeout_at(until, request.send())
        .await
        .map_err(|_| Trouble::timed_out("it did not begin to answer", wait_ms))?
        .map_err(Trouble::of_network)?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = retry_after(response.headers());
    if status.is_redirection() {
        let message = format!("it answered {status}; redirects are not followed");
        return Err(Trouble::new(TroubleKind::Refused(RefusalKind::Broken), message));
    }
    let body = beginning(response).await;
    let refusal = live.wire.refusal(status.as_u16(), &body);
    let message = match refusal.message.is_empty() {
        true => status.to_string(),
        false => format!("{} ({})", refusal.message, status.as_u16()),
    };
    let message = without(key, message);
    Err(Trouble { kind: TroubleKind::Refused(refusal.kind), message, retry_after })
}

/// Some providers repeat the key that they refuse, and what they say is logged.
fn without(key: &LiveKey, message: String) -> String {
    match key.credential.secret().filter(|secret| !secret.is_empty()) {
        Some(secret) => message.replace(secret, "***"),
        None => message,
    }
}

/// What comes of a refusal's body in time and within bounds.
async fn beginning(mut response: Response) -> Vec<u8> {
    let until = Instant::now() + REFUSAL_LIMIT;
    let mut bytes = Vec::new();
    while let Ok(Ok(Some(chunk))) = timeout_at(until, response.chunk()).await {
        let room = MAX_REFUSAL_BYTES - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if bytes.len() == MAX_REFUSAL_BYTES {
            break;
        }
    }
    bytes
}

/// Milliseconds, seconds or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(ms) = text(HeaderName::from_static("retry-after-ms")) {
        return ms.parse().ok().map(Duration::from_millis);
    }
    let text = text(RETRY_AFTER)?;
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_say_in_three_ways_when_to_come_again() {
        let soon = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(90));
        for (name, value, expected_s) in [
            ("retry-after", "7", Some(7)),
            ("retry-after", "1.5", Some(1)),
            ("retry-after-ms", "2500", Some(2)),
            ("retry-after", soon.as_str(), Some(89)),
            ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT", Some(0)),
            ("retry-after", "-1", None),
            ("retry-after", "1e400", None),
            ("retry-after", "soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            let found = super::retry_after(&headers).map(|time| time.as_secs());
            let is_near = match (found, expected_s) {
                (Some(found), Some(expected)) => found.abs_diff(expected) <= 1,
                (found, expected) => found == expected,
            };
            assert!(is_near, "{name}: {value} gave {found:?}");
        }
    }
}
