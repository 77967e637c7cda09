//! Reads `keep_alive`: a number of seconds, or a duration as Go writes it (`5m`, `1h30m`, `-1m`).

use std::time::Duration;

use serde_json::Value;

use super::KeepAlive;
use crate::error::{Error, Result};

/// Longest time that is counted; more is for ever. Some 292 years, which is what Go's type holds.
const MOST_SECONDS: f64 = 9_223_372_036.0;
/// Longest text of a duration, in bytes.
const MAX_TEXT_BYTES: usize = 64;

const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// A negative time is for ever.
pub(super) fn parse_keep_alive(value: &Value) -> Result<KeepAlive> {
    let seconds = match value {
        Value::Number(number) => number.as_f64().unwrap_or(f64::MAX),
        Value::String(text) if text.len() <= MAX_TEXT_BYTES => go_seconds(text)
            .map_err(|problem| Error::invalid("keep_alive", format!("time: {problem}")))?,
        _ => {
            let message = "keep_alive must be a number of seconds or a duration such as \"5m\"";
            return Err(Error::invalid("keep_alive", message));
        }
    };
    if !(0.0..MOST_SECONDS).contains(&seconds) {
        return Ok(KeepAlive::Forever);
    }
    Ok(KeepAlive::For(Duration::from_secs_f64(seconds)))
}

/// The seconds of a text such as `1h30m`; the errors are Go's.
fn go_seconds(text: &str) -> std::result::Result<f64, String> {
    let invalid = || format!("invalid duration {text:?}");
    let (sign, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest == "0" {
        return Ok(0.0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = &rest[..end];
        if unit.is_empty() {
            return Err(format!("missing unit in duration {text:?}"));
        }
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let Some((_, factor)) = known else {
            return Err(format!("unknown unit {unit:?} in duration {text:?}"));
        };
        seconds += number * factor;
        rest = &rest[end..];
    }
    Ok(sign * seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_as_go_reads_them() {
        let time = |seconds: f64| KeepAlive::For(Duration::from_secs_f64(seconds));
        for (value, wanted) in [
            (json!(300), time(300.0)),
            (json!(0.5), time(0.5)),
            (json!(0), time(0.0)),
            (json!(-1), KeepAlive::Forever),
            (json!(1e300), KeepAlive::Forever),
            (json!("5m"), time(300.0)),
            (json!("1h30m"), time(5400.0)),
            (json!("300ms"), time(0.3)),
            (json!("1.5s"), time(1.5)),
            (json!("0"), time(0.0)),
            (json!("-1m"), KeepAlive::Forever),
        ] {
            assert_eq!(parse_keep_alive(&value).unwrap(), wanted, "{value}");
        }
        for (value, wanted) in [
            (json!("10"), "time: missing unit in duration \"10\""),
            (json!("-1"), "time: missing unit in duration \"-1\""),
            (json!("5x"), "time: unknown unit \"x\" in duration \"5x\""),
            (json!(""), "time: invalid duration \"\""),
            (json!("m"), "time: invalid duration \"m\""),
            (json!("1.2.3s"), "time: invalid duration \"1.2.3s\""),
        ] {
            assert_eq!(parse_keep_alive(&value).unwrap_err().to_string(), wanted, "{value}");
        }
        assert!(parse_keep_alive(&json!(true)).is_err());
    }
}
