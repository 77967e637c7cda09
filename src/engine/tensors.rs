//! The few tensor operations that a step is made of, each in two forms: our kernels where the data
//! lies in host memory, candle's operations on other devices.
//!
//! All activations are f32, contiguous, `[rows, width]`.

use candle_core::{CpuStorage, Device, Result, Storage, Tensor};
use hearth_kernels::{self as kernels, Pairing};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};

/// Multiplications below which a second thread costs more than it brings (about 20 µs of work).
const PARALLEL_PRODUCTS: usize = 1 << 19;
/// Outputs that one task computes at least; a multiple of the kernel's tile.
const TASK_OUTPUTS: usize = 32;

/// Lends the values of a contiguous f32 tensor in host memory.
pub(crate) fn with_values<R>(tensor: &Tensor, use_values: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(values)) = &*storage else {
        candle_core::bail!("f32 values in host memory expected, found {:?}", tensor.dtype());
    };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(use_values(&values[start..end])),
        None => candle_core::bail!("contiguous values expected, found {layout:?}"),
    }
}

/// The values of a tensor, copied.
pub(crate) fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    with_values(&tensor.contiguous()?, <[f32]>::to_vec)
}

/// Whether our kernels can read the tensor.
pub(crate) fn is_host(tensor: &Tensor) -> bool {
    matches!(tensor.device(), Device::Cpu)
}

/// x · wᵀ. `x`: [rows, inputs] · `w`: [outputs, inputs] → [rows, outputs].
pub(crate) fn matrix(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    if !is_host(x) {
        return x.matmul(&w.t()?);
    }
    let (rows, inputs) = x.dims2()?;
    let (outputs, _) = w.dims2()?;
    let y = with_values(w, |w| with_values(x, |x| host_matrix(x, w, inputs)))??;
    Tensor::from_vec(y, (rows, outputs), x.device())
}

fn host_matrix(x: &[f32], w: &[f32], inputs: usize) -> Vec<f32> {
    let (rows, outputs) = (x.len() / inputs, w.len() / inputs);
    let mut by_output = vec![0.0; rows * outputs];
    if rows * w.len() < PARALLEL_PRODUCTS {
        kernels::matrix_times_rows(w, x, inputs, &mut by_output);
    } else {
        by_output.par_chunks_mut(TASK_OUTPUTS * rows).enumerate().for_each(|(task, y)| {
            let first = task * TASK_OUTPUTS * inputs;
            let w = &w[first..first + y.len() / rows * inputs];
            kernels::matrix_times_rows(w, x, inputs, y);
        });
    }
    if rows == 1 {
        return by_output;
    }
    let mut y = vec![0.0; rows * outputs];
    for (output, values) in by_output.chunks_exact(rows).enumerate() {
        for (row, &value) in values.iter().enumerate() {
            y[row * outputs + output] = value;
        }
    }
    y
}

/// Root-mean-square norm over the last `w.len()` values. Keeps the shape of `x`.
pub(crate) fn rms_norm(x: &Tensor, w: &Tensor, eps: f32) -> Result<Tensor> {
    if !is_host(x) {
        let width = w.elem_count();
        let rows = x.elem_count() / width;
        return candle_nn::ops::rms_norm(&x.reshape((rows, width))?, w, eps)?.reshape(x.dims());
    }
    let y = with_values(w, |w| {
        with_values(x, |x| {
            let mut y = vec![0.0; x.len()];
            kernels::rms_norm(x, w, eps, &mut y);
            y
        })
    })??;
    Tensor::from_vec(y, x.dims(), x.device())
}

/// silu(gate) · up.
pub(crate) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if !is_host(gate) {
        return gate.silu()?.mul(up);
    }
    let y = with_values(gate, |gate| {
        with_values(up, |up| {
            let mut y = gate.to_vec();
            kernels::swiglu(&mut y, up);
            y
        })
    })??;
    Tensor::from_vec(y, gate.dims(), gate.device())
}

/// Turns every head of each row by the row's angles. `x`: [rows, heads · dim] ·
/// `cos`, `sin`: [rows, dim / 2].
pub(crate) fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor, pairing: Pairing) -> Result<Tensor> {
    let (rows, half) = cos.dims2()?;
    let dim = half * 2;
    if !is_host(x) {
        let heads = x.elem_count() / rows / dim;
        let split = x.reshape((rows, heads, 1, dim))?;
        let (cos, sin) = (cos.reshape((rows, 1, half))?, sin.reshape((rows, 1, half))?);
        let turned = match pairing {
            Pairing::Neighbours => candle_nn::rotary_emb::rope_i(&split, &cos, &sin)?,
            Pairing::Halves => candle_nn::rotary_emb::rope(&split, &cos, &sin)?,
        };
        return turned.reshape(x.dims());
    }
    let mut y = values(x)?;
    with_values(cos, |cos| {
        with_values(sin, |sin| kernels::rotate(&mut y, cos, sin, dim, pairing))
    })??;
    Tensor::from_vec(y, x.dims(), x.device())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, shape: (usize, usize)) -> Tensor {
        let values = kernels::reference::noise(seed, shape.0 * shape.1);
        Tensor::from_vec(values, shape, &Device::Cpu).expect("shape fits")
    }

    fn difference(a: &Tensor, b: &Tensor) -> f32 {
        assert_eq!(a.dims(), b.dims());
        let (a, b) = (values(a).expect("host"), values(b).expect("host"));
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn our_matrix_equals_candles_on_one_and_many_threads() {
        for (rows, inputs, outputs) in [(1, 33, 7), (5, 172, 64), (3, 512, 1001)] {
            let (x, w) = (noise(1, (rows, inputs)), noise(2, (outputs, inputs)));
            let ours = matrix(&x, &w).expect("runs");
            let theirs = x.matmul(&w.t().expect("2 d")).expect("runs");
            assert!(difference(&ours, &theirs) < 1e-4);
        }
    }

    #[test]
    fn our_norm_and_gate_equal_candles() {
        let (x, w) = (noise(3, (4, 96)), noise(4, (1, 96)).flatten_all().expect("flat"));
        let theirs = candle_nn::ops::rms_norm(&x, &w, 1e-5).expect("runs");
        assert!(difference(&rms_norm(&x, &w, 1e-5).expect("runs"), &theirs) < 1e-5);
        let up = noise(5, (4, 96));
        let theirs = x.silu().and_then(|gate| gate.mul(&up)).expect("runs");
        assert!(difference(&swiglu(&x, &up).expect("runs"), &theirs) < 1e-5);
    }

    #[test]
    fn our_rotation_equals_candles() {
        let (rows, heads, half) = (5, 3, 4);
        let x = noise(6, (rows, heads * half * 2));
        let (cos, sin) = (noise(7, (rows, half)), noise(8, (rows, half)));
        let split = x.reshape((rows, heads, 1, half * 2)).expect("shape fits");
        let by_row = |angles: &Tensor| angles.reshape((rows, 1, half)).expect("shape fits");
        for pairing in [Pairing::Neighbours, Pairing::Halves] {
            let theirs = match pairing {
                Pairing::Neighbours => candle_nn::rotary_emb::rope_i,
                Pairing::Halves => candle_nn::rotary_emb::rope,
            }(&split, &by_row(&cos), &by_row(&sin))
            .and_then(|turned| turned.reshape(x.dims()))
            .expect("runs");
            let ours = rotate(&x, &cos, &sin, pairing).expect("runs");
            assert!(difference(&ours, &theirs) < 1e-6);
        }
    }
}
