//! Keys and values of all sequences of a model, in pages.
//!
//! A [`KvCache`] stores what a step's rows bring and lets them attend to what their sequences have.
//! Which page belongs to whom is decided in `pages.rs` and written in the [`Batch`].

mod device;
mod host;

use candle_core::{Result, Tensor};
use hearth_formats::ModelShape;
use hearth_kernels::AttentionShape;

use crate::batch::Batch;

pub(crate) use device::DeviceKv;
pub(crate) use host::HostKv;

/// What the rows of a step bring to a layer's attention; each `[rows, heads · head_dim]`, turned.
pub(crate) struct Projected {
    pub(crate) query: Tensor,
    pub(crate) key: Tensor,
    pub(crate) value: Tensor,
}

/// The memory of a model's attention layers.
pub(crate) trait KvCache: Send {
    /// Stores the rows' keys and values in one layer, then gives each row its attention over all
    /// tokens of its sequence up to itself: `[rows, query_heads · head_dim]`.
    fn attend(&mut self, layer: usize, rows: &Projected, batch: &Batch) -> Result<Tensor>;
}

/// Layers, pages and heads of a cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KvShape {
    pub(crate) layers: usize,
    pub(crate) pages: usize,
    pub(crate) page_tokens: usize,
    pub(crate) heads: AttentionShape,
}

impl KvShape {
    pub(crate) fn new(shape: &ModelShape, pages: usize, page_tokens: usize) -> KvShape {
        let heads = AttentionShape {
            query_heads: shape.heads,
            kv_heads: shape.kv_heads,
            head_dim: shape.head_dim,
        };
        KvShape { layers: shape.layers, pages, page_tokens, heads }
    }

    /// Values of one token in one layer's keys (or values).
    fn token_len(&self) -> usize {
        self.heads.kv_heads * self.heads.head_dim
    }
}

/// Bytes of one token's keys and values in all layers, f32.
pub(crate) fn token_bytes(shape: &ModelShape) -> u64 {
    2 * shape.layers as u64 * shape.kv_dim() as u64 * 4
}

#[cfg(test)]
mod tests;
