//! The cache in host memory, attended to by our kernels.

use candle_core::{Result, Tensor};
use hearth_kernels::{self as kernels, PagedKv};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};

use super::{KvCache, KvShape, Projected};
use crate::batch::{Batch, Span};
use crate::tensors::with_values;

/// Multiplications below which a second thread costs more than it brings (about 20 µs of work).
const PARALLEL_PRODUCTS: usize = 1 << 19;

/// Per layer: `[page, kv_head, token in page, head_dim]`.
pub(crate) struct HostKv {
    shape: KvShape,
    layers: Vec<Layer>,
}

struct Layer {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl HostKv {
    pub(crate) fn new(shape: KvShape) -> HostKv {
        let len = shape.pages * shape.page_tokens * shape.token_len();
        // Zeroed memory costs nothing until it is written: unused pages stay the system's.
        let layer = |_| Layer { keys: vec![0.0; len], values: vec![0.0; len] };
        HostKv { shape, layers: (0..shape.layers).map(layer).collect() }
    }

    fn store(&mut self, layer: usize, batch: &Batch, keys: &[f32], values: &[f32]) {
        let KvShape { page_tokens, heads, .. } = self.shape;
        let dim = heads.head_dim;
        let width = self.shape.token_len();
        let layer = &mut self.layers[layer];
        for span in &batch.spans {
            for row in span.rows.clone() {
                let (page, place) = batch.slot(span, row);
                for head in 0..heads.kv_heads {
                    let to = ((page * heads.kv_heads + head) * page_tokens + place) * dim;
                    let from = row * width + head * dim;
                    layer.keys[to..to + dim].copy_from_slice(&keys[from..from + dim]);
                    layer.values[to..to + dim].copy_from_slice(&values[from..from + dim]);
                }
            }
        }
    }

    fn attention(&self, layer: usize, batch: &Batch, queries: &[f32]) -> Vec<f32> {
        let layer = &self.layers[layer];
        let row_len = self.shape.heads.query_heads * self.shape.heads.head_dim;
        let mut out = vec![0.0; queries.len()];
        let spans: Vec<&Span> = batch
            .spans
            .iter()
            .flat_map(|span| std::iter::repeat_n(span, span.rows.len()))
            .collect();
        let one_row = |(row, out): (usize, &mut [f32])| {
            let kv = PagedKv {
                keys: &layer.keys,
                values: &layer.values,
                pages: &spans[row].pages,
                page_tokens: batch.page_tokens,
            };
            let query = &queries[row * row_len..(row + 1) * row_len];
            kernels::attend(query, &kv, batch.visible(row), self.shape.heads, out);
        };
        let visible: usize = (0..batch.rows()).map(|row| batch.visible(row)).sum();
        if batch.rows() > 1 && 2 * visible * row_len >= PARALLEL_PRODUCTS {
            out.par_chunks_mut(row_len).enumerate().for_each(one_row);
        } else {
            out.chunks_mut(row_len).enumerate().for_each(one_row);
        }
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
