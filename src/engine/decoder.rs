//! A decoder-only transformer: embedding, layers, norm, logits.
//!
//! This file is only wiring. What families differ in is in the model's shape and in
//! `families.rs`; what a layer computes is in `block.rs`.

use candle_core::{Device, Tensor};
use hearth_formats::{ModelFile, RopeScaling, TensorRole};

use crate::batch::Batch;
use crate::block::Block;
use crate::error::Result;
use crate::families::Parts;
use crate::kv::KvCache;
use crate::layers::{Embedding, Linear, RmsNorm};
use crate::rope::Rope;
use crate::tensors;
use crate::weights::WeightReader;

/// A loaded model; the same for all sequences.
#[derive(Debug)]
pub(crate) struct Decoder {
    embedding: Embedding,
    /// What rows of the embedding are multiplied with; gemma.
    embedding_scale: Option<f64>,
    blocks: Vec<Block>,
    norm: RmsNorm,
    output: Linear,
    logit_softcap: Option<f32>,
    rope: Rope,
    /// How positions turn in layers with a window, if otherwise than in the rest.
    local_rope: Option<Rope>,
    /// Whether each layer has a window.
    is_windowed: Vec<bool>,
    device: Device,
}

/// How a decoder is loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loading {
    /// Matrices are packed for our kernels, which work in host memory only. Tests leave them to
    /// candle there too, to try what runs on other devices.
    pub(crate) is_packed: bool,
    /// The longest context that the model will be run with.
    pub(crate) context_tokens: usize,
}

impl Decoder {
    /// Reads all weights onto a device.
    pub(crate) fn load(model: &ModelFile, device: &Device, loading: Loading) -> Result<Decoder> {
        let shape = &model.shape;
        let reader = WeightReader::open(model, device, loading.is_packed)?;
        let divisors = divisors(model, &reader, loading.context_tokens)?;
        let rope = Rope::new(&shape.rope, shape.head_dim, &divisors)?;
        let window = shape.decoder.window.as_ref();
        let local_rope = match window.and_then(|window| window.rope.as_ref()) {
            Some(rope) => Some(Rope::new(rope, shape.head_dim, &[])?),
            None => None,
        };
        let embedding = reader.matrix(TensorRole::TokenEmbedding)?;
        let output = match shape.tied_embeddings {
            true => embedding.clone(),
            false => reader.matrix(TensorRole::Output)?,
        };
        let parts = |layer| Parts { reader: &reader, model, layer };
        let blocks = (0..shape.layers).map(|layer| parts(layer).block());
        Ok(Decoder {
            embedding: Embedding { weight: embedding },
            embedding_scale: shape.architecture.is_gemma().then(|| (shape.dim as f64).sqrt()),
            blocks: blocks.collect::<Result<_>>()?,
            norm: parts(0).norm_of(TensorRole::OutputNorm)?,
            output: Linear::new(output, None),
            logit_softcap: shape.decoder.logit_softcap,
            rope,
            local_rope,
            is_windowed: window.map(|window| window.layers.clone()).unwrap_or_default(),
            device: device.clone(),
        })
    }

    /// Runs the batch's rows and gives the logits of those that want them, `[logit_rows, vocab]`
    /// in host memory; `None` when no row does.
    pub(crate) fn forward(&self, batch: &Batch, kv: &mut dyn KvCache) -> Result<Option<Tensor>> {
        let angles = self.rope.angles(&batch.positions, &self.device)?;
        let local = self.local_rope.as_ref();
        let local = local.map(|rope| rope.angles(&batch.positions, &self.device)).transpose()?;
        let mut x = self.embedding.forward(&batch.tokens, &self.device)?;
        if let Some(scale) = self.embedding_scale {
            x = (x * scale)?;
        }
        // What the layer before has found and is not yet added to x.
        let mut found = None;
        for (index, block) in self.blocks.iter().enumerate() {
            let angles = match &local {
                Some(local) if self.is_windowed.get(index) == Some(&true) => local,
                _ => &angles,
            };
            let attend = |rows: &_| kv.attend(index, rows, batch);
            let new;
            [x, new] = block.forward(x, found, angles, attend)?;
            found = Some(new);
        }
        if batch.logit_rows.is_empty() {
            return Ok(None);
        }
        if let Some(found) = found {
            x = (x + found)?;
        }
        let wanted = Tensor::new(batch.logit_rows.as_slice(), &self.device)?;
        let x = self.norm.forward(&x.index_select(&wanted, 0)?)?;
        let mut logits = self.output.forward(&x)?;
        if let Some(cap) = self.logit_softcap {
            logits = tensors::softcap(&logits, cap)?;
        }
        Ok(Some(logits.to_device(&Device::Cpu)?))
    }
}

/// What the file divides each frequency by; empty for none.
///
/// LongRoPE has two sets: one that is best within the original context, and one that reaches
/// beyond it. Cached keys must have been turned by one of them alone, so the choice is the
/// model's, by the context it will be run with, and not the sequence's.
fn divisors(model: &ModelFile, reader: &WeightReader, context_tokens: usize) -> Result<Vec<f32>> {
    let vector = |role| -> Result<Vec<f32>> {
        match reader.has(role) {
            true => Ok(reader.vector(role)?.to_vec1::<f32>()?),
            false => Ok(Vec::new()),
        }
    };
    let Some(RopeScaling::LongRope(scaling)) = &model.shape.rope.scaling else {
        return vector(TensorRole::RopeFactors);
    };
    let (role, listed) = match context_tokens > scaling.original_context_tokens {
        true => (TensorRole::RopeFactorsLong, &scaling.long),
        false => (TensorRole::RopeFactorsShort, &scaling.short),
    };
    if listed.is_empty() { vector(role) } else { Ok(listed.clone()) }
}
