//! What a model looks like in numbers, read from GGUF metadata or from `config.json`.
//!
//! After [`ModelShape`] exists its numbers are sane: nothing is zero, heads divide evenly, and no
//! product of two of them overflows.

mod config;
mod encoder;
mod metadata;

use crate::error::{Error, Result, shown};

pub(crate) use config::{eos_ids, from_config};
pub(crate) use encoder::EncoderFiles;
pub use encoder::{EncoderOutput, EncoderShape, Pooling, PositionTable};
pub(crate) use metadata::{TensorFacts, from_metadata};

/// The model families that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
    // Encoders: they make vectors or scores of texts and write none.
    Bert,
    XlmRoberta,
    NomicBert,
}

/// The dimensions of a transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelShape {
    pub architecture: Architecture,
    pub layers: usize,
    /// Width of the residual stream.
    pub dim: usize,
    /// Width of the feed-forward part's inner layer.
    pub ffn_dim: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head; need not be `dim / heads`.
    pub head_dim: usize,
    /// Rows of the embedding table.
    pub vocab: usize,
    /// Positions the model was trained for.
    pub context_tokens: usize,
    /// Of every norm: RMS norms in decoders, layer norms in encoders.
    pub rms_eps: f32,
    /// The output matrix is the embedding table.
    pub tied_embeddings: bool,
    /// Query, key and value projections add a bias.
    pub qkv_bias: bool,
    /// Queries and keys are RMS-normed per head.
    pub qk_norm: bool,
    pub rope: Rope,
    /// What encoders alone have; `None` for decoders.
    pub encoder: Option<EncoderShape>,
}

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
    /// i with i + dim/2: Hugging Face, and qwen2 and qwen3 in GGUF.
    Halved,
}

/// A change of the rotation frequencies for contexts beyond the first training.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Positions are divided by `factor`.
    Linear { factor: f32 },
    /// Low frequencies are divided by `factor`, high ones kept, those between blended (Llama 3.1).
    Llama3 {
        factor: f32,
        low_freq_factor: f32,
        high_freq_factor: f32,
        original_context_tokens: usize,
    },
    /// YaRN; parsed so that the engine can refuse it by name.
    Yarn { factor: f32, original_context_tokens: usize },
}

impl Architecture {
    /// Every architecture that can be run.
    pub const ALL: [Architecture; 6] = [
        Architecture::Llama,
        Architecture::Qwen2,
        Architecture::Qwen3,
        Architecture::Bert,
        Architecture::XlmRoberta,
        Architecture::NomicBert,
    ];
    /// Those that write text.
    pub const DECODERS: [Architecture; 3] =
        [Architecture::Llama, Architecture::Qwen2, Architecture::Qwen3];

    /// GGUF's `general.architecture`.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Llama => "llama",
            Architecture::Qwen2 => "qwen2",
            Architecture::Qwen3 => "qwen3",
            Architecture::Bert => "bert",
            Architecture::XlmRoberta => "xlm-roberta",
            Architecture::NomicBert => "nomic-bert",
        }
    }

    /// Whether it makes vectors or scores of texts.
    pub fn is_encoder(self) -> bool {
        matches!(self, Architecture::Bert | Architecture::XlmRoberta | Architecture::NomicBert)
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl ModelShape {
    /// Query heads that share one key/value head.
    pub fn heads_per_kv_head(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Width of all query heads together.
    pub fn query_dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Checks what ties several numbers together; single ones were bounded when they were read.
    fn checked(self) -> Result<ModelShape> {
        if !self.heads.is_multiple_of(self.kv_heads) {
            let problem =
                format!("{} heads cannot share {} key/value heads", self.heads, self.kv_heads);
            return Err(Error::key("key/value heads", problem));
        }
        if !self.rope.dim.is_multiple_of(2) || self.rope.dim > self.head_dim {
            let problem = format!(
                "is {}, must be even and at most the head width {}",
                self.rope.dim, self.head_dim
            );
            return Err(Error::key("rope dimensions", problem));
        }
        Ok(self)
    }
}

/// Ranges that hold every model in sight and keep every product of two numbers far below 2^63.
pub mod limits {
    use std::ops::RangeInclusive;

    pub const LAYERS: RangeInclusive<u64> = 1..=1024;
    pub const DIM: RangeInclusive<u64> = 1..=1 << 17;
    pub const FFN_DIM: RangeInclusive<u64> = 1..=1 << 20;
    pub const HEADS: RangeInclusive<u64> = 1..=1024;
    pub const HEAD_DIM: RangeInclusive<u64> = 2..=1024;
    pub const TOKEN_TYPES: RangeInclusive<u64> = 1..=1024;
    pub const VOCAB: RangeInclusive<u64> = 1..=1 << 21;
    pub const CONTEXT_TOKENS: RangeInclusive<u64> = 1..=1 << 24;
    pub const ROPE_THETA: RangeInclusive<f32> = 1.0..=1e12;
    // Room for 1e-12 in single precision, which lies below its decimal twin.
    pub const RMS_EPS: RangeInclusive<f32> = 9e-13..=0.1;
    pub const ROPE_FACTOR: RangeInclusive<f32> = 1e-3..=1e4;
}

/// `found` if it lies in `range`, else an error that names the key; absent is an error too.
fn count(key: &str, found: Option<u64>, range: std::ops::RangeInclusive<u64>) -> Result<usize> {
    let found = found.ok_or_else(|| Error::key(key, "is missing"))?;
    if !range.contains(&found) {
        let problem = format!("is {found}, must be {} to {}", range.start(), range.end());
        return Err(Error::key(key, problem));
    }
    usize::try_from(found).map_err(|_| Error::key(key, format!("{found} is too big")))
}

/// Like [`count`], for a real number; NaN lies in no range.
fn real(key: &str, found: Option<f32>, range: std::ops::RangeInclusive<f32>) -> Result<f32> {
    let found = found.ok_or_else(|| Error::key(key, "is missing"))?;
    if !range.contains(&found) {
        let problem = format!("is {found}, must be {} to {}", range.start(), range.end());
        return Err(Error::key(key, problem));
    }
    Ok(found)
}

fn unsupported(found: &str) -> Error {
    let supported = Architecture::ALL.map(Architecture::name).join(", ");
    Error::Unsupported(format!(
        "the architecture `{}` is not supported; supported are {supported}",
        shown(found)
    ))
}

#[cfg(test)]
mod tests;
