//! The tensors that an architecture is made of, under one neutral name each, and the check that a
//! file holds exactly these.

mod encoder;
mod fused;

use std::collections::{BTreeMap, HashMap};

use crate::architecture::ModelShape;
use crate::error::{Error, Result};
use crate::model_file::TensorLocation;

pub(crate) use encoder::plain_names;

/// What a tensor is for, whatever its file calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TensorRole {
    /// `[vocab, dim]`
    TokenEmbedding,
    /// `[dim]`
    OutputNorm,
    /// `[vocab, dim]`; absent when embeddings are tied.
    Output,
    /// `[rope.dim / 2]`: frequency divisors that some GGUF files carry (Llama 3.1); optional.
    RopeFactors,
    /// `[positions, dim]`; encoders.
    PositionEmbedding,
    /// `[token_types, dim]`; encoders.
    TypeEmbedding,
    /// `[dim]`; encoders.
    EmbeddingNorm,
    /// `[dim]`; encoders.
    EmbeddingNormBias,
    /// `[dim, dim]`; encoders that score, as the three below.
    ScoreDense,
    /// `[dim]`
    ScoreDenseBias,
    /// `[1, dim]`
    Score,
    /// `[1]`
    ScoreBias,
    Layer {
        layer: usize,
        part: LayerPart,
    },
}

/// The parts of one layer; matrices are `[out, in]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerPart {
    AttentionNorm,
    Query,
    Key,
    Value,
    QueryBias,
    KeyBias,
    ValueBias,
    /// `[head_dim]`, with `qk_norm` only.
    QueryNorm,
    /// `[head_dim]`, with `qk_norm` only.
    KeyNorm,
    AttentionOutput,
    FfnNorm,
    FfnGate,
    FfnUp,
    FfnDown,
    // Encoders: biases everywhere, and norms behind each half of a layer.
    AttentionOutputBias,
    AttentionOutputNorm,
    AttentionOutputNormBias,
    FfnUpBias,
    FfnDownBias,
    LayerOutputNorm,
    LayerOutputNormBias,
}

/// Whose names a file uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    Gguf,
    HuggingFace,
    /// Those of `BertModel`, without a `bert.` before them.
    HuggingFaceBert,
    /// Those of `XLMRobertaModel`, without a `roberta.` before them.
    HuggingFaceRoberta,
    HuggingFaceNomicBert,
}

/// One tensor that a model has, or may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub role: TensorRole,
    /// Outermost dimension first.
    pub shape: Vec<u64>,
    pub optional: bool,
}

impl TensorRole {
    /// The name in files of this naming; `None` where no such tensor exists there.
    pub fn file_name(self, naming: Naming) -> Option<String> {
        let fixed = match (self, naming) {
            (
                role,
                Naming::HuggingFaceBert | Naming::HuggingFaceRoberta | Naming::HuggingFaceNomicBert,
            ) => return encoder::hugging_face_name(role, naming),
            (TensorRole::ScoreDense, Naming::Gguf) => "cls.weight",
            (TensorRole::ScoreDenseBias, Naming::Gguf) => "cls.bias",
            (TensorRole::Score, Naming::Gguf) => "cls.output.weight",
            (TensorRole::ScoreBias, Naming::Gguf) => "cls.output.bias",
            (TensorRole::PositionEmbedding, Naming::Gguf) => "position_embd.weight",
            (TensorRole::TypeEmbedding, Naming::Gguf) => "token_types.weight",
            (TensorRole::EmbeddingNorm, Naming::Gguf) => "token_embd_norm.weight",
            (TensorRole::EmbeddingNormBias, Naming::Gguf) => "token_embd_norm.bias",
            (
                TensorRole::PositionEmbedding
                | TensorRole::TypeEmbedding
                | TensorRole::EmbeddingNorm
                | TensorRole::EmbeddingNormBias
                | TensorRole::ScoreDense
                | TensorRole::ScoreDenseBias
                | TensorRole::Score
                | TensorRole::ScoreBias,
                Naming::HuggingFace,
            ) => return None,
            (TensorRole::TokenEmbedding, Naming::Gguf) => "token_embd.weight",
            (TensorRole::TokenEmbedding, Naming::HuggingFace) => "model.embed_tokens.weight",
            (TensorRole::OutputNorm, Naming::Gguf) => "output_norm.weight",
            (TensorRole::OutputNorm, Naming::HuggingFace) => "model.norm.weight",
            (TensorRole::Output, Naming::Gguf) => "output.weight",
            (TensorRole::Output, Naming::HuggingFace) => "lm_head.weight",
            (TensorRole::RopeFactors, Naming::Gguf) => "rope_freqs.weight",
            (TensorRole::RopeFactors, Naming::HuggingFace) => return None,
            (TensorRole::Layer { layer, part }, Naming::Gguf) => {
                return Some(format!("blk.{layer}.{}", part.names().0));
            }
            (TensorRole::Layer { layer, part }, Naming::HuggingFace) => {
                return Some(format!("model.layers.{layer}.{}", part.names().1));
            }
        };
        Some(fixed.to_string())
    }
}

impl LayerPart {
    /// The name within a layer: in GGUF, in Hugging Face files.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            LayerPart::AttentionNorm => ("attn_norm.weight", "input_layernorm.weight"),
            LayerPart::Query => ("attn_q.weight", "self_attn.q_proj.weight"),
            LayerPart::Key => ("attn_k.weight", "self_attn.k_proj.weight"),
            LayerPart::Value => ("attn_v.weight", "self_attn.v_proj.weight"),
            LayerPart::QueryBias => ("attn_q.bias", "self_attn.q_proj.bias"),
            LayerPart::KeyBias => ("attn_k.bias", "self_attn.k_proj.bias"),
            LayerPart::ValueBias => ("attn_v.bias", "self_attn.v_proj.bias"),
            LayerPart::QueryNorm => ("attn_q_norm.weight", "self_attn.q_norm.weight"),
            LayerPart::KeyNorm => ("attn_k_norm.weight", "self_attn.k_norm.weight"),
            LayerPart::AttentionOutput => ("attn_output.weight", "self_attn.o_proj.weight"),
            LayerPart::FfnNorm => ("ffn_norm.weight", "post_attention_layernorm.weight"),
            LayerPart::FfnGate => ("ffn_gate.weight", "mlp.gate_proj.weight"),
            LayerPart::FfnUp => ("ffn_up.weight", "mlp.up_proj.weight"),
            LayerPart::FfnDown => ("ffn_down.weight", "mlp.down_proj.weight"),
            LayerPart::AttentionOutputBias => ("attn_output.bias", "self_attn.o_proj.bias"),
            LayerPart::FfnUpBias => ("ffn_up.bias", "mlp.up_proj.bias"),
            LayerPart::FfnDownBias => ("ffn_down.bias", "mlp.down_proj.bias"),
            // Encoders' own, whose other names are `encoder::hugging_face_name`.
            LayerPart::AttentionOutputNorm => ("attn_output_norm.weight", ""),
            LayerPart::AttentionOutputNormBias => ("attn_output_norm.bias", ""),
            LayerPart::LayerOutputNorm => ("layer_output_norm.weight", ""),
            LayerPart::LayerOutputNormBias => ("layer_output_norm.bias", ""),
        }
    }
}

/// Every tensor of a model of this shape, in the order in which a forward pass meets them.
pub fn expected(shape: &ModelShape) -> Vec<Expected> {
    if let Some(encoder) = &shape.encoder {
        return encoder::expected(shape, encoder);
    }
    let required = |role, shape: &[usize]| Expected {
        role,
        shape: shape.iter().map(|&dim| dim as u64).collect(),
        optional: false,
    };
    let optional = |role, shape: &[usize]| Expected { optional: true, ..required(role, shape) };
    let mut all = vec![required(TensorRole::TokenEmbedding, &[shape.vocab, shape.dim])];
    all.push(optional(TensorRole::RopeFactors, &[shape.rope.dim / 2]));
    for layer in 0..shape.layers {
        for (part, dims) in layer_parts(shape) {
            all.push(required(TensorRole::Layer { layer, part }, &dims));
        }
    }
    all.push(required(TensorRole::OutputNorm, &[shape.dim]));
    let output = [shape.vocab, shape.dim];
    // Exporters may write the tied matrix a second time; it is then checked and left unused.
    all.push(if shape.tied_embeddings {
        optional(TensorRole::Output, &output)
    } else {
        required(TensorRole::Output, &output)
    });
    all
}

fn layer_parts(shape: &ModelShape) -> Vec<(LayerPart, Vec<usize>)> {
    let (dim, ffn) = (shape.dim, shape.ffn_dim);
    let (query, kv) = (shape.query_dim(), shape.kv_dim());
    let mut parts = vec![
        (LayerPart::AttentionNorm, vec![dim]),
        (LayerPart::Query, vec![query, dim]),
        (LayerPart::Key, vec![kv, dim]),
        (LayerPart::Value, vec![kv, dim]),
    ];
    if shape.qkv_bias {
        parts.push((LayerPart::QueryBias, vec![query]));
        parts.push((LayerPart::KeyBias, vec![kv]));
        parts.push((LayerPart::ValueBias, vec![kv]));
    }
    if shape.qk_norm {
        parts.push((LayerPart::QueryNorm, vec![shape.head_dim]));
        parts.push((LayerPart::KeyNorm, vec![shape.head_dim]));
    }
    parts.extend([
        (LayerPart::AttentionOutput, vec![dim, query]),
        (LayerPart::FfnNorm, vec![dim]),
        (LayerPart::FfnGate, vec![ffn, dim]),
        (LayerPart::FfnUp, vec![ffn, dim]),
        (LayerPart::FfnDown, vec![dim, ffn]),
    ]);
    parts
}

/// Matches a file's tensors with the expected ones: none missing, none misshapen, none left over.
pub(crate) fn check(
    shape: &ModelShape,
    naming: Naming,
    mut found: HashMap<String, TensorLocation>,
) -> Result<BTreeMap<TensorRole, TensorLocation>> {
    if shape.encoder.is_some() {
        fused::split(shape, naming, &mut found)?;
    }
    let mut tensors = BTreeMap::new();
    for expected in expected(shape) {
        let Some(name) = expected.role.file_name(naming) else { continue };
        let Some(location) = found.remove(&name) else {
            if expected.optional {
                continue;
            }
            let problem = format!("is missing; shape {:?} expected", expected.shape);
            return Err(Error::tensor(&name, problem));
        };
        if location.shape != expected.shape {
            let problem =
                format!("shape {:?} expected, {:?} found", expected.shape, location.shape);
            return Err(Error::tensor(&name, problem));
        }
        tensors.insert(expected.role, location);
    }
    // Old exports store the rotation table, which follows from theta; anything else that is left
    // would change the model's output if it were dropped.
    found.retain(|name, _| !name.ends_with(".rotary_emb.inv_freq"));
    match found.keys().min() {
        None => Ok(tensors),
        Some(name) => {
            let problem = format!("is not part of a {} model of this shape", shape.architecture);
            Err(Error::tensor(name, problem))
        }
    }
}
