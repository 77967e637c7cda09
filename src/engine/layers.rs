//! The parts that models are wired from: matrices, norms, the embedding table.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{Module, Result, Tensor};

use crate::tensors;

/// A matrix with an optional bias: y = x · wᵀ + b.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

/// A matrix as the model's file holds it.
#[derive(Clone, Debug)]
pub(crate) enum Weight {
    /// f32; F16 and BF16 files are widened when they are read.
    Dense(Tensor),
    Quantized(Arc<QTensor>),
}

/// The root-mean-square norm before each half of a layer.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    pub(crate) weight: Tensor,
    pub(crate) eps: f32,
}

/// Token ids to rows.
#[derive(Debug)]
pub(crate) struct Embedding {
    pub(crate) weight: Weight,
}

impl Linear {
    pub(crate) fn new(weight: Weight, bias: Option<Tensor>) -> Linear {
        Linear { weight, bias }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.weight {
            Weight::Dense(weight) => tensors::matrix(x, weight)?,
            Weight::Quantized(weight) => QMatMul::QTensor(Arc::clone(weight)).forward(x)?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

impl RmsNorm {
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        tensors::rms_norm(x, &self.weight, self.eps)
    }
}

impl Embedding {
    pub(crate) fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        match &self.weight {
            Weight::Dense(weight) => weight.index_select(ids, 0),
            Weight::Quantized(weight) => weight.embedding(ids),
        }
    }
}
