//! What the families of encoders share: the rows of a batch, their embeddings, the reading of
//! layers.

use std::ops::Range;

use candle_core::{Device, Tensor};
use hearth_formats::{EncoderShape, LayerPart, TensorRole};

use super::EncoderText;
use crate::error::Result;
use crate::layers::{Embedding, LayerNorm, Linear};
use crate::weights::WeightReader;

/// The tokens of a batch of texts, one row each.
pub(super) struct Rows {
    pub(super) tokens: Vec<u32>,
    /// Within each text, from 0.
    pub(super) positions: Vec<u32>,
    /// 1 for the second text of a pair, else 0.
    types: Vec<u32>,
    /// Which rows each text has.
    pub(super) texts: Vec<Range<usize>>,
}

/// Tokens, and where they stand, to rows.
#[derive(Debug)]
pub(super) struct Embeddings {
    tokens: Embedding,
    /// Learned positions, and the row of the first.
    positions: Option<(Tensor, u32)>,
    types: Tensor,
    /// The highest type that the model knows.
    last_type: u32,
    norm: LayerNorm,
}

/// Reads the parts of one layer.
pub(super) struct LayerReader<'a, 'b> {
    pub(super) reader: &'a mut WeightReader<'b>,
    pub(super) layer: usize,
    pub(super) eps: f32,
}

impl Rows {
    pub(super) fn of(texts: &[&EncoderText]) -> Rows {
        let count = texts.iter().map(|text| text.tokens.len()).sum();
        let mut rows = Rows {
            tokens: Vec::with_capacity(count),
            positions: Vec::with_capacity(count),
            types: Vec::with_capacity(count),
            texts: Vec::with_capacity(texts.len()),
        };
        for text in texts {
            let (start, len) = (rows.tokens.len(), text.tokens.len());
            let second = text.second_from.unwrap_or(len);
            rows.tokens.extend(&text.tokens);
            rows.positions.extend(0..len as u32);
            rows.types.extend((0..len).map(|at| u32::from(at >= second)));
            rows.texts.push(start..start + len);
        }
        rows
    }

    /// The first row of each text.
    pub(super) fn firsts(&self) -> Vec<u32> {
        self.texts.iter().map(|text| text.start as u32).collect()
    }
}

impl Embeddings {
    pub(super) fn load(
        reader: &mut WeightReader<'_>,
        shape: &EncoderShape,
        eps: f32,
    ) -> Result<Embeddings> {
        let positions = match shape.positions {
            None => None,
            Some(table) => {
                Some((reader.vector(TensorRole::PositionEmbedding)?, table.first as u32))
            }
        };
        Ok(Embeddings {
            tokens: Embedding { weight: reader.matrix(TensorRole::TokenEmbedding)? },
            positions,
            types: reader.vector(TensorRole::TypeEmbedding)?,
            last_type: shape.token_types as u32 - 1,
            norm: LayerNorm {
                weight: reader.vector(TensorRole::EmbeddingNorm)?,
                bias: reader.vector(TensorRole::EmbeddingNormBias)?,
                eps,
            },
        })
    }

    pub(super) fn forward(&self, rows: &Rows, device: &Device) -> Result<Tensor> {
        let x = self.tokens.forward(&rows.tokens, device)?;
        let types: Vec<u32> = rows.types.iter().map(|&kind| kind.min(self.last_type)).collect();
        let types = Tensor::new(types, device)?;
        let mut place = self.types.index_select(&types, 0)?;
        if let Some((table, first)) = &self.positions {
            let positions: Vec<u32> = rows.positions.iter().map(|&at| at + first).collect();
            let positions = Tensor::new(positions, device)?;
            place = (place + table.index_select(&positions, 0)?)?;
        }
        Ok(self.norm.after_adding(&x, &place)?)
    }
}

impl LayerReader<'_, '_> {
    fn role(&self, part: LayerPart) -> TensorRole {
        TensorRole::Layer { layer: self.layer, part }
    }

    /// A matrix, with a bias if there is one.
    pub(super) fn linear(&mut self, weight: LayerPart, bias: Option<LayerPart>) -> Result<Linear> {
        let bias = bias.map(|bias| self.reader.vector(self.role(bias))).transpose()?;
        Ok(Linear::new(self.reader.matrix(self.role(weight))?, bias))
    }

    pub(super) fn norm(&mut self, weight: LayerPart, bias: LayerPart) -> Result<LayerNorm> {
        let (weight, bias) = (self.role(weight), self.role(bias));
        let weight = self.reader.vector(weight)?;
        Ok(LayerNorm { weight, bias: self.reader.vector(bias)?, eps: self.eps })
    }
}
