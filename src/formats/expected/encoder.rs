//! The tensors of an encoder, and what `BertModel` calls them.

use crate::architecture::{EncoderShape, ModelShape};
use crate::expected::{Expected, LayerPart, TensorRole};

/// Every tensor of an encoder of this shape, in the order in which a forward pass meets them.
pub(super) fn expected(shape: &ModelShape, encoder: &EncoderShape) -> Vec<Expected> {
    let required = |role, shape: &[usize]| Expected {
        role,
        shape: shape.iter().map(|&dim| dim as u64).collect(),
        optional: false,
    };
    let (dim, ffn) = (shape.dim, shape.ffn_dim);
    let mut all = vec![
        required(TensorRole::TokenEmbedding, &[shape.vocab, dim]),
        required(TensorRole::PositionEmbedding, &[encoder.positions, dim]),
        required(TensorRole::TypeEmbedding, &[encoder.token_types, dim]),
        required(TensorRole::EmbeddingNorm, &[dim]),
        required(TensorRole::EmbeddingNormBias, &[dim]),
    ];
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
    for layer in 0..shape.layers {
        let role = |part| TensorRole::Layer { layer, part };
        for (weight, bias, outputs, inputs) in matrices {
            all.push(required(role(weight), &[outputs, inputs]));
            all.push(required(role(bias), &[outputs]));
        }
        all.extend(norms.map(|norm| required(role(norm), &[dim])));
    }
    all
}

/// The name that `BertModel` gives a tensor; `None` where it has no such tensor.
pub(super) fn hugging_face_name(role: TensorRole) -> Option<String> {
    let fixed = match role {
        TensorRole::TokenEmbedding => "embeddings.word_embeddings.weight",
        TensorRole::PositionEmbedding => "embeddings.position_embeddings.weight",
        TensorRole::TypeEmbedding => "embeddings.token_type_embeddings.weight",
        TensorRole::EmbeddingNorm => "embeddings.LayerNorm.weight",
        TensorRole::EmbeddingNormBias => "embeddings.LayerNorm.bias",
        TensorRole::OutputNorm
        | TensorRole::Output
        | TensorRole::RopeFactors
        | TensorRole::RopeFactorsShort
        | TensorRole::RopeFactorsLong
        | TensorRole::Expert { .. } => return None,
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
        LayerPart::AttentionNorm
        | LayerPart::QueryKeyValue
        | LayerPart::QueryNorm
        | LayerPart::KeyNorm
        | LayerPart::FfnNorm
        | LayerPart::FfnGate
        | LayerPart::FfnGateUp
        | LayerPart::Router
        | LayerPart::AfterAttentionNorm
        | LayerPart::BeforeFfnNorm
        | LayerPart::AfterFfnNorm => return None,
    })
}
