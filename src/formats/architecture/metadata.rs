//! Reads a [`ModelShape`] from GGUF metadata (`llama.block_count` and its like).

use crate::architecture::{
    Architecture, ModelShape, Rope, RopeScaling, RopeStyle, count, encoder, limits, real,
    unsupported,
};
use crate::error::{Error, Result, shown};
use crate::gguf::Metadata;

/// What the file's tensors, not its metadata, tell about the model.
pub(crate) struct TensorFacts {
    /// There is an `output.weight`.
    pub(crate) has_output: bool,
    /// There is a `blk.0.attn_q.bias`.
    pub(crate) has_qkv_bias: bool,
    /// There is a `cls.output.weight`.
    pub(crate) has_score: bool,
}

/// The shape of the model that a GGUF file describes.
pub(crate) fn from_metadata(metadata: &Metadata, tensors: &TensorFacts) -> Result<ModelShape> {
    let name = metadata
        .str("general.architecture")?
        .ok_or_else(|| Error::key("general.architecture", "is missing"))?;
    let architecture = Architecture::ALL
        .into_iter()
        .find(|architecture| architecture.name() == name)
        .ok_or_else(|| unsupported(name))?;
    let keys = Keys { metadata, prefix: architecture.name() };
    keys.refuse_variants()?;
    if architecture.is_encoder() {
        return encoder::from_metadata(architecture, &keys, tensors);
    }

    let dim = keys.count("embedding_length", limits::DIM)?;
    let heads = keys.count("attention.head_count", limits::HEADS)?;
    let kv_heads = keys.count_or("attention.head_count_kv", limits::HEADS, heads)?;
    let head_dim = keys.count_or("attention.key_length", limits::HEAD_DIM, dim / heads)?;
    let value_dim = keys.count_or("attention.value_length", limits::HEAD_DIM, head_dim)?;
    if value_dim != head_dim {
        let problem = format!("is {value_dim}, must equal the key length {head_dim}");
        return Err(Error::key(&keys.full("attention.value_length"), problem));
    }
    let context_tokens = keys.count("context_length", limits::CONTEXT_TOKENS)?;
    ModelShape {
        architecture,
        layers: keys.count("block_count", limits::LAYERS)?,
        dim,
        ffn_dim: keys.count("feed_forward_length", limits::FFN_DIM)?,
        heads,
        kv_heads,
        head_dim,
        vocab: vocabulary(metadata, &keys)?,
        context_tokens,
        rms_eps: keys.real("attention.layer_norm_rms_epsilon", limits::RMS_EPS, None)?,
        tied_embeddings: !tensors.has_output,
        qkv_bias: architecture == Architecture::Qwen2 || tensors.has_qkv_bias,
        qk_norm: architecture == Architecture::Qwen3,
        rope: Rope {
            dim: keys.count_or("rope.dimension_count", limits::HEAD_DIM, head_dim)?,
            theta: keys.real("rope.freq_base", limits::ROPE_THETA, Some(10_000.0))?,
            style: match architecture {
                Architecture::Llama => RopeStyle::Interleaved,
                _ => RopeStyle::Halved,
            },
            scaling: keys.rope_scaling(context_tokens)?,
        },
        encoder: None,
    }
    .checked()
}

/// Rows of the vocabulary: the number of tokens, which a stated size must equal.
pub(super) fn vocabulary(metadata: &Metadata, keys: &Keys) -> Result<usize> {
    let key = "tokenizer.ggml.tokens";
    let tokens = metadata.strings(key)?.ok_or_else(|| Error::key(key, "is missing"))?;
    let vocab = count(key, Some(tokens.len() as u64), limits::VOCAB)?;
    let stated = keys.count_or("vocab_size", limits::VOCAB, vocab)?;
    if stated != vocab {
        let problem = format!("is {stated}, but the tokenizer has {vocab} tokens");
        return Err(Error::key(&keys.full("vocab_size"), problem));
    }
    Ok(vocab)
}

/// The keys below one architecture's prefix.
pub(super) struct Keys<'a> {
    pub(super) metadata: &'a Metadata,
    prefix: &'a str,
}

impl Keys<'_> {
    pub(super) fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    pub(super) fn count(&self, key: &str, range: std::ops::RangeInclusive<u64>) -> Result<usize> {
        let key = self.full(key);
        count(&key, self.metadata.u64(&key)?, range)
    }

    /// `default` is held to the same range.
    pub(super) fn count_or(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
        default: usize,
    ) -> Result<usize> {
        let key = self.full(key);
        count(&key, Some(self.metadata.u64(&key)?.unwrap_or(default as u64)), range)
    }

    pub(super) fn real(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<f32>,
        default: Option<f32>,
    ) -> Result<f32> {
        let key = self.full(key);
        real(&key, self.metadata.f32(&key)?.or(default), range)
    }

    /// Says no to members of the family whose extra parts we would otherwise leave out silently.
    fn refuse_variants(&self) -> Result<()> {
        let experts = self.full("expert_count");
        if self.metadata.u64(&experts)?.unwrap_or(0) > 0 {
            return Err(Error::key(&experts, "mixtures of experts are not supported"));
        }
        let window = self.full("attention.sliding_window");
        if self.metadata.u64(&window)?.unwrap_or(0) > 0 {
            return Err(Error::key(&window, "sliding-window attention is not supported"));
        }
        Ok(())
    }

    fn rope_scaling(&self, context_tokens: usize) -> Result<Option<RopeScaling>> {
        let key = self.full("rope.scaling.type");
        match self.metadata.str(&key)? {
            None => {
                // Files from before 2023-11 say it with one number.
                let factor = self.real("rope.scale_linear", limits::ROPE_FACTOR, Some(1.0))?;
                Ok((factor != 1.0).then_some(RopeScaling::Linear { factor }))
            }
            Some("none") => Ok(None),
            Some("linear") => {
                let factor = self.real("rope.scaling.factor", limits::ROPE_FACTOR, None)?;
                Ok(Some(RopeScaling::Linear { factor }))
            }
            Some("yarn") => Ok(Some(RopeScaling::Yarn {
                factor: self.real("rope.scaling.factor", limits::ROPE_FACTOR, None)?,
                original_context_tokens: self.count_or(
                    "rope.scaling.original_context_length",
                    limits::CONTEXT_TOKENS,
                    context_tokens,
                )?,
            })),
            Some(other) => {
                Err(Error::key(&key, format!("the kind `{}` is not supported", shown(other))))
            }
        }
    }
}
