//! One layer of a decoder: attention, then a feed-forward part, each added to the rows.
//!
//! Families fill it differently (`families.rs`): norms of heads, norms behind each half, experts.

use candle_core::Tensor;

use crate::error::Result;
use crate::experts::Experts;
use crate::kv::Projected;
use crate::layers::{Linear, RmsNorm, forward_all};
use crate::rope::Angles;
use crate::tensors::{self, Gate};

/// A layer.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) attention_norm: RmsNorm,
    pub(crate) attention: Attention,
    /// Of what attention found, before it is added; gemma.
    pub(crate) after_attention: Option<RmsNorm>,
    pub(crate) ffn_norm: RmsNorm,
    pub(crate) ffn: FeedForward,
    /// As above, of what the feed-forward part found.
    pub(crate) after_ffn: Option<RmsNorm>,
}

/// The matrices around attention; attention itself is the KV cache's.
#[derive(Debug)]
pub(crate) struct Attention {
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    /// Of queries and of keys, head by head; qwen3 and gemma3.
    pub(crate) head_norms: Option<(RmsNorm, RmsNorm)>,
    pub(crate) output: Linear,
}

/// What follows attention in a layer.
#[derive(Debug)]
pub(crate) enum FeedForward {
    Dense(Dense),
    Experts(Experts),
}

/// down(f(gate(x)) · up(x)).
#[derive(Debug)]
pub(crate) struct Dense {
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
    pub(crate) function: Gate,
}

impl Block {
    /// The rows with attention's share in them, and what the feed-forward part found and is not
    /// yet added. `found`: as much of the layer before.
    pub(crate) fn forward(
        &self,
        x: Tensor,
        found: Option<Tensor>,
        angles: &Angles,
        attend: impl FnOnce(&Projected) -> candle_core::Result<Tensor>,
    ) -> Result<[Tensor; 2]> {
        let [x, normed] = match found {
            None => {
                let normed = self.attention_norm.forward(&x)?;
                [x, normed]
            }
            Some(found) => self.attention_norm.after_adding(&x, &found)?,
        };
        let attended = attend(&self.attention.project(&normed, angles)?)?;
        let attended = self.attention.output.forward(&attended)?;
        let attended = normed_if(self.after_attention.as_ref(), attended)?;
        let [x, normed] = self.ffn_norm.after_adding(&x, &attended)?;
        let found = match &self.ffn {
            FeedForward::Dense(dense) => dense.forward(&normed)?,
            FeedForward::Experts(experts) => experts.forward(&normed)?,
        };
        Ok([x, normed_if(self.after_ffn.as_ref(), found)?])
    }
}

fn normed_if(norm: Option<&RmsNorm>, x: Tensor) -> candle_core::Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(&x),
        None => Ok(x),
    }
}

impl Attention {
    /// Queries, keys and values of normed rows.
    fn project(&self, x: &Tensor, angles: &Angles) -> candle_core::Result<Projected> {
        let [mut query, mut key, value] = forward_all(x, [&self.query, &self.key, &self.value])?;
        if let Some((query_norm, key_norm)) = &self.head_norms {
            query = query_norm.forward(&query)?;
            key = key_norm.forward(&key)?;
        }
        Ok(Projected { query: angles.turn(&query)?, key: angles.turn(&key)?, value })
    }
}

impl Dense {
    /// Of normed rows.
    pub(crate) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let [gate, up] = forward_all(x, [&self.gate, &self.up])?;
        self.down.forward(&tensors::gated(&gate, &up, self.function)?)
    }
}
