//! Root-mean-square normalisation.

use crate::lanes::{Level, PORTABLE_FMA, dot};

/// Each row of `x` divided by its root mean square and scaled: y = x / √(mean(x²) + eps) · w.
///
/// `x`, `y`: [rows, w.len()]. Runs on the caller's thread. Relative error against f64 under 1e-6.
pub fn rms_norm(x: &[f32], w: &[f32], eps: f32, y: &mut [f32]) {
    assert!(!w.is_empty() && x.len().is_multiple_of(w.len()), "whole rows");
    assert_eq!(x.len(), y.len(), "one output per input");
    match Level::detect() {
        // SAFETY: `detect` has seen AVX-512F with VL, and FMA, on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(x, w, eps, y) },
        // SAFETY: `detect` has seen AVX2 and FMA on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(x, w, eps, y) },
        _ => body::<PORTABLE_FMA, 8>(x, w, eps, y),
    }
}

/// x ← x + y, then y ← the norm of that; both in one pass over each row.
///
/// `x`, `y`: [rows, w.len()]. Otherwise as [`rms_norm`].
pub fn add_rms_norm(x: &mut [f32], y: &mut [f32], w: &[f32], eps: f32) {
    assert!(!w.is_empty() && x.len().is_multiple_of(w.len()), "whole rows");
    assert_eq!(x.len(), y.len(), "one addend per value");
    for (x, y) in x.chunks_exact_mut(w.len()).zip(y.chunks_exact_mut(w.len())) {
        for (x, &y) in x.iter_mut().zip(&*y) {
            *x += y;
        }
        rms_norm(x, w, eps, y);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,fma")]
fn avx512(x: &[f32], w: &[f32], eps: f32, y: &mut [f32]) {
    body::<true, 16>(x, w, eps, y);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(x: &[f32], w: &[f32], eps: f32, y: &mut [f32]) {
    body::<true, 8>(x, w, eps, y);
}

#[inline(always)]
fn body<const FMA: bool, const N: usize>(x: &[f32], w: &[f32], eps: f32, y: &mut [f32]) {
    for (x, y) in x.chunks_exact(w.len()).zip(y.chunks_exact_mut(w.len())) {
        let mean = dot::<FMA, N>(x, x) / w.len() as f32;
        let scale = 1.0 / (mean + eps).sqrt();
        for ((y, &x), &w) in y.iter_mut().zip(x).zip(w) {
            *y = x * scale * w;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, noise};

    #[test]
    fn adding_first_gives_the_bits_of_adding_apart() {
        for width in [1, 33, 256] {
            let (x, y, w) = (noise(20, 3 * width), noise(21, 3 * width), noise(22, width));
            let sum: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
            let mut normed = vec![0.0; sum.len()];
            rms_norm(&sum, &w, 1e-6, &mut normed);
            let (mut x, mut y) = (x, y);
            add_rms_norm(&mut x, &mut y, &w, 1e-6);
            assert_eq!((x, y), (sum, normed));
        }
    }

    #[test]
    fn equals_the_plain_twin_at_odd_sizes() {
        for width in [1, 31, 32, 33, 4096] {
            let (x, w) = (noise(10, 3 * width), noise(11, width));
            let mut got = vec![0.0; x.len()];
            let mut want = got.clone();
            rms_norm(&x, &w, 1e-5, &mut got);
            reference::rms_norm(&x, &w, 1e-5, &mut want);
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() <= 1e-6 * want.abs().max(1e-3), "{got} {want}");
            }
        }
    }
}
