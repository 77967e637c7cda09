//! The tensors of a decoder, family by family.

use crate::architecture::{Architecture, ModelShape, RopeScaling};
use crate::expected::{Expected, ExpertPart, LayerPart, TensorRole};

/// Every tensor of a decoder of this shape, in the order in which a forward pass meets them.
pub(super) fn expected(shape: &ModelShape) -> Vec<Expected> {
    let required = |role, shape: &[usize]| Expected {
        role,
        shape: shape.iter().map(|&dim| dim as u64).collect(),
        optional: false,
    };
    let optional = |role, shape: &[usize]| Expected { optional: true, ..required(role, shape) };
    let mut all = vec![required(TensorRole::TokenEmbedding, &[shape.vocab, shape.dim])];
    let pairs = shape.rope.dim / 2;
    all.push(optional(TensorRole::RopeFactors, &[pairs]));
    if let Some(RopeScaling::LongRope(_)) = shape.rope.scaling {
        all.push(required(TensorRole::RopeFactorsShort, &[pairs]));
        all.push(required(TensorRole::RopeFactorsLong, &[pairs]));
    }
    for layer in 0..shape.layers {
        for (part, dims) in layer_parts(shape) {
            all.push(required(TensorRole::Layer { layer, part }, &dims));
        }
        let (dim, ffn) = (shape.dim, shape.ffn_dim);
        for expert in 0..shape.decoder.experts.map_or(0, |experts| experts.count) {
            let role = |part| TensorRole::Expert { layer, expert, part };
            all.push(required(role(ExpertPart::Gate), &[ffn, dim]));
            all.push(required(role(ExpertPart::Up), &[ffn, dim]));
            all.push(required(role(ExpertPart::Down), &[dim, ffn]));
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
    let mut parts = attention_parts(shape);
    let (dim, ffn) = (shape.dim, shape.ffn_dim);
    match shape.architecture {
        Architecture::Gemma2 | Architecture::Gemma3 => parts.extend([
            (LayerPart::AfterAttentionNorm, vec![dim]),
            (LayerPart::BeforeFfnNorm, vec![dim]),
            (LayerPart::AfterFfnNorm, vec![dim]),
        ]),
        _ => parts.push((LayerPart::FfnNorm, vec![dim])),
    }
    match (shape.architecture, shape.decoder.experts) {
        (_, Some(experts)) => parts.push((LayerPart::Router, vec![experts.count, dim])),
        (Architecture::Phi3, None) => parts.extend([
            (LayerPart::FfnGateUp, vec![2 * ffn, dim]),
            (LayerPart::FfnDown, vec![dim, ffn]),
        ]),
        _ => parts.extend([
            (LayerPart::FfnGate, vec![ffn, dim]),
            (LayerPart::FfnUp, vec![ffn, dim]),
            (LayerPart::FfnDown, vec![dim, ffn]),
        ]),
    }
    parts
}

fn attention_parts(shape: &ModelShape) -> Vec<(LayerPart, Vec<usize>)> {
    let (dim, query, kv) = (shape.dim, shape.query_dim(), shape.kv_dim());
    let mut parts = vec![(LayerPart::AttentionNorm, vec![dim])];
    match shape.architecture {
        Architecture::Phi3 => {
            parts.push((LayerPart::QueryKeyValue, vec![query + 2 * kv, dim]));
        }
        _ => parts.extend([
            (LayerPart::Query, vec![query, dim]),
            (LayerPart::Key, vec![kv, dim]),
            (LayerPart::Value, vec![kv, dim]),
        ]),
    }
    if shape.qkv_bias {
        parts.push((LayerPart::QueryBias, vec![query]));
        parts.push((LayerPart::KeyBias, vec![kv]));
        parts.push((LayerPart::ValueBias, vec![kv]));
    }
    if shape.decoder.qk_norm {
        parts.push((LayerPart::QueryNorm, vec![shape.head_dim]));
        parts.push((LayerPart::KeyNorm, vec![shape.head_dim]));
    }
    parts.push((LayerPart::AttentionOutput, vec![dim, query]));
    parts
}
