//! What decoders may have beside the plain transformer.

use super::{Rope, count, limits};
use crate::error::{Error, Result};
use crate::gguf::MAX_TENSORS;

/// The parts of a [`super::ModelShape`] in which families of decoders differ.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DecoderShape {
    /// Queries and keys are RMS-normed per head.
    pub qk_norm: bool,
    /// What attention's scores are multiplied with.
    pub attention_scale: f32,
    /// Scores become cap · tanh(score / cap).
    pub attention_softcap: Option<f32>,
    /// As above, of logits.
    pub logit_softcap: Option<f32>,
    pub window: Option<Window>,
    pub experts: Option<Experts>,
}

/// Attention that looks back only so far, in some layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Tokens that a token sees, itself included.
    pub tokens: usize,
    /// Whether each layer looks through the window.
    pub layers: Vec<bool>,
    /// How positions turn in those layers, if otherwise than in the rest.
    pub rope: Option<Rope>,
}

/// A feed-forward part made of many small ones, of which each token takes a few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    pub count: usize,
    /// Experts that a token is sent to; at most `count`.
    pub used: usize,
    /// The weights of those experts are scaled to sum to 1.
    pub is_normalized: bool,
}

impl DecoderShape {
    /// Checks what ties several numbers together.
    pub(super) fn check(&self, layers: usize, head_dim: usize) -> Result<()> {
        if let Some(window) = &self.window {
            if window.layers.len() != layers {
                let problem = format!("{} of them for {layers} layers", window.layers.len());
                return Err(Error::key("kinds of attention", problem));
            }
            if let Some(rope) = &window.rope {
                rope.check(head_dim)?;
            }
        }
        if let Some(Experts { count: all, used, .. }) = self.experts {
            count("experts used", Some(used as u64), 1..=all as u64)?;
            // Each has three matrices, and each of those a place in memory.
            let matrices = 3 * layers as u64 * all as u64;
            if matrices > MAX_TENSORS {
                let problem = format!("{all} in each of {layers} layers are more than can be kept");
                return Err(Error::key("experts", problem));
            }
        }
        Ok(())
    }
}

impl Window {
    /// A window of `tokens` in the layers that `is_windowed` names; `None` if it names none, or
    /// the window is absent.
    pub(super) fn new(
        tokens: Option<u64>,
        layers: usize,
        is_windowed: impl Fn(usize) -> bool,
    ) -> Result<Option<Window>> {
        let layers: Vec<bool> = (0..layers).map(is_windowed).collect();
        if tokens.is_none_or(|tokens| tokens == 0) || !layers.contains(&true) {
            return Ok(None);
        }
        let tokens = count("sliding_window", tokens, limits::CONTEXT_TOKENS)?;
        Ok(Some(Window { tokens, layers, rope: None }))
    }
}
