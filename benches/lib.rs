//! What the benchmarks share: the engine and its peers, each behind the same few measurements.

pub mod candle;
pub mod hearth;
pub mod llamacpp;
pub mod rounds;
