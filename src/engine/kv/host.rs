//! The cache in host memory, attended to by our kernels.

use candle_core::{Result, Tensor};
use hearth_kernels::{self as kernels, AttentionSpan, KvPages};

use super::{KvCache, KvShape, Projected};
use crate::batch::Batch;
use crate::tensors::{team, with_values};

/// One cache of pages per layer; a page has the same number in all of them.
pub(crate) struct HostKv {
    shape: KvShape,
    layers: Vec<KvPages>,
}

impl HostKv {
    pub(crate) fn new(shape: KvShape) -> std::io::Result<HostKv> {
        let KvShape { pages, page_tokens, heads, number, .. } = shape;
        let sizes = (heads.kv_heads, heads.head_dim);
        let layers = (0..shape.layers)
            .map(|_| KvPages::new(number, (pages, page_tokens), sizes))
            .collect::<std::io::Result<_>>()?;
        Ok(HostKv { shape, layers })
    }

    /// Bytes of all pages of all layers.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.layers.iter().map(KvPages::bytes).sum()
    }

    fn store(&mut self, layer: usize, batch: &Batch, keys: &[f32], values: &[f32]) {
        let rows =
            batch.spans.iter().flat_map(|span| span.rows.clone().map(move |row| (span, row)));
        let slots: Vec<(usize, usize)> = rows
            .enumerate()
            .map(|(index, (span, row))| {
                debug_assert_eq!(index, row, "spans follow each other");
                batch.slot(span, row)
            })
            .collect();
        self.layers[layer].store_all(team(), &slots, keys, values);
    }

    fn attention(&self, layer: usize, batch: &Batch, queries: &[f32]) -> Vec<f32> {
        let spans: Vec<AttentionSpan<'_>> = batch
            .spans
            .iter()
            .map(|span| AttentionSpan {
                rows: span.rows.clone(),
                first_visible: batch.visible(span.rows.start),
                pages: &span.pages,
            })
            .collect();
        let mut out = vec![0.0; queries.len()];
        let heads = self.shape.heads_of(layer);
        kernels::attend(team(), &self.layers[layer], &spans, (queries, &mut out), heads);
        out
    }
}

impl KvCache for HostKv {
    fn attend(&mut self, layer: usize, rows: &Projected, batch: &Batch) -> Result<Tensor> {
        with_values(&rows.key, |keys| {
            with_values(&rows.value, |values| self.store(layer, batch, keys, values))
        })??;
        let out = with_values(&rows.query, |queries| self.attention(layer, batch, queries))?;
        Tensor::from_vec(out, rows.query.dims(), rows.query.device())
    }
}
