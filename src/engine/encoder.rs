//! Encoder models: texts in, one vector or one score each out.
//!
//! Several texts run as one batch of rows, without padding: the matrices see all rows at once, and
//! each text attends within itself.

mod bert;
mod nomic_bert;
mod output;
mod parts;
#[cfg(test)]
mod tests;

use candle_core::Device;
use hearth_formats::{Architecture, ModelFile};

use crate::error::{Error, Result};
use crate::weights::WeightReader;
use bert::Bert;
use nomic_bert::NomicBert;
use output::Output;
use parts::{Embeddings, Rows};

/// A text, or a pair of texts, as an encoder's own tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderText {
    pub tokens: Vec<u32>,
    /// Where the second text of a pair begins.
    pub second_from: Option<usize>,
}

/// A loaded encoder.
#[derive(Debug)]
pub(crate) struct Encoder {
    embeddings: Embeddings,
    layers: Layers,
    output: Output,
    device: Device,
}

#[derive(Debug)]
enum Layers {
    Bert(Bert),
    NomicBert(NomicBert),
}

impl Encoder {
    /// Reads all weights onto a device.
    pub(crate) fn load(model: &ModelFile, device: &Device) -> Result<Encoder> {
        Encoder::load_as(model, device, device.is_cpu())
    }

    /// As above; `is_packed` says whether matrices are packed for our kernels, which work in host
    /// memory only.
    fn load_as(model: &ModelFile, device: &Device, is_packed: bool) -> Result<Encoder> {
        let shape = &model.shape;
        let Some(encoder) = &shape.encoder else {
            return Err(Error::Unsupported("it is not an encoder".into()));
        };
        let mut reader = WeightReader::open(model, device, is_packed)?;
        Ok(Encoder {
            embeddings: Embeddings::load(&mut reader, encoder, shape.rms_eps)?,
            layers: match shape.architecture {
                Architecture::NomicBert => Layers::NomicBert(NomicBert::load(&mut reader, shape)?),
                _ => Layers::Bert(Bert::load(&mut reader, shape)?),
            },
            output: Output::load(&mut reader, encoder.output)?,
            device: device.clone(),
        })
    }

    /// The vector of each text, or its score. None is empty, none longer than the context.
    pub(crate) fn forward(&self, texts: &[&EncoderText]) -> Result<Vec<Vec<f32>>> {
        let rows = Rows::of(texts);
        let x = self.embeddings.forward(&rows, &self.device)?;
        let x = match &self.layers {
            Layers::Bert(layers) => layers.forward(x, &rows)?,
            Layers::NomicBert(layers) => layers.forward(x, &rows, &self.device)?,
        };
        Ok(self.output.forward(&x, &rows)?.to_vec2()?)
    }
}
