//! Encoder models: texts in, one vector each out. Only wiring; what it calls is in `layers.rs`.
//!
//! Several texts run as one batch of rows, without padding: the matrices see all rows at once, and
//! each text attends within itself.

use candle_core::{D, Device, Tensor};
use candle_nn::ops::softmax_last_dim;
use hearth_formats::{EncoderShape, LayerPart, ModelFile, Pooling, TensorRole};

use crate::error::{Error, Result};
use crate::layers::{Embedding, LayerNorm, Linear, forward_all};
use crate::weights::WeightReader;

/// A loaded encoder.
#[derive(Debug)]
pub(crate) struct Encoder {
    tokens: Embedding,
    /// The vectors of positions, each with that of token type 0 added.
    positions: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
    heads: usize,
    shape: EncoderShape,
    device: Device,
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

impl Encoder {
    /// Reads all weights onto a device.
    pub(crate) fn load(model: &ModelFile, device: &Device) -> Result<Encoder> {
        let Some(shape) = model.shape.encoder.clone() else {
            return Err(Error::Unsupported("it is not an encoder".into()));
        };
        let mut reader = WeightReader::open(model, device, device.is_cpu())?;
        let positions = reader.vector(TensorRole::PositionEmbedding)?;
        let types = reader.vector(TensorRole::TypeEmbedding)?;
        let positions = positions.broadcast_add(&types.narrow(0, 0, 1)?)?;
        let tokens = Embedding { weight: reader.matrix(TensorRole::TokenEmbedding)? };
        let eps = model.shape.rms_eps;
        let norm = LayerNorm {
            weight: reader.vector(TensorRole::EmbeddingNorm)?,
            bias: reader.vector(TensorRole::EmbeddingNormBias)?,
            eps,
        };
        let mut layers = Vec::with_capacity(model.shape.layers);
        for layer in 0..model.shape.layers {
            layers.push(Parts { reader: &mut reader, layer, eps }.layer()?);
        }
        let heads = model.shape.heads;
        Ok(Encoder { tokens, positions, norm, layers, heads, shape, device: device.clone() })
    }

    /// The vector of each text. None is empty, none longer than the table of positions.
    pub(crate) fn forward(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let ids: Vec<u32> = texts.iter().copied().flatten().copied().collect();
        let positions: Vec<u32> = texts.iter().flat_map(|text| 0..text.len() as u32).collect();
        let positions = Tensor::new(positions.as_slice(), &self.device)?;
        let x = self.tokens.forward(&ids, &self.device)?;
        let mut x = self.norm.forward(&(x + self.positions.index_select(&positions, 0)?)?)?;
        for layer in &self.layers {
            let attended = self.attend(layer, &x, texts)?;
            let attended = layer.attention_output.forward(&attended)?;
            x = layer.attention_norm.forward(&(x + attended)?)?;
            let found = layer.down.forward(&layer.up.forward(&x)?.gelu_erf()?)?;
            x = layer.norm.forward(&(x + found)?)?;
        }
        self.pool(&x, texts)
    }

    /// Each text's rows attend to all rows of that text.
    fn attend(&self, layer: &Layer, x: &Tensor, texts: &[&[u32]]) -> Result<Tensor> {
        let projected = forward_all(x, [&layer.query, &layer.key, &layer.value])?;
        let (_, width) = x.dims2()?;
        let head_dim = width / self.heads;
        let scale = 1.0 / (head_dim as f64).sqrt();
        let mut attended = Vec::with_capacity(texts.len());
        let mut start = 0;
        for text in texts {
            let rows = text.len();
            let split = |all: &Tensor| {
                let own = all.narrow(0, start, rows)?.reshape((rows, self.heads, head_dim))?;
                own.transpose(0, 1)?.contiguous()
            };
            let [query, key, value] = &projected;
            let (query, key, value) = (split(query)?, split(key)?, split(value)?);
            // [heads, rows, rows]
            let scores = (query.matmul(&key.t()?)? * scale)?;
            let mixed = softmax_last_dim(&scores)?.matmul(&value)?;
            attended.push(mixed.transpose(0, 1)?.reshape((rows, width))?);
            start += rows;
        }
        Ok(Tensor::cat(&attended, 0)?)
    }

    /// One vector of each text's rows.
    fn pool(&self, x: &Tensor, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let mut start = 0;
        let pooled = texts.iter().map(|text| {
            let rows = x.narrow(0, start, text.len())?;
            start += text.len();
            match self.shape.pooling {
                Pooling::Mean => rows.mean(0),
                Pooling::First => rows.get(0),
            }
        });
        let mut pooled = Tensor::stack(&pooled.collect::<candle_core::Result<Vec<_>>>()?, 0)?;
        if self.shape.is_normalized {
            let length = pooled.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
            // As the makers do it: a vector of nothing stays one.
            pooled = pooled.broadcast_div(&length.maximum(1e-12)?)?;
        }
        Ok(pooled.to_vec2()?)
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
        use LayerPart as P;
        Ok(Layer {
            query: self.linear(P::Query, P::QueryBias)?,
            key: self.linear(P::Key, P::KeyBias)?,
            value: self.linear(P::Value, P::ValueBias)?,
            attention_output: self.linear(P::AttentionOutput, P::AttentionOutputBias)?,
            attention_norm: self.norm(P::AttentionOutputNorm, P::AttentionOutputNormBias)?,
            up: self.linear(P::FfnUp, P::FfnUpBias)?,
            down: self.linear(P::FfnDown, P::FfnDownBias)?,
            norm: self.norm(P::LayerOutputNorm, P::LayerOutputNormBias)?,
        })
    }

    fn role(&self, part: LayerPart) -> TensorRole {
        TensorRole::Layer { layer: self.layer, part }
    }

    fn linear(&mut self, weight: LayerPart, bias: LayerPart) -> Result<Linear> {
        let bias = self.reader.vector(self.role(bias))?;
        Ok(Linear::new(self.reader.matrix(self.role(weight))?, Some(bias)))
    }

    fn norm(&mut self, weight: LayerPart, bias: LayerPart) -> Result<LayerNorm> {
        let (weight, bias) = (self.role(weight), self.role(bias));
        let weight = self.reader.vector(weight)?;
        Ok(LayerNorm { weight, bias: self.reader.vector(bias)?, eps: self.eps })
    }
}
