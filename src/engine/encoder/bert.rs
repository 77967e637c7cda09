//! BERT and XLM-RoBERTa: biases everywhere, GELU, a norm behind each half of a layer. The two differ
//! in the row of the first position and in their tokenizers only.

use candle_core::Tensor;
use hearth_formats::{LayerPart as P, ModelShape};

use super::parts::{LayerReader, Rows};
use crate::error::Result;
use crate::layers::{LayerNorm, Linear, forward_all};
use crate::tensors;
use crate::weights::WeightReader;

/// The layers of a loaded model.
#[derive(Debug)]
pub(super) struct Bert {
    layers: Vec<Layer>,
    heads: usize,
}

#[derive(Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    norm: LayerNorm,
}

impl Bert {
    pub(super) fn load(reader: &mut WeightReader<'_>, shape: &ModelShape) -> Result<Bert> {
        let mut layers = Vec::with_capacity(shape.layers);
        for layer in 0..shape.layers {
            let mut part = LayerReader { reader, layer, eps: shape.rms_eps };
            layers.push(Layer {
                query: part.linear(P::Query, Some(P::QueryBias))?,
                key: part.linear(P::Key, Some(P::KeyBias))?,
                value: part.linear(P::Value, Some(P::ValueBias))?,
                attention_output: part.linear(P::AttentionOutput, Some(P::AttentionOutputBias))?,
                attention_norm: part.norm(P::AttentionOutputNorm, P::AttentionOutputNormBias)?,
                up: part.linear(P::FfnUp, Some(P::FfnUpBias))?,
                down: part.linear(P::FfnDown, Some(P::FfnDownBias))?,
                norm: part.norm(P::LayerOutputNorm, P::LayerOutputNormBias)?,
            });
        }
        Ok(Bert { layers, heads: shape.heads })
    }

    pub(super) fn forward(&self, mut x: Tensor, rows: &Rows) -> Result<Tensor> {
        for layer in &self.layers {
            let projected = forward_all(&x, [&layer.query, &layer.key, &layer.value])?;
            let attended = tensors::attend_both_ways(&projected, &rows.texts, self.heads)?;
            let attended = layer.attention_output.forward(&attended)?;
            x = layer.attention_norm.after_adding(&x, &attended)?;
            let found = layer.down.forward(&layer.up.forward_gelu(&x)?)?;
            x = layer.norm.after_adding(&x, &found)?;
        }
        Ok(x)
    }
}
