//! Whole models, on real weights: what a caller of this crate relies on.

mod answers;
mod batching;
mod failures;
mod grammars;
mod kinds;
pub(crate) mod support;
