//! The cache on a GPU, attended to with candle's own operations, sequence by sequence.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};
use hearth_kernels::AttentionShape;

use super::{KvCache, KvShape, Projected};
use crate::batch::{Batch, Span};

/// Per layer: `[slot, kv_head, head_dim]`; a slot is a page's number times its size plus a place.
pub(crate) struct DeviceKv {
    shape: KvShape,
    layers: Vec<Layer>,
}

struct Layer {
    keys: Tensor,
    values: Tensor,
}

impl DeviceKv {
    pub(crate) fn new(shape: KvShape, device: &Device) -> Result<DeviceKv> {
        let slots = shape.pages * shape.page_tokens;
        let dims = (slots, shape.heads.kv_heads, shape.heads.head_dim);
        let layers = (0..shape.layers)
            .map(|_| {
                let keys = Tensor::zeros(dims, DType::F32, device)?;
                Ok(Layer { keys, values: Tensor::zeros(dims, DType::F32, device)? })
            })
            .collect::<Result<_>>()?;
        Ok(DeviceKv { shape, layers })
    }

    /// Copies a span's rows in, page by page: slots within a page lie together.
    fn store(
        &self,
        layer: usize,
        batch: &Batch,
        span: &Span,
        new: (&Tensor, &Tensor),
    ) -> Result<()> {
        let Layer { keys, values } = &self.layers[layer];
        let mut row = span.rows.start;
        while row < span.rows.end {
            let (page, place) = batch.slot(span, row);
            let count = (batch.page_tokens - place).min(span.rows.end - row);
            let slot = page * batch.page_tokens + place;
            keys.slice_set(&new.0.narrow(0, row, count)?.contiguous()?, 0, slot)?;
            values.slice_set(&new.1.narrow(0, row, count)?.contiguous()?, 0, slot)?;
            row += count;
        }
        Ok(())
    }

    /// Attention of one span. `query`: [rows, query_heads, head_dim].
    fn span(&self, layer: usize, batch: &Batch, span: &Span, query: &Tensor) -> Result<Tensor> {
        let heads = self.shape.heads_of(layer);
        let (group, rows) = (heads.query_heads / heads.kv_heads, span.rows.len());
        let seen = seen(batch, span.rows.start, heads.window).start
            ..seen(batch, span.rows.end - 1, heads.window).end;
        let device = query.device();
        let slots: Vec<u32> = seen
            .clone()
            .map(|token| {
                let (page, place) = (token / batch.page_tokens, token % batch.page_tokens);
                span.pages[page] * batch.page_tokens as u32 + place as u32
            })
            .collect();
        let slots = Tensor::from_vec(slots, seen.len(), device)?;
        let Layer { keys, values } = &self.layers[layer];
        // [kv_heads, seen, head_dim]
        let keys = keys.index_select(&slots, 0)?.transpose(0, 1)?.contiguous()?;
        let values = values.index_select(&slots, 0)?.transpose(0, 1)?.contiguous()?;
        // Heads that share keys become rows of one product: [kv_heads, group · rows, head_dim]
        let query = query
            .narrow(0, span.rows.start, rows)?
            .transpose(0, 1)?
            .contiguous()?
            .reshape((heads.kv_heads, group * rows, heads.head_dim))?;
        let mut scores = (query.matmul(&keys.transpose(1, 2)?)? * f64::from(heads.scale))?;
        if heads.softcap > 0.0 {
            let cap = f64::from(heads.softcap);
            scores = ((scores / cap)?.tanh()? * cap)?;
        }
        if rows > 1 {
            let mask = mask(batch, span, &seen, heads)?.to_device(device)?;
            scores = scores.broadcast_add(&mask)?;
        }
        candle_nn::ops::softmax_last_dim(&scores)?
            .matmul(&values)?
            .reshape((heads.query_heads, rows, heads.head_dim))?
            .transpose(0, 1)?
            .contiguous()?
            .reshape((rows, heads.query_heads * heads.head_dim))
    }
}

/// The tokens that a row sees; a window of 0 is all.
fn seen(batch: &Batch, row: usize, window: usize) -> Range<usize> {
    let end = batch.visible(row);
    (if window == 0 { 0 } else { end.saturating_sub(window) })..end
}

/// 0 where a row may look, −∞ elsewhere: [1, group · rows, seen].
fn mask(batch: &Batch, span: &Span, all: &Range<usize>, heads: AttentionShape) -> Result<Tensor> {
    let one = span.rows.clone().flat_map(|row| {
        let own = seen(batch, row, heads.window);
        all.clone().map(move |token| if own.contains(&token) { 0.0 } else { f32::NEG_INFINITY })
    });
    let one: Vec<f32> = one.collect();
    let group = heads.query_heads / heads.kv_heads;
    Tensor::from_vec(one.repeat(group), (1, group * span.rows.len(), all.len()), &Device::Cpu)
}

impl KvCache for DeviceKv {
    fn attend(&mut self, layer: usize, rows: &Projected, batch: &Batch) -> Result<Tensor> {
        let heads = self.shape.heads;
        let kv_dims = (batch.rows(), heads.kv_heads, heads.head_dim);
        let keys = rows.key.reshape(kv_dims)?;
        let values = rows.value.reshape(kv_dims)?;
        let query = rows.query.reshape((batch.rows(), heads.query_heads, heads.head_dim))?;
        let mut spans = Vec::with_capacity(batch.spans.len());
        for span in &batch.spans {
            self.store(layer, batch, span, (&keys, &values))?;
            spans.push(self.span(layer, batch, span, &query)?);
        }
        Tensor::cat(&spans, 0)
    }
}
