//! llama, mistral, qwen2 and qwen3: the plain layer. qwen2 has biases, qwen3 norms of heads;
//! mistral's window is in its shape.

use hearth_formats::LayerPart as P;

use super::Parts;
use crate::block::{Attention, Block, Dense, FeedForward};
use crate::error::Result;
use crate::tensors::Gate;

pub(super) fn block(parts: &Parts) -> Result<Block> {
    Ok(Block {
        attention_norm: parts.norm(P::AttentionNorm)?,
        attention: attention(parts)?,
        after_attention: None,
        ffn_norm: parts.norm(P::FfnNorm)?,
        ffn: FeedForward::Dense(dense(parts, Gate::Silu)?),
        after_ffn: None,
    })
}

/// As most families have it.
pub(super) fn attention(parts: &Parts) -> Result<Attention> {
    Ok(Attention {
        query: parts.biased(P::Query, P::QueryBias)?,
        key: parts.biased(P::Key, P::KeyBias)?,
        value: parts.biased(P::Value, P::ValueBias)?,
        head_norms: parts.head_norms()?,
        output: parts.linear(P::AttentionOutput)?,
    })
}

/// As most families have it.
pub(super) fn dense(parts: &Parts, function: Gate) -> Result<Dense> {
    Ok(Dense {
        gate: parts.linear(P::FfnGate)?,
        up: parts.linear(P::FfnUp)?,
        down: parts.linear(P::FfnDown)?,
        function,
    })
}
