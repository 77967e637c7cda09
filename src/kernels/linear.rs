//! Weight matrix times activations, f32.

use crate::lanes::{Lanes, Level, PORTABLE_FMA, load};

/// Outputs whose weights are read together, and rows that share one reading.
const OUTPUTS: usize = 4;
const ROWS: usize = 2;

/// Rows of `x` times a matrix: y[o, r] = Σ_i w[o, i]·x[r, i].
///
/// `w`: [outputs, inputs] · `x`: [rows, inputs] · `y`: [outputs, rows], so that callers can split
/// the outputs over threads. All row-major. Runs on the caller's thread; each weight is read once
/// for all rows. Relative error against f64 under 1e-6·√inputs of Σ|w·x|.
pub fn matrix_times_rows(w: &[f32], x: &[f32], inputs: usize, y: &mut [f32]) {
    assert!(inputs > 0, "a matrix has columns");
    let (outputs, rows) = (w.len() / inputs, x.len() / inputs);
    assert_eq!(w.len(), outputs * inputs, "whole rows of weights");
    assert_eq!(x.len(), rows * inputs, "whole rows of activations");
    assert_eq!(y.len(), outputs * rows, "one output per weight row and activation row");
    match Level::detect() {
        // SAFETY: `detect` has seen AVX-512F and FMA on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(w, x, inputs, y) },
        // SAFETY: `detect` has seen AVX2 and FMA on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(w, x, inputs, y) },
        _ => body::<PORTABLE_FMA, 8>(w, x, inputs, y),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,fma")]
fn avx512(w: &[f32], x: &[f32], inputs: usize, y: &mut [f32]) {
    body::<true, 16>(w, x, inputs, y);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(w: &[f32], x: &[f32], inputs: usize, y: &mut [f32]) {
    body::<true, 8>(w, x, inputs, y);
}

#[inline(always)]
fn body<const FMA: bool, const N: usize>(w: &[f32], x: &[f32], inputs: usize, y: &mut [f32]) {
    let rows = x.len() / inputs;
    let whole = (w.len() / inputs) / OUTPUTS * OUTPUTS;
    for (w, y) in w.chunks_exact(OUTPUTS * inputs).zip(y.chunks_exact_mut(OUTPUTS * rows)) {
        outputs::<FMA, N, OUTPUTS>(w, x, inputs, y);
    }
    let (w_rest, y_rest) = (&w[whole * inputs..], &mut y[whole * rows..]);
    for (w, y) in w_rest.chunks_exact(inputs).zip(y_rest.chunks_exact_mut(rows)) {
        outputs::<FMA, N, 1>(w, x, inputs, y);
    }
}

/// `O` outputs for all rows.
#[inline(always)]
fn outputs<const FMA: bool, const N: usize, const O: usize>(
    w: &[f32],
    x: &[f32],
    inputs: usize,
    y: &mut [f32],
) {
    let rows = x.len() / inputs;
    let w: [&[f32]; O] = std::array::from_fn(|o| &w[o * inputs..(o + 1) * inputs]);
    let whole = rows / ROWS * ROWS;
    for first in (0..whole).step_by(ROWS) {
        let x: [&[f32]; ROWS] =
            std::array::from_fn(|r| &x[(first + r) * inputs..(first + r + 1) * inputs]);
        let sums = tile::<FMA, N, O, ROWS>(w, x);
        for (o, sums) in sums.iter().enumerate() {
            y[o * rows + first..o * rows + first + ROWS].copy_from_slice(sums);
        }
    }
    for row in whole..rows {
        let sums = tile::<FMA, N, O, 1>(w, [&x[row * inputs..(row + 1) * inputs]]);
        for (o, [sum]) in sums.into_iter().enumerate() {
            y[o * rows + row] = sum;
        }
    }
}

/// The sums of every pair of `O` weight rows and `R` activation rows, each in its own lanes.
#[inline(always)]
fn tile<const FMA: bool, const N: usize, const O: usize, const R: usize>(
    w: [&[f32]; O],
    x: [&[f32]; R],
) -> [[f32; R]; O] {
    let mut sums = [[Lanes::<FMA, N>::ZERO; R]; O];
    let inputs = x[0].len();
    let whole = inputs / N * N;
    for start in (0..whole).step_by(N) {
        step(&mut sums, &w, &x, start);
    }
    if whole < inputs {
        step(&mut sums, &w, &x, whole);
    }
    sums.map(|row| row.map(Lanes::sum))
}

#[inline(always)]
fn step<const FMA: bool, const N: usize, const O: usize, const R: usize>(
    sums: &mut [[Lanes<FMA, N>; R]; O],
    w: &[&[f32]; O],
    x: &[&[f32]; R],
    start: usize,
) {
    let x: [[f32; N]; R] = std::array::from_fn(|r| load(x[r], start));
    for o in 0..O {
        let w: [f32; N] = load(w[o], start);
        for r in 0..R {
            sums[o][r].add_product(&w, &x[r]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, noise};

    #[test]
    fn equals_the_plain_twin_at_odd_sizes() {
        for inputs in [1, 31, 32, 33, 172, 4096] {
            for (outputs, rows) in [(1, 1), (3, 1), (4, 2), (5, 3), (33, 7)] {
                let (w, x) = (noise(1, outputs * inputs), noise(2, rows * inputs));
                let mut y = vec![0.0; outputs * rows];
                let mut expected = y.clone();
                matrix_times_rows(&w, &x, inputs, &mut y);
                reference::matrix_times_rows(&w, &x, inputs, &mut expected);
                let bound = 1e-6 * (inputs as f32).sqrt();
                for (got, want) in y.iter().zip(&expected) {
                    assert!((got - want).abs() <= bound, "{inputs}: {got} against {want}");
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_in_a_batch() {
        let (inputs, outputs, rows) = (172, 37, 5);
        let (w, x) = (noise(3, outputs * inputs), noise(4, rows * inputs));
        let mut together = vec![0.0; outputs * rows];
        matrix_times_rows(&w, &x, inputs, &mut together);
        for row in 0..rows {
            let mut alone = vec![0.0; outputs];
            matrix_times_rows(&w, &x[row * inputs..(row + 1) * inputs], inputs, &mut alone);
            for output in 0..outputs {
                assert_eq!(alone[output].to_bits(), together[output * rows + row].to_bits());
            }
        }
    }

    #[test]
    fn every_level_of_this_machine_agrees() {
        let (w, x) = (noise(5, 9 * 100), noise(6, 3 * 100));
        let mut portable = vec![0.0; 27];
        let mut detected = vec![0.0; 27];
        body::<false, 8>(&w, &x, 100, &mut portable);
        matrix_times_rows(&w, &x, 100, &mut detected);
        for (a, b) in portable.iter().zip(&detected) {
            assert!((a - b).abs() < 1e-5, "{a} against {b}");
        }
    }
}
