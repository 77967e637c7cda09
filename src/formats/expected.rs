//! The tensors that an architecture is made of, under one neutral name each, and the check that a
//! file holds exactly these.

mod decoder;
mod encoder;
mod experts;
mod fused;

use std::collections::{BTreeMap, HashMap};

use crate::architecture::{Architecture, ModelShape};
use crate::error::{Error, Result};
use crate::model_file::TensorLocation;

pub(crate) use encoder::plain_names;
pub(crate) use experts::unstack;

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
    /// As above, within the original context and beyond it (LongRoPE).
    RopeFactorsShort,
    RopeFactorsLong,
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
    /// A matrix of one expert; GGUF files have those of all experts of a layer in one tensor.
    Expert {
        layer: usize,
        expert: usize,
        part: ExpertPart,
    },
}

/// The matrices of one expert, `[out, in]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExpertPart {
    Gate,
    Up,
    Down,
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
    /// Query, key and value, one after the other; phi3.
    QueryKeyValue,
    /// `[head_dim]`, with `qk_norm` only.
    QueryNorm,
    /// `[head_dim]`, with `qk_norm` only.
    KeyNorm,
    AttentionOutput,
    FfnNorm,
    FfnGate,
    FfnUp,
    FfnDown,
    /// Gate and up, one after the other; phi3.
    FfnGateUp,
    /// Scores of the experts: `[experts, dim]`.
    Router,
    // Gemma: norms before and behind each half of a layer.
    AfterAttentionNorm,
    BeforeFfnNorm,
    AfterFfnNorm,
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

impl Naming {
    /// That of a Hugging Face folder of this architecture, once prefixes are gone.
    pub fn of_folder(architecture: Architecture) -> Naming {
        match architecture {
            Architecture::Bert => Naming::HuggingFaceBert,
            Architecture::XlmRoberta => Naming::HuggingFaceRoberta,
            Architecture::NomicBert => Naming::HuggingFaceNomicBert,
            _ => Naming::HuggingFace,
        }
    }
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
            (TensorRole::RopeFactorsShort, Naming::Gguf) => "rope_factors_short.weight",
            (TensorRole::RopeFactorsLong, Naming::Gguf) => "rope_factors_long.weight",
            (
                TensorRole::RopeFactors
                | TensorRole::RopeFactorsShort
                | TensorRole::RopeFactorsLong,
                Naming::HuggingFace,
            ) => return None,
            (TensorRole::Layer { layer, part }, Naming::Gguf) => {
                return Some(format!("blk.{layer}.{}", part.names().0));
            }
            (TensorRole::Layer { layer, part }, Naming::HuggingFace) => {
                return Some(format!("model.layers.{layer}.{}", part.names().1));
            }
            (TensorRole::Expert { layer, expert, part }, naming) => {
                return Some(experts::file_name(naming, layer, expert, part));
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
            LayerPart::QueryKeyValue => ("attn_qkv.weight", "self_attn.qkv_proj.weight"),
            LayerPart::FfnGateUp => ("ffn_up.weight", "mlp.gate_up_proj.weight"),
            LayerPart::Router => ("ffn_gate_inp.weight", "mlp.gate.weight"),
            LayerPart::AfterAttentionNorm => {
                ("post_attention_norm.weight", "post_attention_layernorm.weight")
            }
            LayerPart::BeforeFfnNorm => ("ffn_norm.weight", "pre_feedforward_layernorm.weight"),
            LayerPart::AfterFfnNorm => {
                ("post_ffw_norm.weight", "post_feedforward_layernorm.weight")
            }
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
    match &shape.encoder {
        Some(encoder) => encoder::expected(shape, encoder),
        None => decoder::expected(shape),
    }
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
