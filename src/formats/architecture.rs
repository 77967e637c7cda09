//! What a model looks like in numbers, read from GGUF metadata or from `config.json`.
//!
//! After [`ModelShape`] exists its numbers are sane: nothing is zero, heads divide evenly, and no
//! product of two of them overflows.

mod config;
mod decoder;
mod encoder;
mod metadata;
mod rope;

use crate::error::{Error, Result, shown};

pub(crate) use config::{eos_ids, from_config, sees_images};
pub use decoder::{DecoderShape, Experts, Window};
pub(crate) use encoder::EncoderFiles;
pub use encoder::{EncoderOutput, EncoderShape, Pooling, PositionTable};
pub(crate) use metadata::{TensorFacts, from_metadata};
pub use rope::{LongRope, Rope, RopeScaling, RopeStyle, Yarn};

/// The model families that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// And mistral, which is llama with a window.
    Llama,
    Qwen2,
    Qwen3,
    Qwen3Moe,
    Gemma2,
    Gemma3,
    Phi3,
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
    /// Width of the feed-forward part's inner layer; of one expert's where there are experts.
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
    pub rope: Rope,
    /// What decoders alone have; the default for encoders.
    pub decoder: DecoderShape,
    /// What encoders alone have; `None` for decoders.
    pub encoder: Option<EncoderShape>,
}

impl Architecture {
    /// Every architecture that can be run.
    pub const ALL: [Architecture; 10] = [
        Architecture::Llama,
        Architecture::Qwen2,
        Architecture::Qwen3,
        Architecture::Qwen3Moe,
        Architecture::Gemma2,
        Architecture::Gemma3,
        Architecture::Phi3,
        Architecture::Bert,
        Architecture::XlmRoberta,
        Architecture::NomicBert,
    ];
    /// Those that write text.
    pub const DECODERS: [Architecture; 7] = [
        Architecture::Llama,
        Architecture::Qwen2,
        Architecture::Qwen3,
        Architecture::Qwen3Moe,
        Architecture::Gemma2,
        Architecture::Gemma3,
        Architecture::Phi3,
    ];

    /// GGUF's `general.architecture`.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Llama => "llama",
            Architecture::Qwen2 => "qwen2",
            Architecture::Qwen3 => "qwen3",
            Architecture::Qwen3Moe => "qwen3moe",
            Architecture::Gemma2 => "gemma2",
            Architecture::Gemma3 => "gemma3",
            Architecture::Phi3 => "phi3",
            Architecture::Bert => "bert",
            Architecture::XlmRoberta => "xlm-roberta",
            Architecture::NomicBert => "nomic-bert",
        }
    }

    /// Gemma 2 and 3, which are made of the same parts.
    pub fn is_gemma(self) -> bool {
        matches!(self, Architecture::Gemma2 | Architecture::Gemma3)
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

    /// Tokens that a row of this layer sees, itself included; `None` is all.
    pub fn window_tokens(&self, layer: usize) -> Option<usize> {
        let window = self.decoder.window.as_ref()?;
        (window.layers.get(layer) == Some(&true)).then_some(window.tokens)
    }

    /// Checks what ties several numbers together; single ones were bounded when they were read.
    fn checked(self) -> Result<ModelShape> {
        if !self.heads.is_multiple_of(self.kv_heads) {
            let problem =
                format!("{} heads cannot share {} key/value heads", self.heads, self.kv_heads);
            return Err(Error::key("key/value heads", problem));
        }
        self.rope.check(self.head_dim)?;
        self.decoder.check(self.layers, self.head_dim)?;
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
    pub const EXPERTS: RangeInclusive<u64> = 1..=4096;
    pub const TOKEN_TYPES: RangeInclusive<u64> = 1..=1024;
    pub const VOCAB: RangeInclusive<u64> = 1..=1 << 21;
    pub const CONTEXT_TOKENS: RangeInclusive<u64> = 1..=1 << 24;
    pub const ROPE_THETA: RangeInclusive<f32> = 1.0..=1e12;
    // Room for 1e-12 in single precision, which lies below its decimal twin.
    pub const RMS_EPS: RangeInclusive<f32> = 9e-13..=0.1;
    pub const ROPE_FACTOR: RangeInclusive<f32> = 1e-3..=1e4;
    pub const ATTENTION_FACTOR: RangeInclusive<f32> = 1e-2..=100.0;
    pub const YARN_BETA: RangeInclusive<f32> = 1e-3..=1e4;
    /// What the square root of is one over attention's scale.
    pub const ATTENTION_SCALAR: RangeInclusive<f32> = 1e-3..=1e6;
    pub const SOFTCAP: RangeInclusive<f32> = 1e-3..=1e6;
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
