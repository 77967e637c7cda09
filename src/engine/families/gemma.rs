//! gemma2 and gemma3: norms before and behind each half, a GELU gate; gemma3 has norms of heads.
//! Windows, caps and the scale of attention are in their shapes.

use hearth_formats::LayerPart as P;

use super::{Parts, llama};
use crate::block::{Block, FeedForward};
use crate::error::Result;
use crate::tensors::Gate;

pub(super) fn block(parts: &Parts) -> Result<Block> {
    Ok(Block {
        attention_norm: parts.norm(P::AttentionNorm)?,
        attention: llama::attention(parts)?,
        after_attention: Some(parts.norm(P::AfterAttentionNorm)?),
        ffn_norm: parts.norm(P::BeforeFfnNorm)?,
        ffn: FeedForward::Dense(llama::dense(parts, Gate::Gelu)?),
        after_ffn: Some(parts.norm(P::AfterFfnNorm)?),
    })
}
