//! Tells callers what is left of their rate limits, in the headers that OpenAI's and Anthropic's
//! clients know.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hearth_gateway::gateway::RateLimits;
use hearth_gateway::quota::pace::Left;
use jiff::{SignedDuration, Timestamp};

use crate::error::Dialect;

/// Adds the headers; who has no limits gets none.
pub(crate) fn tell(headers: &mut HeaderMap, dialect: Dialect, limits: RateLimits) {
    for (what, left) in [("requests", limits.requests), ("tokens", limits.tokens)] {
        let Some(Left { limit, remaining, reset_ms }) = left else { continue };
        let values = [
            ("limit", limit.to_string()),
            ("remaining", remaining.to_string()),
            ("reset", reset(dialect, reset_ms)),
        ];
        for (part, value) in values {
            let name = match dialect {
                Dialect::Anthropic => format!("anthropic-ratelimit-{what}-{part}"),
                _ => format!("x-ratelimit-{part}-{what}"),
            };
            let name = HeaderName::try_from(name);
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
                headers.insert(name, value);
            }
        }
    }
}

/// `6m0s` or `120ms` for OpenAI, a time of day for Anthropic.
fn reset(dialect: Dialect, reset_ms: u64) -> String {
    if dialect == Dialect::Anthropic {
        let wait = SignedDuration::from_millis(reset_ms.cast_signed());
        let at = Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX);
        return at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    }
    let (minutes, seconds) = (reset_ms / 60_000, reset_ms % 60_000 / 1_000);
    match reset_ms {
        0..1_000 => format!("{reset_ms}ms"),
        1_000..60_000 => format!("{seconds}s"),
        _ => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_each_dialects_headers() {
        let left = Left { limit: 60, remaining: 59, reset_ms: 61_500 };
        let limits = RateLimits { requests: Some(left), tokens: None };
        let mut headers = HeaderMap::new();
        tell(&mut headers, Dialect::OpenAi, limits);
        let header = |headers: &HeaderMap, name| headers[name].to_str().unwrap().to_owned();
        assert_eq!(header(&headers, "x-ratelimit-limit-requests"), "60");
        assert_eq!(header(&headers, "x-ratelimit-remaining-requests"), "59");
        assert_eq!(header(&headers, "x-ratelimit-reset-requests"), "1m1s");
        assert_eq!(headers.len(), 3);
        let mut headers = HeaderMap::new();
        tell(&mut headers, Dialect::Anthropic, limits);
        assert_eq!(header(&headers, "anthropic-ratelimit-requests-remaining"), "59");
        assert!(header(&headers, "anthropic-ratelimit-requests-reset").ends_with('Z'));
    }
}
