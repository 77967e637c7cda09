//! The few tensor operations that a step is made of, each in two forms: our kernels where the data
//! lies in host memory, candle's operations on other devices.
//!
//! All activations are f32, contiguous, `[rows, width]`.

use std::ops::Range;
use std::sync::LazyLock;

use candle_core::{CpuStorage, Device, Result, Storage, Tensor};
use hearth_kernels::{self as kernels, Activations, HeadShape, Pairing, Team};

use crate::layers::PackedRows;

/// Values below which a second thread costs more than it brings (about 10 µs of work).
const TASK_VALUES: usize = 1 << 14;

/// The threads that compute. One team for the process, as the cores are the process's: models that
/// run at the same time take turns with it, or work on their own threads alone.
static TEAM: LazyLock<Team> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Team::new(cores).or_else(|_| Team::new(1)).expect("a team of one starts no thread")
});

/// The process's compute threads.
pub(crate) fn team() -> &'static Team {
    &TEAM
}

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

/// Lends the values of three tensors.
fn with_all<R>(tensors: [&Tensor; 3], use_values: impl FnOnce([&[f32]; 3]) -> R) -> Result<R> {
    let [a, b, c] = tensors;
    with_values(a, |a| with_values(b, |b| with_values(c, |c| use_values([a, b, c]))))??
}

/// The values of a tensor, copied.
pub(crate) fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    with_values(&tensor.contiguous()?, <[f32]>::to_vec)
}

/// A copy of `x` that is changed chunk by chunk, each by whoever copies it.
fn copied(x: &[f32], chunk_len: usize, change: impl Fn(usize, &mut [f32]) + Sync) -> [Vec<f32>; 1] {
    team().produce(x.len(), chunk_len, |index, [y]| {
        let y = y.write_copy_of_slice(&x[index * chunk_len..][..y.len()]);
        change(index, y);
        [y]
    })
}

/// Whether our kernels can read the tensor.
pub(crate) fn is_host(tensor: &Tensor) -> bool {
    matches!(tensor.device(), Device::Cpu)
}

/// x · wᵀ for several matrices that share `x`. `x`: [rows, inputs] in host memory → [rows,
/// outputs] each.
pub(crate) fn packed<const N: usize>(
    x: &Tensor,
    matrices: [(&PackedRows, Option<&Tensor>); N],
) -> Result<[Tensor; N]> {
    let (rows, inputs) = x.dims2()?;
    with_values(x, |x| {
        let x = Activations::new(x, inputs);
        let product = |(w, bias): (&PackedRows, Option<&Tensor>)| {
            let mut y = w.product(&x);
            if let Some(bias) = bias {
                with_values(bias, |bias| {
                    let task = task_rows(bias.len()) * bias.len();
                    team().run_chunks(&mut y, task, |_, y| add_to_rows(y, bias));
                })?;
            }
            Tensor::from_vec(y, (rows, w.outputs()), &Device::Cpu)
        };
        let products: Vec<Tensor> = matrices.into_iter().map(product).collect::<Result<_>>()?;
        Ok(products.try_into().expect("one product per matrix"))
    })?
}

fn add_to_rows(y: &mut [f32], bias: &[f32]) {
    for row in y.chunks_exact_mut(bias.len()) {
        for (y, bias) in row.iter_mut().zip(bias) {
            *y += bias;
        }
    }
}

/// Rows that one thread takes together.
fn task_rows(width: usize) -> usize {
    TASK_VALUES.div_ceil(width.max(1))
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
            let task = task_rows(w.len()) * w.len();
            team().produce(x.len(), task, |index, [y]| {
                let x = &x[index * task..][..y.len()];
                let y = y.write_copy_of_slice(x);
                kernels::rms_norm(x, w, eps, y);
                [y]
            })
        })
    })??;
    let [y] = y;
    Tensor::from_vec(y, x.dims(), x.device())
}

/// x + y, and the norm of that. `x`, `y`: [rows, w.len()].
pub(crate) fn add_rms_norm(x: &Tensor, y: &Tensor, w: &Tensor, eps: f32) -> Result<[Tensor; 2]> {
    if !is_host(x) {
        let sum = (x + y)?;
        let normed = rms_norm(&sum, w, eps)?;
        return Ok([sum, normed]);
    }
    let [sum, normed] = with_all([x, y, w], |[x, y, w]| {
        let task = task_rows(w.len()) * w.len();
        team().produce(x.len(), task, |index, [sum, normed]| {
            let part = index * task..index * task + sum.len();
            let sum = sum.write_copy_of_slice(&x[part.clone()]);
            let normed = normed.write_copy_of_slice(&y[part]);
            kernels::add_rms_norm(sum, normed, w, eps);
            [sum, normed]
        })
    })?;
    let sum = Tensor::from_vec(sum, x.dims(), x.device())?;
    Ok([sum, Tensor::from_vec(normed, x.dims(), x.device())?])
}

/// The function of a feed-forward part's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Silu,
    /// GELU in its tanh form; gemma.
    Gelu,
}

/// f(gate) · up.
pub(crate) fn gated(gate: &Tensor, up: &Tensor, function: Gate) -> Result<Tensor> {
    if !is_host(gate) {
        let opened = match function {
            Gate::Silu => gate.silu()?,
            // Candle's name for the tanh form.
            Gate::Gelu => gate.gelu()?,
        };
        return opened.mul(up);
    }
    let kernel = match function {
        Gate::Silu => kernels::swiglu,
        Gate::Gelu => kernels::geglu,
    };
    let [y] = with_values(gate, |gate| {
        with_values(up, |up| {
            copied(gate, TASK_VALUES, |index, y| {
                kernel(y, &up[index * TASK_VALUES..][..y.len()]);
            })
        })
    })??;
    Tensor::from_vec(y, gate.dims(), gate.device())
}

/// cap · tanh(x / cap).
pub(crate) fn softcap(x: &Tensor, cap: f32) -> Result<Tensor> {
    if !is_host(x) {
        return (x / f64::from(cap))?.tanh()? * f64::from(cap);
    }
    let [y] = with_values(x, |x| copied(x, TASK_VALUES, |_, y| kernels::softcap(y, cap)))?;
    Tensor::from_vec(y, x.dims(), x.device())
}

/// The layer norm of x + y. `x`, `y`: [rows, width] · `w`: weight and bias, [width] each.
pub(crate) fn add_layer_norm(
    x: &Tensor,
    y: &Tensor,
    w: (&Tensor, &Tensor),
    eps: f32,
) -> Result<Tensor> {
    if !is_host(x) {
        return candle_nn::ops::layer_norm(&(x + y)?, w.0, w.1, eps);
    }
    let normed = with_values(x, |x| {
        with_all([y, w.0, w.1], |[y, weight, bias]| {
            let task = task_rows(weight.len()) * weight.len();
            copied(x, task, |index, x| {
                kernels::add_layer_norm(x, &y[index * task..][..x.len()], (weight, bias), eps);
            })
        })
    })?;
    let [normed] = normed?;
    Tensor::from_vec(normed, x.dims(), x.device())
}

/// GELU (by the error function) of x · wᵀ + bias. `x`: [rows, inputs] in host memory.
pub(crate) fn packed_gelu(x: &Tensor, w: &PackedRows, bias: Option<&Tensor>) -> Result<Tensor> {
    let (rows, inputs) = x.dims2()?;
    let bias = bias.map(values).transpose()?.unwrap_or_default();
    let mut y = with_values(x, |x| w.product(&Activations::new(x, inputs)))?;
    team().run_chunks(&mut y, task_rows(w.outputs()) * w.outputs(), |_, y| {
        kernels::bias_gelu(y, &bias);
    });
    Tensor::from_vec(y, (rows, w.outputs()), &Device::Cpu)
}

/// Each row attends to all rows of its text. Queries, keys and values: [rows, heads · dim].
pub(crate) fn attend_both_ways(
    projected: &[Tensor; 3],
    texts: &[Range<usize>],
    heads: usize,
) -> Result<Tensor> {
    let [query, key, value] = projected;
    let (rows, width) = query.dims2()?;
    let head_dim = width / heads;
    let scale = 1.0 / (head_dim as f64).sqrt();
    if is_host(query) {
        let mut out = vec![0.0; rows * width];
        with_all([query, key, value], |projected| {
            let shape = HeadShape { heads, head_dim, scale: scale as f32 };
            kernels::attend_both_ways(team(), texts, (projected, &mut out), shape);
        })?;
        return Tensor::from_vec(out, (rows, width), query.device());
    }
    let mut attended = Vec::with_capacity(texts.len());
    for text in texts {
        let split = |all: &Tensor| {
            let own = all.narrow(0, text.start, text.len())?;
            own.reshape((text.len(), heads, head_dim))?.transpose(0, 1)?.contiguous()
        };
        // [heads, rows, rows]
        let scores = (split(query)?.matmul(&split(key)?.t()?)? * scale)?;
        let mixed = candle_nn::ops::softmax_last_dim(&scores)?.matmul(&split(value)?)?;
        attended.push(mixed.transpose(0, 1)?.reshape((text.len(), width))?);
    }
    Tensor::cat(&attended, 0)
}

/// Turns every head of each row by the row's angles; of a head, as many values as there are
/// angles. `x`: [rows, heads · head_dim] · `cos`, `sin`: [rows, turned values / 2].
pub(crate) fn rotate(
    x: &Tensor,
    (cos, sin): (&Tensor, &Tensor),
    head_dim: usize,
    pairing: Pairing,
) -> Result<Tensor> {
    let (rows, half) = cos.dims2()?;
    let dim = half * 2;
    if !is_host(x) {
        let heads = x.elem_count() / rows / head_dim;
        let split = x.reshape((rows, heads, 1, head_dim))?;
        let (cos, sin) = (cos.reshape((rows, 1, half))?, sin.reshape((rows, 1, half))?);
        let first = split.narrow(3, 0, dim)?.contiguous()?;
        let turned = match pairing {
            Pairing::Neighbours => candle_nn::rotary_emb::rope_i(&first, &cos, &sin)?,
            Pairing::Halves => candle_nn::rotary_emb::rope(&first, &cos, &sin)?,
        };
        let rest = split.narrow(3, dim, head_dim - dim)?;
        let turned = if dim == head_dim { turned } else { Tensor::cat(&[&turned, &rest], 3)? };
        return turned.reshape(x.dims());
    }
    let [y] = with_all([x, cos, sin], |[x, cos, sin]| {
        let width = x.len() / rows;
        let task = task_rows(width);
        copied(x, task * width, |index, y| {
            let angles = index * task * half..(index * task + y.len() / width) * half;
            let dims = (head_dim, dim);
            kernels::rotate(y, &cos[angles.clone()], &sin[angles], dims, pairing);
        })
    })?;
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

    fn packed_matrix(w: &Tensor) -> PackedRows {
        let (outputs, inputs) = w.dims2().expect("2 d");
        let encoding = kernels::Encoding::F32;
        let mut matrix = kernels::PackedMatrix::zeroed(encoding, outputs, inputs).expect("memory");
        let bytes: Vec<u8> =
            values(w).expect("host").iter().flat_map(|value| value.to_le_bytes()).collect();
        matrix.pack(&bytes);
        PackedRows::whole(matrix)
    }

    #[test]
    fn our_matrix_equals_candles() {
        for (rows, inputs, outputs) in [(1, 33, 7), (5, 172, 64), (3, 512, 1001)] {
            let (x, w) = (noise(1, (rows, inputs)), noise(2, (outputs, inputs)));
            let bias = noise(3, (1, outputs)).flatten_all().expect("flat");
            let matrix = packed_matrix(&w);
            let [plain, biased] =
                packed(&x, [(&matrix, None), (&matrix, Some(&bias))]).expect("runs");
            let theirs = x.matmul(&w.t().expect("2 d")).expect("runs");
            assert!(difference(&plain, &theirs) < 1e-4);
            let theirs = theirs.broadcast_add(&bias).expect("runs");
            assert!(difference(&biased, &theirs) < 1e-4);
        }
    }

    #[test]
    fn adding_and_norming_at_once_equals_candles() {
        let (x, y) = (noise(8, (70, 512)), noise(9, (70, 512)));
        let w = noise(4, (1, 512)).flatten_all().expect("flat");
        let [sum, normed] = add_rms_norm(&x, &y, &w, 1e-5).expect("runs");
        let theirs = (x + y).expect("runs");
        assert!(difference(&sum, &theirs) == 0.0);
        let theirs = candle_nn::ops::rms_norm(&theirs, &w, 1e-5).expect("runs");
        assert!(difference(&normed, &theirs) < 1e-5);
    }

    #[test]
    fn our_norm_and_gate_equal_candles() {
        let (x, w) = (noise(3, (4, 96)), noise(4, (1, 96)).flatten_all().expect("flat"));
        let theirs = candle_nn::ops::rms_norm(&x, &w, 1e-5).expect("runs");
        assert!(difference(&rms_norm(&x, &w, 1e-5).expect("runs"), &theirs) < 1e-5);
        let up = noise(5, (4, 96));
        let theirs = x.silu().and_then(|gate| gate.mul(&up)).expect("runs");
        assert!(difference(&gated(&x, &up, Gate::Silu).expect("runs"), &theirs) < 1e-5);
        let theirs = x.gelu().and_then(|gate| gate.mul(&up)).expect("runs");
        assert!(difference(&gated(&x, &up, Gate::Gelu).expect("runs"), &theirs) < 1e-5);
    }

    #[test]
    fn what_encoders_add_equals_candles() {
        // Many rows, so that they are shared out.
        let (x, y) = (noise(10, (500, 48)), noise(11, (500, 48)));
        let flat = |seed| noise(seed, (1, 48)).flatten_all().expect("flat");
        let (weight, bias) = (flat(12), flat(13));
        let ours = add_layer_norm(&x, &y, (&weight, &bias), 1e-5).expect("runs");
        let sum = (&x + &y).expect("runs");
        let theirs = candle_nn::ops::layer_norm(&sum, &weight, &bias, 1e-5).expect("runs");
        assert!(difference(&ours, &theirs) < 1e-5);
        let w = noise(14, (96, 48));
        let matrix = packed_matrix(&w);
        for bias in [None, Some(noise(15, (1, 96)).flatten_all().expect("flat"))] {
            let ours = packed_gelu(&x, &matrix, bias.as_ref()).expect("runs");
            let theirs = x.matmul(&w.t().expect("2 d")).expect("runs");
            let theirs = match &bias {
                Some(bias) => theirs.broadcast_add(bias).expect("runs"),
                None => theirs,
            };
            assert!(difference(&ours, &theirs.gelu_erf().expect("runs")) < 1e-5);
        }
    }

    #[test]
    fn our_rotation_equals_candles() {
        // Many rows, so that they are shared out.
        let (rows, heads, half) = (900, 3, 4);
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
            let ours = rotate(&x, (&cos, &sin), half * 2, pairing).expect("runs");
            assert!(difference(&ours, &theirs) < 1e-6);
        }
    }
}
