//! What comes with a call in its headers besides its body, and what its answer's head tells.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hearth_gateway::call::{CacheMark, CacheWish, CallNotes, PATH_HEADER};

/// `use` wants a kept answer where a rule keeps any, `skip` a new one; in an answer `hit` or `miss`.
const CACHE_HEADER: HeaderName = HeaderName::from_static("x-hearth-cache");

/// The notes in a call's headers; what cannot be read says nothing.
pub(crate) fn of(headers: &HeaderMap) -> CallNotes {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let cache = match text(CACHE_HEADER.as_str()) {
        Some("use") => CacheWish::Use,
        Some("skip") => CacheWish::Skip,
        _ => CacheWish::AsRule,
    };
    let path = text(PATH_HEADER).map(CallNotes::parse_path).unwrap_or_default();
    CallNotes { path, cache, mark: CacheMark::default() }
}

/// Says whether the answer was a kept one.
pub(crate) fn tell(headers: &mut HeaderMap, mark: &CacheMark) {
    if let Some(is_hit) = mark.is_hit() {
        let value = HeaderValue::from_static(if is_hit { "hit" } else { "miss" });
        headers.insert(CACHE_HEADER, value);
    }
}
