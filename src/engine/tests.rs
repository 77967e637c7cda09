//! Whole models, on real weights: what a caller of this crate relies on.

mod answers;
mod batching;
mod caches;
mod failures;
mod fit;
mod footprint;
mod grammars;
mod kinds;
mod parity;
mod queueing;
mod reuse;
mod speculation;
pub(crate) mod support;
