//! What an encoder makes of its last rows: a vector of each text, or the score of each pair.

use candle_core::{D, Tensor};
use hearth_formats::{EncoderOutput, Pooling, TensorRole};

use super::parts::Rows;
use crate::error::Result;
use crate::layers::Linear;
use crate::weights::WeightReader;

/// The end of a loaded encoder.
#[derive(Debug)]
pub(super) enum Output {
    Vector {
        pooling: Pooling,
        is_normalized: bool,
    },
    /// Scores the first token's row.
    Score {
        dense: Linear,
        score: Linear,
    },
}

impl Output {
    pub(super) fn load(reader: &mut WeightReader<'_>, output: EncoderOutput) -> Result<Output> {
        let mut linear = |weight, bias| -> Result<Linear> {
            let bias = reader.vector(bias)?;
            Ok(Linear::new(reader.matrix(weight)?, Some(bias)))
        };
        Ok(match output {
            EncoderOutput::Vector { pooling, is_normalized } => {
                Output::Vector { pooling, is_normalized }
            }
            EncoderOutput::Score => Output::Score {
                dense: linear(TensorRole::ScoreDense, TensorRole::ScoreDenseBias)?,
                score: linear(TensorRole::Score, TensorRole::ScoreBias)?,
            },
        })
    }

    /// [texts, width], or [texts, 1].
    pub(super) fn forward(&self, x: &Tensor, rows: &Rows) -> Result<Tensor> {
        let firsts = || x.index_select(&Tensor::new(rows.firsts(), x.device())?, 0);
        let (pooled, is_normalized) = match self {
            Output::Score { dense, score } => {
                return Ok(score.forward(&dense.forward(&firsts()?)?.tanh()?)?);
            }
            Output::Vector { pooling: Pooling::First, is_normalized } => {
                (firsts()?, *is_normalized)
            }
            Output::Vector { pooling: Pooling::Mean, is_normalized } => {
                let mean =
                    |text: &std::ops::Range<usize>| x.narrow(0, text.start, text.len())?.mean(0);
                let means = rows.texts.iter().map(mean).collect::<candle_core::Result<Vec<_>>>()?;
                (Tensor::stack(&means, 0)?, *is_normalized)
            }
        };
        if !is_normalized {
            return Ok(pooled);
        }
        let length = pooled.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
        // As the makers do it: a vector of nothing stays one.
        Ok(pooled.broadcast_div(&length.maximum(1e-12)?)?)
    }
}
