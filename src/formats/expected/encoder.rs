//! The tensors of an encoder, and what Hugging Face's classes call them.

use std::collections::HashMap;

use crate::architecture::{Architecture, EncoderOutput, EncoderShape, ModelShape};
use crate::error::{Error, Result};
use crate::expected::{Expected, LayerPart, Naming, TensorRole};
use crate::model_file::TensorLocation;

/// Words that the maker of nomic-bert has for what the transformers library calls otherwise.
const NOMIC_WORDS: [(&str, &str); 9] = [
    ("encoder.layers.", "layers."),
    ("emb_ln.", "embeddings.LayerNorm."),
    (".attn.Wqkv.", ".self_attn.qkv_proj."),
    (".attn.out_proj.", ".self_attn.o_proj."),
    (".mlp.fc11.", ".mlp.up_proj."),
    (".mlp.fc12.", ".mlp.gate_proj."),
    (".mlp.fc2.", ".mlp.down_proj."),
    (".norm1.", ".post_attention_layernorm."),
    (".norm2.", ".post_mlp_layernorm."),
];

/// Every tensor of an encoder of this shape, in the order in which a forward pass meets them.
pub(super) fn expected(shape: &ModelShape, encoder: &EncoderShape) -> Vec<Expected> {
    let required = |role, shape: &[usize]| Expected {
        role,
        shape: shape.iter().map(|&dim| dim as u64).collect(),
        optional: false,
    };
    let dim = shape.dim;
    let mut all = vec![required(TensorRole::TokenEmbedding, &[shape.vocab, dim])];
    if let Some(positions) = encoder.positions {
        all.push(required(TensorRole::PositionEmbedding, &[positions.rows, dim]));
    }
    all.push(required(TensorRole::TypeEmbedding, &[encoder.token_types, dim]));
    all.push(required(TensorRole::EmbeddingNorm, &[dim]));
    all.push(required(TensorRole::EmbeddingNormBias, &[dim]));
    let parts = layer_parts(shape);
    for layer in 0..shape.layers {
        let role = |part| TensorRole::Layer { layer, part };
        all.extend(parts.iter().map(|(part, dims)| required(role(*part), dims)));
    }
    if encoder.output == EncoderOutput::Score {
        all.push(required(TensorRole::ScoreDense, &[dim, dim]));
        all.push(required(TensorRole::ScoreDenseBias, &[dim]));
        all.push(required(TensorRole::Score, &[1, dim]));
        all.push(required(TensorRole::ScoreBias, &[1]));
    }
    all
}

fn layer_parts(shape: &ModelShape) -> Vec<(LayerPart, Vec<usize>)> {
    let (dim, ffn) = (shape.dim, shape.ffn_dim);
    let matrices = [
        (LayerPart::Query, LayerPart::QueryBias, dim, dim),
        (LayerPart::Key, LayerPart::KeyBias, dim, dim),
        (LayerPart::Value, LayerPart::ValueBias, dim, dim),
        (LayerPart::AttentionOutput, LayerPart::AttentionOutputBias, dim, dim),
        (LayerPart::FfnUp, LayerPart::FfnUpBias, ffn, dim),
        (LayerPart::FfnDown, LayerPart::FfnDownBias, dim, ffn),
    ];
    let norms = [
        LayerPart::AttentionOutputNorm,
        LayerPart::AttentionOutputNormBias,
        LayerPart::LayerOutputNorm,
        LayerPart::LayerOutputNormBias,
    ];
    let is_gated = shape.architecture == Architecture::NomicBert;
    let mut parts = Vec::new();
    for (weight, bias, outputs, inputs) in matrices {
        parts.push((weight, vec![outputs, inputs]));
        if shape.qkv_bias {
            parts.push((bias, vec![outputs]));
        }
    }
    if is_gated {
        parts.push((LayerPart::FfnGate, vec![ffn, dim]));
    }
    parts.extend(norms.map(|norm| (norm, vec![dim])));
    parts
}

/// A folder's tensors under the names of the bare class, and whose names these are. What is only
/// for training, and makes neither vectors nor scores, is left out.
pub(crate) fn plain_names(
    shape: &ModelShape,
    found: HashMap<String, TensorLocation>,
) -> Result<(Naming, HashMap<String, TensorLocation>)> {
    let naming = Naming::of_folder(shape.architecture);
    let prefix = match naming {
        Naming::HuggingFaceRoberta => "roberta.",
        Naming::HuggingFaceNomicBert => "nomic_bert.",
        _ => "bert.",
    };
    let is_scored = shape.encoder.as_ref().is_some_and(|it| it.output == EncoderOutput::Score);
    let keeps_pooler = is_scored && naming == Naming::HuggingFaceBert;
    let mut plain = HashMap::new();
    for (name, location) in found {
        let mut short = name.strip_prefix(prefix).unwrap_or(&name).to_owned();
        if short.starts_with("pooler.") && !keeps_pooler {
            continue;
        }
        if naming == Naming::HuggingFaceNomicBert {
            for (theirs, ours) in NOMIC_WORDS {
                short = short.replacen(theirs, ours, 1);
            }
        }
        if plain.insert(short, location).is_some() {
            return Err(Error::tensor(&name, "appears twice, under two names"));
        }
    }
    Ok((naming, plain))
}

/// The name that a class gives a tensor; `None` where it has no such tensor.
pub(super) fn hugging_face_name(role: TensorRole, naming: Naming) -> Option<String> {
    let is_roberta = naming == Naming::HuggingFaceRoberta;
    let fixed = match role {
        TensorRole::TokenEmbedding => "embeddings.word_embeddings.weight",
        TensorRole::PositionEmbedding => "embeddings.position_embeddings.weight",
        TensorRole::TypeEmbedding => "embeddings.token_type_embeddings.weight",
        TensorRole::EmbeddingNorm => "embeddings.LayerNorm.weight",
        TensorRole::EmbeddingNormBias => "embeddings.LayerNorm.bias",
        TensorRole::ScoreDense if is_roberta => "classifier.dense.weight",
        TensorRole::ScoreDenseBias if is_roberta => "classifier.dense.bias",
        TensorRole::Score if is_roberta => "classifier.out_proj.weight",
        TensorRole::ScoreBias if is_roberta => "classifier.out_proj.bias",
        TensorRole::ScoreDense => "pooler.dense.weight",
        TensorRole::ScoreDenseBias => "pooler.dense.bias",
        TensorRole::Score => "classifier.weight",
        TensorRole::ScoreBias => "classifier.bias",
        TensorRole::OutputNorm
        | TensorRole::Output
        | TensorRole::RopeFactors
        | TensorRole::RopeFactorsShort
        | TensorRole::RopeFactorsLong
        | TensorRole::Expert { .. } => return None,
        TensorRole::Layer { layer, part } if naming == Naming::HuggingFaceNomicBert => {
            return Some(format!("layers.{layer}.{}", nomic_part_name(part)?));
        }
        TensorRole::Layer { layer, part } => {
            return Some(format!("encoder.layer.{layer}.{}", part_name(part)?));
        }
    };
    Some(fixed.to_owned())
}

fn part_name(part: LayerPart) -> Option<&'static str> {
    Some(match part {
        LayerPart::Query => "attention.self.query.weight",
        LayerPart::QueryBias => "attention.self.query.bias",
        LayerPart::Key => "attention.self.key.weight",
        LayerPart::KeyBias => "attention.self.key.bias",
        LayerPart::Value => "attention.self.value.weight",
        LayerPart::ValueBias => "attention.self.value.bias",
        LayerPart::AttentionOutput => "attention.output.dense.weight",
        LayerPart::AttentionOutputBias => "attention.output.dense.bias",
        LayerPart::AttentionOutputNorm => "attention.output.LayerNorm.weight",
        LayerPart::AttentionOutputNormBias => "attention.output.LayerNorm.bias",
        LayerPart::FfnUp => "intermediate.dense.weight",
        LayerPart::FfnUpBias => "intermediate.dense.bias",
        LayerPart::FfnDown => "output.dense.weight",
        LayerPart::FfnDownBias => "output.dense.bias",
        LayerPart::LayerOutputNorm => "output.LayerNorm.weight",
        LayerPart::LayerOutputNormBias => "output.LayerNorm.bias",
        _ => return None,
    })
}

fn nomic_part_name(part: LayerPart) -> Option<&'static str> {
    Some(match part {
        LayerPart::Query => "self_attn.q_proj.weight",
        LayerPart::Key => "self_attn.k_proj.weight",
        LayerPart::Value => "self_attn.v_proj.weight",
        LayerPart::AttentionOutput => "self_attn.o_proj.weight",
        LayerPart::AttentionOutputNorm => "post_attention_layernorm.weight",
        LayerPart::AttentionOutputNormBias => "post_attention_layernorm.bias",
        LayerPart::FfnGate => "mlp.gate_proj.weight",
        LayerPart::FfnUp => "mlp.up_proj.weight",
        LayerPart::FfnDown => "mlp.down_proj.weight",
        LayerPart::LayerOutputNorm => "post_mlp_layernorm.weight",
        LayerPart::LayerOutputNormBias => "post_mlp_layernorm.bias",
        _ => return None,
    })
}
