//! qwen3moe: qwen3 whose feed-forward part is a choice of experts.

use hearth_formats::{ExpertPart, LayerPart as P, TensorRole};

use super::{Parts, llama};
use crate::block::{Block, Dense, FeedForward};
use crate::error::{Error, Result};
use crate::experts::Experts;
use crate::layers::Linear;
use crate::tensors::Gate;

pub(super) fn block(parts: &Parts) -> Result<Block> {
    Ok(Block {
        attention_norm: parts.norm(P::AttentionNorm)?,
        attention: llama::attention(parts)?,
        after_attention: None,
        ffn_norm: parts.norm(P::FfnNorm)?,
        ffn: FeedForward::Experts(experts(parts)?),
        after_ffn: None,
    })
}

fn experts(parts: &Parts) -> Result<Experts> {
    let Some(shape) = parts.model.shape.decoder.experts else {
        return Err(Error::LoadFailed("the checked file says nothing of experts".into()));
    };
    let layer = parts.layer;
    let matrices = |part| {
        let role = |expert| TensorRole::Expert { layer, expert, part };
        let roles: Vec<TensorRole> = (0..shape.count).map(role).collect();
        parts.reader.matrices(&roles)
    };
    let (gates, ups) = (matrices(ExpertPart::Gate)?, matrices(ExpertPart::Up)?);
    let experts = gates.into_iter().zip(ups).zip(matrices(ExpertPart::Down)?);
    let expert = |((gate, up), down)| Dense {
        gate: Linear::new(gate, None),
        up: Linear::new(up, None),
        down: Linear::new(down, None),
        function: Gate::Silu,
    };
    Ok(Experts {
        router: parts.linear(P::Router)?,
        experts: experts.map(expert).collect(),
        used: shape.used,
        is_normalized: shape.is_normalized,
    })
}
