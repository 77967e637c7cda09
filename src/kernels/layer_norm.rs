//! Layer normalisation, as encoders have it.

use crate::lanes::{Lanes, Level, PORTABLE_FMA, load};

/// x ← x + y, then each row of `x` brought to mean 0 and variance 1, scaled and moved:
/// x = (x − mean) / √(variance + eps) · weight + bias.
///
/// `x`, `y`: [rows, weight.len()]. Runs on the caller's thread. Error against f64 under 2e-6 of the
/// row's largest value.
pub fn add_layer_norm(x: &mut [f32], y: &[f32], (weight, bias): (&[f32], &[f32]), eps: f32) {
    assert!(!weight.is_empty() && x.len().is_multiple_of(weight.len()), "whole rows");
    assert_eq!(x.len(), y.len(), "one addend per value");
    assert_eq!(weight.len(), bias.len(), "one bias per weight");
    match Level::detect() {
        // SAFETY: `detect` has seen AVX-512F with VL, and FMA, on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(x, y, (weight, bias), eps) },
        // SAFETY: `detect` has seen AVX2 and FMA on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(x, y, (weight, bias), eps) },
        _ => body::<PORTABLE_FMA, 8>(x, y, (weight, bias), eps),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,fma")]
fn avx512(x: &mut [f32], y: &[f32], affine: (&[f32], &[f32]), eps: f32) {
    body::<true, 16>(x, y, affine, eps);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(x: &mut [f32], y: &[f32], affine: (&[f32], &[f32]), eps: f32) {
    body::<true, 8>(x, y, affine, eps);
}

#[inline(always)]
fn body<const FMA: bool, const N: usize>(
    x: &mut [f32],
    y: &[f32],
    (weight, bias): (&[f32], &[f32]),
    eps: f32,
) {
    let width = weight.len();
    let affine = || weight.iter().zip(bias);
    for (x, y) in x.chunks_exact_mut(width).zip(y.chunks_exact(width)) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
        let mean = sum::<FMA, N>(x) / width as f32;
        // The variance from what is left, not from squares: those of a row far from 0 cancel.
        for x in x.iter_mut() {
            *x -= mean;
        }
        let variance = crate::lanes::dot::<FMA, N>(x, x) / width as f32;
        let scale = 1.0 / (variance + eps).sqrt();
        for (x, (weight, bias)) in x.iter_mut().zip(affine()) {
            *x = *x * scale * weight + bias;
        }
    }
}

#[inline(always)]
fn sum<const FMA: bool, const N: usize>(x: &[f32]) -> f32 {
    let mut sums = Lanes::<FMA, N>::ZERO;
    let ones = [1.0; N];
    let (chunks, rest) = x.as_chunks::<N>();
    for chunk in chunks {
        sums.add_product(chunk, &ones);
    }
    if !rest.is_empty() {
        sums.add_product(&load(rest, 0), &ones);
    }
    sums.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, noise};

    #[test]
    fn equals_the_plain_twin_at_odd_sizes() {
        for width in [1, 31, 32, 33, 384, 4096] {
            let mut got: Vec<f32> = noise(30, 3 * width).iter().map(|x| x + 5.0).collect();
            let (y, weight, bias) = (noise(31, 3 * width), noise(32, width), noise(33, width));
            let mut want = got.clone();
            add_layer_norm(&mut got, &y, (&weight, &bias), 1e-12);
            reference::add_layer_norm(&mut want, &y, (&weight, &bias), 1e-12);
            let largest = want.iter().fold(1.0f32, |most, x| most.max(x.abs()));
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() <= 2e-6 * largest, "{width}: {got} {want}");
            }
        }
    }
}
