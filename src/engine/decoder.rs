//! A decoder-only transformer: llama, qwen2 and qwen3 are one wiring over shared layers.
//!
//! What differs between them (biases, norms of queries and keys, pairing of the rotation) is data
//! in the model's shape and file; see `weights.rs` and `rope.rs`.

use candle_core::{Device, Tensor};
use hearth_formats::{Architecture, LayerPart, ModelFile, TensorRole};

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::kv::{KvCache, Projected};
use crate::layers::{Embedding, Linear, RmsNorm, forward_all};
use crate::rope::{Angles, Rope};
use crate::tensors;
use crate::weights::WeightReader;

/// A loaded model; the same for all sequences.
#[derive(Debug)]
pub(crate) struct Decoder {
    embedding: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
    output: Linear,
    rope: Rope,
    device: Device,
}

#[derive(Debug)]
struct Layer {
    attention_norm: RmsNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    /// Of queries and of keys, head by head; qwen3.
    head_norms: Option<(RmsNorm, RmsNorm)>,
    attention_output: Linear,
    ffn_norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Decoder {
    /// Reads all weights onto a device.
    pub(crate) fn load(model: &ModelFile, device: &Device) -> Result<Decoder> {
        Decoder::load_as(model, device, device.is_cpu())
    }

    /// As above; `is_packed` says whether matrices are packed for our kernels, which work in host
    /// memory only. Tests leave them to candle there too, to try what runs on other devices.
    pub(crate) fn load_as(model: &ModelFile, device: &Device, is_packed: bool) -> Result<Decoder> {
        let shape = &model.shape;
        let is_plain = matches!(
            shape.architecture,
            Architecture::Llama | Architecture::Qwen2 | Architecture::Qwen3
        );
        if !is_plain || shape.decoder.window.is_some() {
            return Err(Error::Unsupported(format!("this kind of {}", shape.architecture)));
        }
        let mut reader = WeightReader::open(model, device, is_packed)?;
        let divisors = match reader.has(TensorRole::RopeFactors) {
            true => reader.vector(TensorRole::RopeFactors)?.to_vec1::<f32>()?,
            false => Vec::new(),
        };
        let rope = Rope::new(shape, &divisors)?;
        let embedding = reader.matrix(TensorRole::TokenEmbedding)?;
        let output = match shape.tied_embeddings {
            true => embedding.clone(),
            false => reader.matrix(TensorRole::Output)?,
        };
        let mut layers = Vec::with_capacity(shape.layers);
        for layer in 0..shape.layers {
            layers.push(Parts { reader: &mut reader, layer, eps: shape.rms_eps }.layer()?);
        }
        let weight = reader.vector(TensorRole::OutputNorm)?;
        Ok(Decoder {
            embedding: Embedding { weight: embedding },
            layers,
            norm: RmsNorm { weight, eps: shape.rms_eps },
            output: Linear::new(output, None),
            rope,
            device: device.clone(),
        })
    }

    /// Runs the batch's rows and gives the logits of those that want them, `[logit_rows, vocab]`
    /// in host memory; `None` when no row does.
    pub(crate) fn forward(&self, batch: &Batch, kv: &mut dyn KvCache) -> Result<Option<Tensor>> {
        let angles = self.rope.angles(&batch.positions, &self.device)?;
        let mut x = self.embedding.forward(&batch.tokens, &self.device)?;
        // What the layer before has found and is not yet added to x.
        let mut found: Option<Tensor> = None;
        for (index, layer) in self.layers.iter().enumerate() {
            let normed = match &found {
                None => layer.attention_norm.forward(&x)?,
                Some(found) => {
                    let normed;
                    [x, normed] = layer.attention_norm.after_adding(&x, found)?;
                    normed
                }
            };
            let rows = layer.project(&normed, &angles)?;
            let attended = kv.attend(index, &rows, batch)?;
            let attended = layer.attention_output.forward(&attended)?;
            let normed;
            [x, normed] = layer.ffn_norm.after_adding(&x, &attended)?;
            found = Some(layer.feed_forward(&normed)?);
        }
        if batch.logit_rows.is_empty() {
            return Ok(None);
        }
        if let Some(found) = found {
            x = (x + found)?;
        }
        let wanted = Tensor::new(batch.logit_rows.as_slice(), &self.device)?;
        let x = self.norm.forward(&x.index_select(&wanted, 0)?)?;
        Ok(Some(self.output.forward(&x)?.to_device(&Device::Cpu)?))
    }
}

impl Layer {
    /// Queries, keys and values of normed rows.
    fn project(&self, x: &Tensor, angles: &Angles) -> candle_core::Result<Projected> {
        let [mut query, mut key, value] = forward_all(x, [&self.query, &self.key, &self.value])?;
        if let Some((query_norm, key_norm)) = &self.head_norms {
            query = query_norm.forward(&query)?;
            key = key_norm.forward(&key)?;
        }
        Ok(Projected { query: angles.turn(&query)?, key: angles.turn(&key)?, value })
    }

    /// Of normed rows.
    fn feed_forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let [gate, up] = forward_all(x, [&self.gate, &self.up])?;
        self.down.forward(&tensors::swiglu(&gate, &up)?)
    }
}

/// Reads the parts of one layer.
struct Parts<'a, 'b> {
    reader: &'a mut WeightReader<'b>,
    layer: usize,
    eps: f32,
}

impl Parts<'_, '_> {
    fn layer(&mut self) -> Result<Layer> {
        let has_norms = self.reader.has(self.role(LayerPart::QueryNorm));
        Ok(Layer {
            attention_norm: self.norm(LayerPart::AttentionNorm)?,
            query: self.linear(LayerPart::Query, Some(LayerPart::QueryBias))?,
            key: self.linear(LayerPart::Key, Some(LayerPart::KeyBias))?,
            value: self.linear(LayerPart::Value, Some(LayerPart::ValueBias))?,
            head_norms: match has_norms {
                true => Some((self.norm(LayerPart::QueryNorm)?, self.norm(LayerPart::KeyNorm)?)),
                false => None,
            },
            attention_output: self.linear(LayerPart::AttentionOutput, None)?,
            ffn_norm: self.norm(LayerPart::FfnNorm)?,
            gate: self.linear(LayerPart::FfnGate, None)?,
            up: self.linear(LayerPart::FfnUp, None)?,
            down: self.linear(LayerPart::FfnDown, None)?,
        })
    }

    fn role(&self, part: LayerPart) -> TensorRole {
        TensorRole::Layer { layer: self.layer, part }
    }

    fn norm(&mut self, part: LayerPart) -> Result<RmsNorm> {
        Ok(RmsNorm { weight: self.reader.vector(self.role(part))?, eps: self.eps })
    }

    /// A matrix and its bias, if the model has one.
    fn linear(&mut self, part: LayerPart, bias: Option<LayerPart>) -> Result<Linear> {
        let weight = self.reader.matrix(self.role(part))?;
        let bias = match bias.map(|bias| self.role(bias)) {
            Some(role) if self.reader.has(role) => Some(self.reader.vector(role)?),
            _ => None,
        };
        Ok(Linear::new(weight, bias))
    }
}
