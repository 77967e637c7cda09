//! The families of decoders: which tensors fill a layer's parts. One file for each.

mod gemma;
mod llama;
mod phi3;
mod qwen3moe;

use std::ops::Range;

use hearth_formats::{Architecture, LayerPart, ModelFile, ModelFormat, TensorRole};

use crate::block::Block;
use crate::error::{Error, Result};
use crate::layers::{Linear, RmsNorm};
use crate::weights::WeightReader;

/// Reads the parts of one layer.
pub(crate) struct Parts<'a, 'b> {
    pub(crate) reader: &'a WeightReader<'b>,
    pub(crate) model: &'a ModelFile,
    pub(crate) layer: usize,
}

impl Parts<'_, '_> {
    /// The layer, as its family has it.
    pub(crate) fn block(&self) -> Result<Block> {
        match self.model.shape.architecture {
            Architecture::Llama | Architecture::Qwen2 | Architecture::Qwen3 => llama::block(self),
            Architecture::Qwen3Moe => qwen3moe::block(self),
            Architecture::Gemma2 | Architecture::Gemma3 => gemma::block(self),
            Architecture::Phi3 => phi3::block(self),
            Architecture::Bert | Architecture::XlmRoberta | Architecture::NomicBert => {
                Err(Error::Unsupported("an encoder writes no text".into()))
            }
        }
    }

    fn role(&self, part: LayerPart) -> TensorRole {
        TensorRole::Layer { layer: self.layer, part }
    }

    fn norm(&self, part: LayerPart) -> Result<RmsNorm> {
        self.norm_of(self.role(part))
    }

    /// A norm of the layer or of the whole.
    pub(crate) fn norm_of(&self, role: TensorRole) -> Result<RmsNorm> {
        let mut weight = self.reader.vector(role)?;
        // Gemma's own files have what is to be added to 1; GGUF files have the sum.
        let is_own = self.model.format == ModelFormat::Safetensors;
        if is_own && self.model.shape.architecture.is_gemma() {
            weight = (weight + 1.0)?;
        }
        Ok(RmsNorm { weight, eps: self.model.shape.rms_eps })
    }

    /// The norms of queries and of keys, if the model has them.
    fn head_norms(&self) -> Result<Option<(RmsNorm, RmsNorm)>> {
        match self.model.shape.decoder.qk_norm {
            true => Ok(Some((self.norm(LayerPart::QueryNorm)?, self.norm(LayerPart::KeyNorm)?))),
            false => Ok(None),
        }
    }

    fn linear(&self, part: LayerPart) -> Result<Linear> {
        Ok(Linear::new(self.reader.matrix(self.role(part))?, None))
    }

    /// A matrix and its bias, if the model has one.
    fn biased(&self, part: LayerPart, bias: LayerPart) -> Result<Linear> {
        let weight = self.reader.matrix(self.role(part))?;
        let role = self.role(bias);
        let bias = self.reader.has(role).then(|| self.reader.vector(role)).transpose()?;
        Ok(Linear::new(weight, bias))
    }

    /// Some rows of a matrix that holds several.
    fn rows(&self, part: LayerPart, rows: Range<usize>) -> Result<Linear> {
        Ok(Linear::new(self.reader.rows(self.role(part), rows)?, None))
    }
}
