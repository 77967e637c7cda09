//! Runs models: tokens in, tokens out.
//!
//! It knows no HTTP, no SQL, no users and no money. A [`Pool`] loads models; a [`Model`] is a
//! handle to the thread that owns one model's weights, pages and sequences; each step of that
//! thread is schedule → run → postprocess (`worker.rs`). Who decides is pure (`scheduler.rs`,
//! `pages.rs`, `prefix.rs`, `placement.rs`); who computes decides nothing (`decoder.rs`, `kv.rs`).

mod batch;
mod block;
mod config;
mod decoder;
mod draft;
mod embedder;
mod encoder;
mod error;
mod event;
mod experts;
mod families;
mod fit;
mod handle;
mod kv;
mod layers;
mod limits;
mod loader;
mod lookup;
mod machine;
pub mod measure;
mod pages;
mod placement;
mod pool;
mod prefix;
mod process;
mod quantize;
mod queue;
mod request;
mod rope;
mod sampler;
mod scheduler;
mod sequence;
mod tensors;
mod weights;
mod worker;

#[cfg(test)]
mod tests;

pub use config::{DevicePreference, EngineConfig, KvType, Speculation};
pub use embedder::{Embedding, Vectors};
pub use encoder::EncoderText;
pub use error::{Error, Result};
pub use event::{Event, FinishReason, Finished, TokenLogprob};
pub use fit::{Dimensions, Fit, Outline, Verdict};
pub use handle::{Model, ModelInfo, ModelStats, Sequence};
pub use limits::{MachineLimits, TokenCost};
pub use machine::{Facts, Gpu, Machine};
pub use placement::DeviceChoice;
pub use pool::{Keep, ModelActivity, ModelState, Pool, Source};
pub use process::{process_memory_bytes, process_peak_bytes};
pub use quantize::{Mix, convert_rows, mixed_kinds};
pub use queue::QueuePlace;
pub use request::{CallerKey, LaneKey, Priority, Sampling, SequenceRequest};
