//! nomic-bert: BERT with rotated queries and keys, a SwiGLU gate and no biases.

use candle_core::{Device, Tensor};
use hearth_formats::{LayerPart as P, ModelShape};

use super::parts::{LayerReader, Rows};
use crate::error::Result;
use crate::layers::{LayerNorm, Linear, forward_all};
use crate::rope::Rope;
use crate::tensors;
use crate::weights::WeightReader;

/// The layers of a loaded model.
#[derive(Debug)]
pub(super) struct NomicBert {
    layers: Vec<Layer>,
    heads: usize,
    rope: Rope,
}

#[derive(Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
    norm: LayerNorm,
}

impl NomicBert {
    pub(super) fn load(reader: &mut WeightReader<'_>, shape: &ModelShape) -> Result<NomicBert> {
        let mut layers = Vec::with_capacity(shape.layers);
        for layer in 0..shape.layers {
            let mut part = LayerReader { reader, layer, eps: shape.rms_eps };
            layers.push(Layer {
                query: part.linear(P::Query, None)?,
                key: part.linear(P::Key, None)?,
                value: part.linear(P::Value, None)?,
                attention_output: part.linear(P::AttentionOutput, None)?,
                attention_norm: part.norm(P::AttentionOutputNorm, P::AttentionOutputNormBias)?,
                gate: part.linear(P::FfnGate, None)?,
                up: part.linear(P::FfnUp, None)?,
                down: part.linear(P::FfnDown, None)?,
                norm: part.norm(P::LayerOutputNorm, P::LayerOutputNormBias)?,
            });
        }
        Ok(NomicBert { layers, heads: shape.heads, rope: Rope::new(shape, &[])? })
    }

    pub(super) fn forward(&self, mut x: Tensor, rows: &Rows, device: &Device) -> Result<Tensor> {
        let angles = self.rope.angles(&rows.positions, device)?;
        for layer in &self.layers {
            let [query, key, value] = forward_all(&x, [&layer.query, &layer.key, &layer.value])?;
            let turned = [angles.turn(&query)?, angles.turn(&key)?, value];
            let attended = tensors::attend_both_ways(&turned, &rows.texts, self.heads)?;
            let attended = layer.attention_output.forward(&attended)?;
            x = layer.attention_norm.after_adding(&x, &attended)?;
            let [gate, up] = forward_all(&x, [&layer.gate, &layer.up])?;
            let found = layer.down.forward(&tensors::swiglu(&gate, &up)?)?;
            x = layer.norm.after_adding(&x, &found)?;
        }
        Ok(x)
    }
}
