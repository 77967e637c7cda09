//! phi3: llama whose matrices lie one after the other in larger ones, which are taken apart as
//! they are read. That only a part of each head is turned is in its shape.

use hearth_formats::LayerPart as P;

use super::Parts;
use crate::block::{Attention, Block, Dense, FeedForward};
use crate::error::Result;
use crate::tensors::Gate;

pub(super) fn block(parts: &Parts) -> Result<Block> {
    let shape = &parts.model.shape;
    let (query, kv, ffn) = (shape.query_dim(), shape.kv_dim(), shape.ffn_dim);
    Ok(Block {
        attention_norm: parts.norm(P::AttentionNorm)?,
        attention: Attention {
            query: parts.rows(P::QueryKeyValue, 0..query)?,
            key: parts.rows(P::QueryKeyValue, query..query + kv)?,
            value: parts.rows(P::QueryKeyValue, query + kv..query + 2 * kv)?,
            head_norms: None,
            output: parts.linear(P::AttentionOutput)?,
        },
        after_attention: None,
        ffn_norm: parts.norm(P::FfnNorm)?,
        ffn: FeedForward::Dense(Dense {
            gate: parts.rows(P::FfnGateUp, 0..ffn)?,
            up: parts.rows(P::FfnGateUp, ffn..2 * ffn)?,
            down: parts.linear(P::FfnDown)?,
            function: Gate::Silu,
        }),
        after_ffn: None,
    })
}
