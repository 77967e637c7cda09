//! The parts that models are wired from: matrices, norms, the embedding table.

use std::ops::Range;
use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{Device, Module, Result, Tensor};
use hearth_kernels::{Activations, PackedMatrix};

use crate::tensors;

/// A matrix with an optional bias: y = x · wᵀ + b.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

/// A matrix in the form that its device computes with.
#[derive(Clone, Debug)]
pub(crate) enum Weight {
    /// In host memory, for our kernels.
    Packed(PackedRows),
    /// On another device, f32; F16 and BF16 files are widened when they are read.
    Dense(Tensor),
    /// For candle: on other devices, and those kinds that our kernels do not have.
    Quantized(Arc<QTensor>),
}

/// Rows of a matrix for our kernels: all of them, or those of one of several matrices that lie in
/// it, so that many small ones have huge pages together.
#[derive(Clone, Debug)]
pub(crate) struct PackedRows {
    matrix: Arc<PackedMatrix>,
    /// Whole tiles.
    rows: Range<usize>,
}

impl PackedRows {
    /// All rows.
    pub(crate) fn whole(matrix: PackedMatrix) -> PackedRows {
        let rows = 0..matrix.outputs();
        PackedRows { matrix: Arc::new(matrix), rows }
    }

    /// The matrices of so many rows each that lie in this one.
    pub(crate) fn split(self, rows: usize) -> impl Iterator<Item = PackedRows> {
        let part =
            move |first| PackedRows { matrix: Arc::clone(&self.matrix), rows: first..first + rows };
        self.rows.clone().step_by(rows).map(part)
    }

    pub(crate) fn outputs(&self) -> usize {
        self.rows.len()
    }

    /// x · wᵀ, on the process's threads.
    pub(crate) fn product(&self, x: &Activations<'_>) -> Vec<f32> {
        self.matrix.product(tensors::team(), x, self.rows.clone())
    }
}

/// The root-mean-square norm before each half of a layer.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    pub(crate) weight: Tensor,
    pub(crate) eps: f32,
}

/// The norm of encoders: mean 0 and variance 1, then a weight and a bias.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
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

    /// `x`: [rows, inputs] → [rows, outputs].
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.weight {
            Weight::Packed(weight) => {
                let [y] = tensors::packed(x, [(weight, self.bias.as_ref())])?;
                return Ok(y);
            }
            Weight::Dense(weight) => x.matmul(&weight.t()?)?,
            Weight::Quantized(weight) => QMatMul::QTensor(Arc::clone(weight)).forward(x)?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

impl Linear {
    /// GELU of [`Linear::forward`], in one pass where that is ours.
    pub(crate) fn forward_gelu(&self, x: &Tensor) -> Result<Tensor> {
        match &self.weight {
            Weight::Packed(weight) => tensors::packed_gelu(x, weight, self.bias.as_ref()),
            Weight::Dense(_) | Weight::Quantized(_) => self.forward(x)?.gelu_erf(),
        }
    }
}

/// Several matrices times the same rows, whose form for the kernels is then made once.
pub(crate) fn forward_all<const N: usize>(
    x: &Tensor,
    linears: [&Linear; N],
) -> Result<[Tensor; N]> {
    let mut packed = Vec::with_capacity(N);
    for linear in linears {
        if let Weight::Packed(weight) = &linear.weight {
            packed.push((weight, linear.bias.as_ref()));
        }
    }
    match <[_; N]>::try_from(packed) {
        Ok(packed) => tensors::packed(x, packed),
        Err(_) => {
            let products = linears.into_iter().map(|linear| linear.forward(x));
            let products: Vec<Tensor> = products.collect::<Result<_>>()?;
            Ok(products.try_into().expect("one product per matrix"))
        }
    }
}

impl RmsNorm {
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        tensors::rms_norm(x, &self.weight, self.eps)
    }

    /// x + y, and the norm of that.
    pub(crate) fn after_adding(&self, x: &Tensor, y: &Tensor) -> Result<[Tensor; 2]> {
        tensors::add_rms_norm(x, y, &self.weight, self.eps)
    }
}

impl LayerNorm {
    /// The norm of x + y.
    pub(crate) fn after_adding(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        tensors::add_layer_norm(x, y, (&self.weight, &self.bias), self.eps)
    }
}

impl Embedding {
    /// `ids`: one per row → [rows, width].
    pub(crate) fn forward(&self, ids: &[u32], device: &Device) -> Result<Tensor> {
        let index = || Tensor::new(ids, device);
        match &self.weight {
            Weight::Packed(weight) => {
                let PackedRows { matrix, rows } = weight;
                let width = matrix.inputs();
                let mut x = vec![0.0; ids.len() * width];
                for (&id, x) in ids.iter().zip(x.chunks_exact_mut(width)) {
                    matrix.row(rows.start + id as usize, x);
                }
                Tensor::from_vec(x, (ids.len(), width), device)
            }
            Weight::Dense(weight) => weight.index_select(&index()?, 0),
            Weight::Quantized(weight) => weight.embedding(&index()?),
        }
    }
}
