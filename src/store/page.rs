//! Bounds on lists.

/// Most rows that one question returns.
pub const MAX_PAGE: u32 = 500;

/// The number of rows to ask for: what the caller wants, within 1 ..= [`MAX_PAGE`].
pub(crate) fn rows(limit: u32) -> i64 {
    i64::from(limit.clamp(1, MAX_PAGE))
}
