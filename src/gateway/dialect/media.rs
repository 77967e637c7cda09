//! Reads pictures and files, which every dialect writes in its own way, into one form. Nothing is
//! fetched here.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::request::MediaSource;

/// Longest URL, in bytes.
const MAX_URL_BYTES: usize = 8 << 10;
/// Longest name of a kind of media, in bytes.
const MAX_MIME_BYTES: usize = 100;

/// A `data:` URL, or one with `http` or `https`.
pub(super) fn of_url(path: &str, url: &str) -> Result<MediaSource> {
    if let Some(rest) = url.strip_prefix("data:") {
        let Some((kind, data)) = rest.split_once(',') else { return Err(bad_url(path)) };
        let Some(mime) = kind.strip_suffix(";base64") else { return Err(bad_url(path)) };
        // What stands behind the kind, such as `;charset=utf-8`, says nothing of a picture.
        let mime = mime.split(';').next().unwrap_or_default();
        return of_base64(path, mime, data);
    }
    let is_web = ["http://", "https://"].iter().any(|scheme| {
        url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    match is_web && url.len() <= MAX_URL_BYTES && !url.bytes().any(|byte| byte <= b' ') {
        true => Ok(MediaSource::Url(url.to_owned())),
        false => Err(bad_url(path)),
    }
}

/// Bytes in base64, of this kind.
pub(super) fn of_base64(path: &str, mime: &str, data: &str) -> Result<MediaSource> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/+-._".contains(&byte);
    let is_kind = mime.contains('/') && mime.len() <= MAX_MIME_BYTES && mime.bytes().all(allowed);
    if !is_kind {
        let message = format!("{path}: the kind of the data must be a name such as image/png.");
        return Err(Error::invalid(path, message));
    }
    if data.is_empty() || !is_base64(data) {
        return Err(Error::invalid(path, format!("{path}: the data must be base64.")));
    }
    Ok(MediaSource::Bytes { mime: mime.to_ascii_lowercase(), base64: data.to_owned() })
}

/// The kind of a picture by its first bytes, for dialects that do not tell it.
pub(super) fn kind_of(base64: &str) -> &'static str {
    // 16 letters are 12 bytes, as many as the longest mark needs.
    let start = base64.get(..16).and_then(|start| STANDARD.decode(start).ok()).unwrap_or_default();
    match start.as_slice() {
        [0xff, 0xd8, ..] => "image/jpeg",
        [b'G', b'I', b'F', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => "image/webp",
        [b'%', b'P', b'D', b'F', ..] => "application/pdf",
        _ => "image/png",
    }
}

/// A text that must be there.
pub(super) fn text<'a>(path: &str, value: &'a Value, name: &str) -> Result<&'a str> {
    value[name].as_str().ok_or_else(|| {
        let path = format!("{path}.{name}");
        Error::invalid(&path, format!("{path} must be a string."))
    })
}

/// Decodes without keeping: what is no base64 must not reach a provider, whose error would blame
/// the wrong one.
fn is_base64(data: &str) -> bool {
    // A piece of 4 letters is decoded alone, so that no second copy is made.
    let mut piece = [0u8; 3 << 10];
    let whole = data.len().saturating_sub(1) / 4 * 4;
    let (head, tail) = data.as_bytes().split_at(whole);
    let is_head = head.chunks(4 << 10).all(|letters| {
        !letters.contains(&b'=') && STANDARD.decode_slice(letters, &mut piece).is_ok()
    });
    let is_tail = STANDARD.decode_slice(tail, &mut piece).is_ok()
        || STANDARD_NO_PAD.decode_slice(tail, &mut piece).is_ok();
    is_head && is_tail
}

fn bad_url(path: &str) -> Error {
    let message = format!(
        "{path}: must be a URL that begins with https:// or http://, or a data: URL with base64."
    );
    Error::invalid(path, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_and_base64_are_taken() {
        let data = "data:image/PNG;charset=x;base64,aGVsbG8=";
        let wanted = MediaSource::Bytes { mime: "image/png".into(), base64: "aGVsbG8=".into() };
        assert_eq!(of_url("p", data).unwrap(), wanted);
        assert!(matches!(of_url("p", "HTTPS://a/b.png"), Ok(MediaSource::Url(_))));
        for bad in [
            "file:///etc/passwd",
            "x",
            "ftp://a/b",
            "data:image/png,abc",
            "data:;base64,aGk=",
            "data:image/png;base64,a!b=",
            "data:image/png;base64,",
            "https://a/b c",
            "https://a/\r\nx: y",
        ] {
            assert!(of_url("p", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn base64_of_any_length_is_checked_to_its_end() {
        for bytes in [1, 2, 3, 4, 3071, 3072, 3073, 100_000] {
            let encoded = STANDARD.encode(vec![7u8; bytes]);
            assert!(is_base64(&encoded) && is_base64(encoded.trim_end_matches('=')), "{bytes}");
            assert!(!is_base64(&format!("{encoded}!")), "{bytes}");
            assert!(!is_base64(&format!("=aaa{encoded}")), "{bytes}");
        }
    }
}
