//! What comes with a call besides what it asks for, and what is to be told beside its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The header that names the Hearths which a call has come through.
pub const PATH_HEADER: &str = "x-hearth-path";
/// Most Hearths that a call may come through.
pub const MAX_HEARTHS: usize = 8;
/// Longest name of a Hearth, in bytes.
const MAX_NAME_BYTES: usize = 32;

/// What comes with a call, in its headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallNotes {
    /// The Hearths that it has come through; see [`CallNotes::parse_path`].
    pub path: Vec<String>,
    pub cache: CacheWish,
    pub mark: CacheMark,
}

/// What the client wants of answers that are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheWish {
    /// As the rules say.
    #[default]
    AsRule,
    /// Also an answer that would be drawn anew each time, where a rule keeps any.
    Use,
    /// A new one, which is not kept.
    Skip,
}

/// Whether the answer was a kept one: written while the call is answered, told in its head.
#[derive(Clone, Debug, Default)]
pub struct CacheMark(Arc<AtomicU8>);

impl CacheMark {
    /// Notes that answers to such calls are kept, and whether this is one.
    pub(crate) fn set(&self, is_hit: bool) {
        self.0.store(if is_hit { 2 } else { 1 }, Ordering::Relaxed);
    }

    /// Whether it is a kept one; `None` if no rule keeps such answers.
    pub fn is_hit(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            mark => Some(mark == 2),
        }
    }
}

impl PartialEq for CacheMark {
    fn eq(&self, other: &CacheMark) -> bool {
        self.is_hit() == other.is_hit()
    }
}

impl CallNotes {
    /// The names in a header; what cannot be names is left out, and of too many the last are kept:
    /// they are too many all the same.
    pub fn parse_path(text: &str) -> Vec<String> {
        let is_name = |name: &&str| {
            (1..=MAX_NAME_BYTES).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let names: Vec<&str> = text.split(',').map(str::trim).filter(is_name).collect();
        let start = names.len().saturating_sub(MAX_HEARTHS);
        names[start..].iter().map(|name| (*name).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_names_and_no_more_than_are_allowed() {
        assert_eq!(CallNotes::parse_path("a1, b2"), ["a1", "b2"]);
        assert!(CallNotes::parse_path("").is_empty());
        assert_eq!(CallNotes::parse_path("a\r\nx: y,b,é"), ["b"]);
        let many = (0..100).map(|it| it.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(CallNotes::parse_path(&many).len(), MAX_HEARTHS);
    }
}
