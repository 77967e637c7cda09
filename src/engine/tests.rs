//! Whole models, on real weights: what a caller of this crate relies on.

mod answers;
mod batching;
mod caches;
mod failures;
mod footprint;
mod grammars;
mod kinds;
mod queueing;
mod reuse;
pub(crate) mod support;
