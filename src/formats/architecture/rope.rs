//! How a model turns queries and keys by their positions.

use super::limits;
use crate::error::{Error, Result};

/// Rotary position embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Leading elements of each head that are rotated; even, at most `head_dim`. 0 where positions
    /// have learned vectors instead.
    pub dim: usize,
    pub theta: f32,
    /// How the rows of this file's query and key weights pair up.
    pub style: RopeStyle,
    pub scaling: Option<RopeScaling>,
}

/// Which two elements of a head rotate together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// 2i with 2i+1: llama in GGUF, whose converter permutes the query and key rows.
    Interleaved,
    /// i with i + dim/2: Hugging Face, and all but llama in GGUF.
    Halved,
}

/// A change of the rotation frequencies for contexts beyond the first training.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Positions are divided by `factor`.
    Linear {
        factor: f32,
    },
    /// Low frequencies are divided by `factor`, high ones kept, those between blended (Llama 3.1).
    Llama3 {
        factor: f32,
        low_freq_factor: f32,
        high_freq_factor: f32,
        original_context_tokens: usize,
    },
    Yarn(Yarn),
    LongRope(LongRope),
}

/// YaRN: as Llama 3.1 does, but the blend runs over pairs of a head, and attention is sharpened.
#[derive(Clone, Debug, PartialEq)]
pub struct Yarn {
    pub factor: f32,
    pub original_context_tokens: usize,
    /// What turned queries and keys are multiplied with.
    pub attention_factor: f32,
    /// Pairs that turn more often than this over the original context are kept.
    pub beta_fast: f32,
    /// Pairs that turn less often than this are divided by `factor`.
    pub beta_slow: f32,
    /// The blend begins and ends at whole pairs.
    pub is_truncated: bool,
}

/// LongRoPE: each frequency has a divisor of its own, one within the original context and one
/// for models that are run beyond it.
#[derive(Clone, Debug, PartialEq)]
pub struct LongRope {
    pub original_context_tokens: usize,
    /// What turned queries and keys are multiplied with.
    pub attention_factor: f32,
    /// One divisor per pair; empty in GGUF files, which have tensors of them.
    pub short: Vec<f32>,
    pub long: Vec<f32>,
}

/// What attention is sharpened by when YaRN stretches a context by `factor`, as its paper has it;
/// `weight` is 1 there.
pub(super) fn yarn_attention_factor(factor: f32, weight: f32) -> f32 {
    if factor <= 1.0 {
        return 1.0;
    }
    (0.1 * f64::from(weight) * f64::from(factor).ln() + 1.0) as f32
}

/// As above, of LongRoPE.
pub(super) fn longrope_attention_factor(factor: f32, original_context_tokens: usize) -> f32 {
    if factor <= 1.0 || original_context_tokens < 2 {
        return 1.0;
    }
    (1.0 + f64::from(factor).ln() / (original_context_tokens as f64).ln()).sqrt() as f32
}

impl Rope {
    /// Checks what ties several numbers together.
    pub(super) fn check(&self, head_dim: usize) -> Result<()> {
        if !self.dim.is_multiple_of(2) || self.dim > head_dim {
            let problem =
                format!("is {}, must be even and at most the head width {head_dim}", self.dim);
            return Err(Error::key("rope dimensions", problem));
        }
        match &self.scaling {
            Some(RopeScaling::LongRope(LongRope { short, long, .. })) => {
                check_divisors("short_factor", short, self.dim)?;
                check_divisors("long_factor", long, self.dim)
            }
            // The blend runs between logarithms to the base of theta.
            Some(RopeScaling::Yarn(_)) if self.theta <= 1.0 => {
                Err(Error::key("rope theta", "must be above 1 for YaRN"))
            }
            _ => Ok(()),
        }
    }
}

fn check_divisors(key: &str, divisors: &[f32], rope_dim: usize) -> Result<()> {
    // Absent ones are tensors; that they are there is checked with all others.
    if !divisors.is_empty() && divisors.len() != rope_dim / 2 {
        let problem = format!("has {} numbers, must have {}", divisors.len(), rope_dim / 2);
        return Err(Error::key(key, problem));
    }
    match divisors.iter().find(|divisor| !limits::ROPE_FACTOR.contains(*divisor)) {
        None => Ok(()),
        Some(divisor) => {
            let (low, high) = (limits::ROPE_FACTOR.start(), limits::ROPE_FACTOR.end());
            Err(Error::key(key, format!("holds {divisor}, must be {low} to {high}")))
        }
    }
}
