//! Reads a [`ModelShape`] from a Hugging Face `config.json`.

mod decoder;
mod rope;

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::architecture::{Architecture, ModelShape, count, encoder, limits, real, unsupported};
use crate::error::{Error, Result};

/// The shape of the model that a `config.json` describes.
pub(crate) fn from_config(config: &Map<String, Value>) -> Result<ModelShape> {
    if sees_images(config) {
        return from_config(&text_part(config)?);
    }
    let architecture = architecture(config)?;
    let keys = Keys { object: config, path: "" };
    if architecture.is_encoder() {
        return encoder::from_config(architecture, &keys);
    }
    keys.refuse_variants(architecture)?;
    let dim = keys.count("hidden_size", limits::DIM)?;
    let heads = keys.count("num_attention_heads", limits::HEADS)?;
    let layers = keys.count("num_hidden_layers", limits::LAYERS)?;
    let is_gemma = architecture.is_gemma();
    // Where a key is absent, what the family's class in transformers has.
    let head_dim = if is_gemma { 256 } else { dim / heads };
    let head_dim = keys.count_or("head_dim", limits::HEAD_DIM, head_dim)?;
    let rms_eps = if architecture == Architecture::Phi3 { 1e-5 } else { 1e-6 };
    let ffn_key = match architecture {
        Architecture::Qwen3Moe => "moe_intermediate_size",
        _ => "intermediate_size",
    };
    ModelShape {
        architecture,
        layers,
        dim,
        ffn_dim: keys.count(ffn_key, limits::FFN_DIM)?,
        heads,
        kv_heads: keys.count_or("num_key_value_heads", limits::HEADS, heads)?,
        head_dim,
        vocab: keys.count("vocab_size", limits::VOCAB)?,
        context_tokens: keys.count("max_position_embeddings", limits::CONTEXT_TOKENS)?,
        rms_eps: keys.real("rms_norm_eps", limits::RMS_EPS, Some(rms_eps))?,
        tied_embeddings: keys.flag("tie_word_embeddings")?.unwrap_or(is_gemma),
        qkv_bias: architecture == Architecture::Qwen2,
        rope: keys.rope(architecture, head_dim)?,
        decoder: keys.decoder(architecture, layers, head_dim)?,
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

/// Gemma 3 with an encoder of images, of which only the decoder is run.
const GEMMA3_WITH_IMAGES: &str = "Gemma3ForConditionalGeneration";

/// Whether the model has parts for images beside its decoder.
pub(crate) fn sees_images(config: &Map<String, Value>) -> bool {
    class(config) == Some(GEMMA3_WITH_IMAGES)
}

/// What the file says of the decoder, which leaves out what the class has anyway.
fn text_part(config: &Map<String, Value>) -> Result<Map<String, Value>> {
    let keys = Keys { object: config, path: "" };
    let part = keys.child("text_config", "text_config.")?;
    let part = part.ok_or_else(|| Error::key("text_config", "is missing"))?;
    let mut part = part.object.clone();
    part.insert("architectures".into(), Value::from(vec!["Gemma3ForCausalLM"]));
    for (key, default) in [
        ("vocab_size", 262_208),
        ("num_attention_heads", 8),
        ("num_key_value_heads", 4),
        ("max_position_embeddings", 131_072),
    ] {
        part.entry(key).or_insert(Value::from(default));
    }
    Ok(part)
}

/// The class that has a window where its file does not say otherwise.
const MISTRAL: &str = "MistralForCausalLM";

fn class(config: &Map<String, Value>) -> Option<&str> {
    config.get("architectures").and_then(|classes| classes.get(0)).and_then(Value::as_str)
}

fn architecture(config: &Map<String, Value>) -> Result<Architecture> {
    match class(config).ok_or_else(|| Error::key("architectures", "is missing"))? {
        // Mistral is llama, tensor for tensor, with a window.
        "LlamaForCausalLM" | MISTRAL => Ok(Architecture::Llama),
        "Qwen2ForCausalLM" => Ok(Architecture::Qwen2),
        "Qwen3ForCausalLM" => Ok(Architecture::Qwen3),
        "Qwen3MoeForCausalLM" => Ok(Architecture::Qwen3Moe),
        "Gemma2ForCausalLM" => Ok(Architecture::Gemma2),
        "Gemma3ForCausalLM" => Ok(Architecture::Gemma3),
        "Phi3ForCausalLM" => Ok(Architecture::Phi3),
        "BertModel" | "BertForSequenceClassification" => Ok(Architecture::Bert),
        "XLMRobertaModel" | "XLMRobertaForSequenceClassification" => Ok(Architecture::XlmRoberta),
        "NomicBertModel" => Ok(Architecture::NomicBert),
        other => Err(unsupported(other)),
    }
}

/// Typed access to a JSON object; `null` counts as absent.
pub(super) struct Keys<'a> {
    pub(super) object: &'a Map<String, Value>,
    /// What stands before the key in an error, such as `rope_scaling.`.
    path: &'static str,
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

    /// An object in this one; `path` is what stands before its keys in an error.
    pub(super) fn child(&self, key: &str, path: &'static str) -> Result<Option<Keys<'a>>> {
        let object = self.typed(key, "an object", Value::as_object)?;
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

    /// As above; `None` where the key is absent.
    fn optional(&self, key: &str, range: RangeInclusive<f32>) -> Result<Option<f32>> {
        let found = self.typed(key, "a number", |value| value.as_f64().map(|real| real as f32))?;
        found.map(|found| real(&self.full(key), Some(found), range)).transpose()
    }

    /// As above; where the key is absent `default`, but `None` where it says `null`.
    fn nullable(&self, key: &str, range: RangeInclusive<f32>, default: f32) -> Result<Option<f32>> {
        match self.object.contains_key(key) {
            true => self.optional(key, range),
            false => Ok(Some(default)),
        }
    }
}
