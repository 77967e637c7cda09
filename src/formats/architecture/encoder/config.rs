//! Reads the shape of an encoder from a Hugging Face `config.json`. How vectors are pooled stands in
//! other files of the folder.

use serde_json::Value;

use super::{EncoderOutput, EncoderShape, Pooling, PositionTable};
use crate::architecture::config::Keys;
use crate::architecture::{Architecture, ModelShape, RopeStyle, limits};
use crate::error::{Error, Result, shown};

/// What XLM-RoBERTa pads with; texts' positions begin behind it.
const XLM_ROBERTA_PAD: usize = 1;
/// Positions that nomic-bert was trained for, whatever its tables have room for.
const NOMIC_TRAINED_TOKENS: usize = 2048;

/// The shape of an encoder of this architecture.
pub(crate) fn from_config(architecture: Architecture, keys: &Keys) -> Result<ModelShape> {
    if keys.flag("is_decoder")?.unwrap_or(false) {
        return Err(Error::key("is_decoder", "an encoder that looks back only is not supported"));
    }
    match architecture {
        Architecture::NomicBert if keys.object.contains_key("n_embd") => nomic_by_its_maker(keys),
        Architecture::NomicBert => nomic(keys),
        _ => bert(architecture, keys),
    }
}

/// A `BertModel` or `XLMRobertaModel`, bare or with a head that scores pairs.
fn bert(architecture: Architecture, keys: &Keys) -> Result<ModelShape> {
    only(keys, "hidden_act", "gelu")?;
    only(keys, "position_embedding_type", "absolute")?;
    let rows = keys.count("max_position_embeddings", limits::CONTEXT_TOKENS)?;
    let (first, types) = match architecture {
        Architecture::XlmRoberta => {
            let pads = 0..=*limits::VOCAB.end();
            (1 + keys.count_or("pad_token_id", pads, XLM_ROBERTA_PAD)?, 1)
        }
        _ => (0, 2),
    };
    let context_tokens = rows.checked_sub(first).filter(|&tokens| tokens > 0);
    let too_few = || Error::key("max_position_embeddings", "leaves no position for a text");
    EncoderShape {
        positions: Some(PositionTable { rows, first }),
        token_types: keys.count_or("type_vocab_size", limits::TOKEN_TYPES, types)?,
        output: output(keys)?,
    }
    .model(ModelShape {
        layers: keys.count("num_hidden_layers", limits::LAYERS)?,
        dim: keys.count("hidden_size", limits::DIM)?,
        ffn_dim: keys.count("intermediate_size", limits::FFN_DIM)?,
        heads: keys.count("num_attention_heads", limits::HEADS)?,
        vocab: keys.count("vocab_size", limits::VOCAB)?,
        rms_eps: keys.real("layer_norm_eps", limits::RMS_EPS, Some(1e-12))?,
        ..EncoderShape::blank(architecture, context_tokens.ok_or_else(too_few)?)
    })
}

/// A vector, or a score where the class says that there is a head for one.
fn output(keys: &Keys) -> Result<EncoderOutput> {
    let class = keys.object.get("architectures").and_then(|classes| classes.get(0)?.as_str());
    if !class.is_some_and(|class| class.ends_with("ForSequenceClassification")) {
        return Ok(EncoderOutput::Vector { pooling: Pooling::Mean, is_normalized: true });
    }
    let named = keys.object.get("id2label").and_then(Value::as_object).map(|names| names.len());
    // The library writes the number only where it is not 2.
    let labels = named.map_or_else(|| keys.count_or("num_labels", 1..=1 << 20, 2), Ok)?;
    if labels != 1 {
        let problem = format!("{labels} classes are not supported, only the one of a reranker");
        return Err(Error::key("id2label", problem));
    }
    Ok(EncoderOutput::Score)
}

/// A `NomicBertModel` in the words of the transformers library.
fn nomic(keys: &Keys) -> Result<ModelShape> {
    only(keys, "hidden_act", "silu")?;
    let rope = keys.child("rope_parameters")?;
    let theta = match &rope {
        Some(rope) => {
            only(rope, "rope_type", "default")?;
            rope.real("rope_theta", limits::ROPE_THETA, Some(1000.0))?
        }
        None => 1000.0,
    };
    let context_tokens = keys.count("max_position_embeddings", limits::CONTEXT_TOKENS)?;
    let shape = ModelShape {
        layers: keys.count("num_hidden_layers", limits::LAYERS)?,
        dim: keys.count("hidden_size", limits::DIM)?,
        ffn_dim: keys.count("intermediate_size", limits::FFN_DIM)?,
        heads: keys.count("num_attention_heads", limits::HEADS)?,
        vocab: keys.count("vocab_size", limits::VOCAB)?,
        rms_eps: keys.real("layer_norm_eps", limits::RMS_EPS, Some(1e-12))?,
        ..EncoderShape::blank(Architecture::NomicBert, context_tokens)
    };
    rotated(keys, shape, theta)
}

/// A `NomicBertModel` in the words of its maker, who has many variants in them.
fn nomic_by_its_maker(keys: &Keys) -> Result<ModelShape> {
    only(keys, "activation_function", "swiglu")?;
    let no = ["prenorm", "qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias", "parallel_block"];
    for key in no.into_iter().chain(["rotary_emb_interleaved", "use_rms_norm", "causal"]) {
        if keys.flag(key)?.unwrap_or(false) {
            return Err(Error::key(key, "is not supported"));
        }
    }
    for key in ["rotary_emb_scale_base", "rotary_scaling_factor", "moe_every_n_layers"] {
        if keys.object.get(key).is_some_and(|value| !value.is_null() && value != &Value::from(0)) {
            return Err(Error::key(key, "is not supported"));
        }
    }
    keys.real("rotary_emb_fraction", 1.0..=1.0, Some(1.0))?;
    let theta = keys.real("rotary_emb_base", limits::ROPE_THETA, Some(10_000.0))?;
    let dim = keys.count("n_embd", limits::DIM)?;
    let positions = keys.count("n_positions", limits::CONTEXT_TOKENS)?;
    let trained = "max_trained_positions";
    let trained = keys.count_or(trained, limits::CONTEXT_TOKENS, NOMIC_TRAINED_TOKENS)?;
    let shape = ModelShape {
        layers: keys.count("n_layer", limits::LAYERS)?,
        dim,
        ffn_dim: keys.count_or("n_inner", limits::FFN_DIM, 4 * dim)?,
        heads: keys.count("n_head", limits::HEADS)?,
        vocab: keys.count("vocab_size", limits::VOCAB)?,
        rms_eps: keys.real("layer_norm_epsilon", limits::RMS_EPS, Some(1e-12))?,
        ..EncoderShape::blank(Architecture::NomicBert, positions.min(trained))
    };
    rotated(keys, shape, theta)
}

fn rotated(keys: &Keys, mut shape: ModelShape, theta: f32) -> Result<ModelShape> {
    shape.rope.theta = theta;
    shape.rope.style = RopeStyle::Halved;
    EncoderShape {
        positions: None,
        token_types: keys.count_or("type_vocab_size", limits::TOKEN_TYPES, 2)?,
        output: EncoderOutput::Vector { pooling: Pooling::Mean, is_normalized: true },
    }
    .model(shape)
}

/// Says no to any other value of a key than this one, which is the default.
fn only(keys: &Keys, key: &str, supported: &str) -> Result<()> {
    match keys.text(key)?.filter(|found| *found != supported) {
        None => Ok(()),
        Some(other) => {
            let problem = format!("`{}` is not supported, only {supported}", shown(other));
            Err(Error::key(key, problem))
        }
    }
}
