//! Keys and values of all sequences of a model, in pages.
//!
//! A [`KvCache`] stores what a step's rows bring and lets them attend to what their sequences have.
//! Which page belongs to whom is decided in `pages.rs` and written in the [`Batch`].

mod device;
mod host;

use candle_core::{Result, Tensor};
use hearth_formats::{ModelFile, TensorKind};
use hearth_kernels::{AttentionShape, KvNumber};

use crate::batch::Batch;
use crate::config::{EngineConfig, KvType};
use crate::fit::Dimensions;

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
#[derive(Clone, Debug)]
pub(crate) struct KvShape {
    pub(crate) layers: usize,
    pub(crate) pages: usize,
    pub(crate) page_tokens: usize,
    /// Of layers that look back over all tokens.
    pub(crate) heads: AttentionShape,
    /// Tokens that a row of each layer sees, itself included; 0, or none named, is all.
    pub(crate) windows: Vec<usize>,
    /// How the host's cache keeps its numbers; other devices have f32.
    pub(crate) number: KvNumber,
}

impl KvShape {
    pub(crate) fn new(model: &ModelFile, pages: usize, page_tokens: usize) -> KvShape {
        let shape = &model.shape;
        let heads = AttentionShape {
            query_heads: shape.heads,
            kv_heads: shape.kv_heads,
            head_dim: shape.head_dim,
            scale: shape.decoder.attention_scale,
            softcap: shape.decoder.attention_softcap.unwrap_or(0.0),
            window: 0,
        };
        let windows =
            (0..shape.layers).map(|layer| shape.window_tokens(layer).unwrap_or(0)).collect();
        let number = own_number(model);
        KvShape { layers: shape.layers, pages, page_tokens, heads, windows, number }
    }

    /// The heads of one layer.
    fn heads_of(&self, layer: usize) -> AttentionShape {
        AttentionShape { window: self.windows.get(layer).copied().unwrap_or(0), ..self.heads }
    }
}

/// How a model's cache in host memory keeps its numbers.
pub(crate) fn number(model: &ModelFile, kv_type: KvType) -> KvNumber {
    match kv_type {
        KvType::Auto => own_number(model),
        KvType::F32 => KvNumber::F32,
        KvType::F16 => KvNumber::F16,
        KvType::Q8_0 => KvNumber::Q8,
    }
}

/// A model whose weights are whole floats is meant to be exact, so its cache is too; to any other,
/// half floats cost nothing that its weights have not lost already.
fn own_number(model: &ModelFile) -> KvNumber {
    let is_exact = |kind: TensorKind| kind == TensorKind::F32;
    let tensors = || model.tensors.values();
    let exact: u64 = tensors().filter(|t| is_exact(t.kind)).map(|t| t.elements()).sum();
    let all: u64 = tensors().map(|tensor| tensor.elements()).sum();
    if exact > all / 2 { KvNumber::F32 } else { KvNumber::F16 }
}

/// Bytes of one token's keys and values in all layers: in host memory, on other devices.
pub(crate) fn token_bytes(model: &ModelFile, config: &EngineConfig) -> (u64, u64) {
    token_bytes_of(&Dimensions::of(&model.shape), number(model, config.kv_type), config)
}

/// The same where the cache in host memory keeps this kind of number.
pub(crate) fn token_bytes_of(
    shape: &Dimensions,
    number: KvNumber,
    config: &EngineConfig,
) -> (u64, u64) {
    let Dimensions { layers, kv_heads, head_dim, .. } = *shape;
    // Of a whole page, which is filled up to whole registers.
    let page = (layers * number.page_bytes(config.page_tokens, (kv_heads, head_dim))) as u64;
    let on_device = (2 * layers * kv_heads * head_dim * 4) as u64;
    (page.div_ceil(config.page_tokens as u64), on_device)
}

#[cfg(test)]
mod tests;
