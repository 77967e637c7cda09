//! Reads the shape of an encoder from GGUF metadata, in llama.cpp's words.

use super::{EncoderOutput, EncoderShape, Pooling, PositionTable};
use crate::architecture::metadata::{Keys, TensorFacts, vocabulary};
use crate::architecture::{Architecture, ModelShape, count, limits};
use crate::error::{Error, Result};

/// The shape of an encoder of this architecture.
pub(crate) fn from_metadata(
    architecture: Architecture,
    keys: &Keys,
    tensors: &TensorFacts,
) -> Result<ModelShape> {
    let metadata = keys.metadata;
    let causal = keys.full("attention.causal");
    if metadata.bool(&causal)?.unwrap_or(false) {
        return Err(Error::key(&causal, "an encoder that looks back only is not supported"));
    }
    let types_key = "tokenizer.ggml.token_type_count";
    let rows = keys.count("context_length", limits::CONTEXT_TOKENS)?;
    let is_rotated = architecture == Architecture::NomicBert;
    let mut shape = ModelShape {
        layers: keys.count("block_count", limits::LAYERS)?,
        dim: keys.count("embedding_length", limits::DIM)?,
        ffn_dim: keys.count("feed_forward_length", limits::FFN_DIM)?,
        heads: keys.count("attention.head_count", limits::HEADS)?,
        vocab: vocabulary(metadata, keys)?,
        rms_eps: keys.real("attention.layer_norm_epsilon", limits::RMS_EPS, None)?,
        ..EncoderShape::blank(architecture, rows)
    };
    if is_rotated {
        shape.rope.theta = keys.real("rope.freq_base", limits::ROPE_THETA, Some(10_000.0))?;
    }
    EncoderShape {
        // Files leave out the rows that stand for padding.
        positions: (!is_rotated).then_some(PositionTable { rows, first: 0 }),
        token_types: count(types_key, metadata.u64(types_key)?.or(Some(2)), limits::TOKEN_TYPES)?,
        output: output(keys, tensors)?,
    }
    .model(shape)
}

fn output(keys: &Keys, tensors: &TensorFacts) -> Result<EncoderOutput> {
    if tensors.has_score {
        return Ok(EncoderOutput::Score);
    }
    let key = keys.full("pooling_type");
    // `enum llama_pooling_type`; files without it are averaged, as llama.cpp does.
    let pooling = match keys.metadata.u64(&key)? {
        None | Some(1) => Pooling::Mean,
        Some(2) => Pooling::First,
        Some(4) => {
            let problem = "is 4 (rank), but the file has no `cls.output.weight` to score with";
            return Err(Error::key(&key, problem));
        }
        Some(other) => {
            let problem =
                format!("is {other}; only 1 (mean), 2 (first token) and 4 (rank) are supported");
            return Err(Error::key(&key, problem));
        }
    };
    // The format does not say; who computes with such files scales to length 1.
    Ok(EncoderOutput::Vector { pooling, is_normalized: true })
}
