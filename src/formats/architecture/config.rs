//! Reads a [`ModelShape`] from a Hugging Face `config.json`.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::architecture::{
    Architecture, ModelShape, Rope, RopeScaling, RopeStyle, count, encoder, limits, real,
    unsupported,
};
use crate::error::{Error, Result, shown};

/// The shape of the model that a `config.json` describes.
pub(crate) fn from_config(config: &Map<String, Value>) -> Result<ModelShape> {
    let architecture = architecture(config)?;
    let keys = Keys { object: config, path: "" };
    if architecture.is_encoder() {
        return encoder::from_config(architecture, &keys);
    }
    refuse_variants(&keys)?;
    let dim = keys.count("hidden_size", limits::DIM)?;
    let heads = keys.count("num_attention_heads", limits::HEADS)?;
    let head_dim = keys.count_or("head_dim", limits::HEAD_DIM, dim / heads)?;
    let context_tokens = keys.count("max_position_embeddings", limits::CONTEXT_TOKENS)?;
    ModelShape {
        architecture,
        layers: keys.count("num_hidden_layers", limits::LAYERS)?,
        dim,
        ffn_dim: keys.count("intermediate_size", limits::FFN_DIM)?,
        heads,
        kv_heads: keys.count_or("num_key_value_heads", limits::HEADS, heads)?,
        head_dim,
        vocab: keys.count("vocab_size", limits::VOCAB)?,
        context_tokens,
        // 1e-6 is the default of all three families in transformers.
        rms_eps: keys.real("rms_norm_eps", limits::RMS_EPS, Some(1e-6))?,
        tied_embeddings: keys.flag("tie_word_embeddings")?.unwrap_or(false),
        qkv_bias: architecture == Architecture::Qwen2,
        qk_norm: architecture == Architecture::Qwen3,
        rope: rope(&keys, head_dim, context_tokens)?,
        encoder: None,
    }
    .checked()
}

/// The ids that end an answer, from `config.json` or `generation_config.json`: one number or a list.
pub(crate) fn eos_ids(config: &Map<String, Value>) -> Result<Vec<u32>> {
    let key = "eos_token_id";
    let id = |value: &Value| {
        value
            .as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .ok_or_else(|| Error::key(key, "is not a token id or a list of them"))
    };
    match config.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(ids)) => ids.iter().map(id).collect(),
        Some(single) => Ok(vec![id(single)?]),
    }
}

fn architecture(config: &Map<String, Value>) -> Result<Architecture> {
    let class = config
        .get("architectures")
        .and_then(|classes| classes.get(0))
        .and_then(Value::as_str)
        .ok_or_else(|| Error::key("architectures", "is missing"))?;
    match class {
        // Mistral without a sliding window is llama, tensor for tensor.
        "LlamaForCausalLM" | "MistralForCausalLM" => Ok(Architecture::Llama),
        "Qwen2ForCausalLM" => Ok(Architecture::Qwen2),
        "Qwen3ForCausalLM" => Ok(Architecture::Qwen3),
        "BertModel" | "BertForSequenceClassification" => Ok(Architecture::Bert),
        "XLMRobertaModel" | "XLMRobertaForSequenceClassification" => Ok(Architecture::XlmRoberta),
        "NomicBertModel" => Ok(Architecture::NomicBert),
        other => Err(unsupported(other)),
    }
}

/// Says no to settings whose effect we would otherwise leave out silently.
fn refuse_variants(keys: &Keys) -> Result<()> {
    let window = keys.number("sliding_window")?.is_some();
    // Qwen writes a window and switches it off beside it; Mistral has only the window.
    let windowed = window && keys.flag("use_sliding_window")?.unwrap_or(true);
    if windowed {
        return Err(Error::key("sliding_window", "sliding-window attention is not supported"));
    }
    for key in ["attention_bias", "mlp_bias"] {
        if keys.flag(key)?.unwrap_or(false) {
            return Err(Error::key(key, "is not supported"));
        }
    }
    match keys.text("hidden_act")? {
        None | Some("silu") => {}
        Some(other) => {
            let problem = format!("`{}` is not supported, only silu", shown(other));
            return Err(Error::key("hidden_act", problem));
        }
    }
    if keys.object.contains_key("quantization_config") {
        let problem = "quantised safetensors are not supported; use a GGUF file";
        return Err(Error::key("quantization_config", problem));
    }
    Ok(())
}

fn rope(keys: &Keys, head_dim: usize, context_tokens: usize) -> Result<Rope> {
    // Since transformers 5 everything about RoPE is in one object; before, theta stood apart.
    let nested = match keys.child("rope_parameters")? {
        Some(nested) => Some(nested),
        None => keys.child("rope_scaling")?,
    };
    let theta = match &nested {
        Some(nested) if nested.object.contains_key("rope_theta") => {
            nested.real("rope_theta", limits::ROPE_THETA, None)?
        }
        _ => keys.real("rope_theta", limits::ROPE_THETA, Some(10_000.0))?,
    };
    let partial = keys.real("partial_rotary_factor", 0.0..=1.0, Some(1.0))?;
    if partial != 1.0 {
        return Err(Error::key("partial_rotary_factor", format!("{partial} is not supported")));
    }
    let scaling = match &nested {
        Some(nested) => rope_scaling(nested, context_tokens)?,
        None => None,
    };
    Ok(Rope { dim: head_dim, theta, style: RopeStyle::Halved, scaling })
}

fn rope_scaling(keys: &Keys, context_tokens: usize) -> Result<Option<RopeScaling>> {
    let kind = match keys.text("rope_type")? {
        Some(kind) => Some(kind),
        None => keys.text("type")?,
    };
    let original = "original_max_position_embeddings";
    match kind {
        None | Some("default") => Ok(None),
        Some("linear") => Ok(Some(RopeScaling::Linear {
            factor: keys.real("factor", limits::ROPE_FACTOR, None)?,
        })),
        Some("llama3") => {
            let low_freq_factor = keys.real("low_freq_factor", limits::ROPE_FACTOR, None)?;
            let high_freq_factor = keys.real("high_freq_factor", limits::ROPE_FACTOR, None)?;
            // The blend divides by the difference of the two.
            if high_freq_factor <= low_freq_factor {
                return Err(Error::key("high_freq_factor", "must be above low_freq_factor"));
            }
            Ok(Some(RopeScaling::Llama3 {
                factor: keys.real("factor", limits::ROPE_FACTOR, None)?,
                low_freq_factor,
                high_freq_factor,
                original_context_tokens: keys.count(original, limits::CONTEXT_TOKENS)?,
            }))
        }
        Some("yarn") => Ok(Some(RopeScaling::Yarn {
            factor: keys.real("factor", limits::ROPE_FACTOR, None)?,
            original_context_tokens: keys.count_or(
                original,
                limits::CONTEXT_TOKENS,
                context_tokens,
            )?,
        })),
        Some(other) => {
            Err(Error::key("rope_scaling", format!("the kind `{}` is not supported", shown(other))))
        }
    }
}

/// Typed access to a JSON object; `null` counts as absent.
pub(super) struct Keys<'a> {
    pub(super) object: &'a Map<String, Value>,
    /// What stands before the key in an error, such as `rope_scaling.`.
    path: &'a str,
}

impl<'a> Keys<'a> {
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.object.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| Error::key(&self.full(key), format!("is not {expected}"))),
        }
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u64>> {
        self.typed(key, "a non-negative integer", Value::as_u64)
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a boolean", Value::as_bool)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(super) fn child(&self, key: &'static str) -> Result<Option<Keys<'a>>> {
        let object = self.typed(key, "an object", Value::as_object)?;
        let path = if key == "rope_parameters" { "rope_parameters." } else { "rope_scaling." };
        Ok(object.map(|object| Keys { object, path }))
    }

    pub(super) fn count(&self, key: &str, range: RangeInclusive<u64>) -> Result<usize> {
        count(&self.full(key), self.number(key)?, range)
    }

    /// `default` is held to the same range.
    pub(super) fn count_or(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
        default: usize,
    ) -> Result<usize> {
        count(&self.full(key), Some(self.number(key)?.unwrap_or(default as u64)), range)
    }

    pub(super) fn real(
        &self,
        key: &str,
        range: RangeInclusive<f32>,
        default: Option<f32>,
    ) -> Result<f32> {
        let found = self.typed(key, "a number", |value| value.as_f64().map(|real| real as f32))?;
        real(&self.full(key), found.or(default), range)
    }
}
