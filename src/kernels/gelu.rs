//! GELU, the activation of BERT's feed-forward layers.

use crate::lanes::{Level, PORTABLE_FMA, fused};

/// x ← x + bias, row by row, then x ← x · Φ(x), with Φ(x) = (1 + erf(x / √2)) / 2.
///
/// `x`: [rows, bias.len()]; an empty bias is none. Runs on the caller's thread. Error against f64
/// under 2e-7 of max(1, |x|).
pub fn bias_gelu(x: &mut [f32], bias: &[f32]) {
    assert!(bias.is_empty() || x.len().is_multiple_of(bias.len()), "whole rows");
    match Level::detect() {
        // SAFETY: `detect` has seen AVX-512F with VL, and FMA, on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(x, bias) },
        // SAFETY: `detect` has seen AVX2 and FMA on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(x, bias) },
        _ => body::<PORTABLE_FMA>(x, bias),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,fma")]
fn avx512(x: &mut [f32], bias: &[f32]) {
    body::<true>(x, bias);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(x: &mut [f32], bias: &[f32]) {
    body::<true>(x, bias);
}

#[inline(always)]
fn body<const FMA: bool>(x: &mut [f32], bias: &[f32]) {
    if bias.is_empty() {
        x.iter_mut().for_each(|x| *x = gelu::<FMA>(*x));
        return;
    }
    for row in x.chunks_exact_mut(bias.len()) {
        for (x, bias) in row.iter_mut().zip(bias) {
            *x = gelu::<FMA>(*x + bias);
        }
    }
}

#[inline(always)]
fn gelu<const FMA: bool>(x: f32) -> f32 {
    0.5 * x * (1.0 + erf::<FMA>(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// x·P(x²) / Q(x²), the fraction that Eigen computes erf with; ±1 beyond 4, as f32 has it.
#[inline(always)]
fn erf<const FMA: bool>(x: f32) -> f32 {
    let square = x * x;
    let mut above = -2.726_142_4e-10;
    for coefficient in [
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ] {
        above = fused::<FMA>(above, square, coefficient);
    }
    let mut below = -1.456_607_2e-5;
    for coefficient in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_473_9e-2] {
        below = fused::<FMA>(below, square, coefficient);
    }
    let fraction = x * above / below;
    let bound = if x >= 4.0 { 1.0 } else { fraction };
    // Exactly: the fraction's last bit, times a large x, would be a large number.
    if x <= -4.0 { -1.0 } else { bound }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, noise};

    #[test]
    fn equals_the_plain_twin_at_odd_sizes() {
        for (rows, width) in [(1, 1), (3, 31), (2, 32), (5, 33), (1, 4096)] {
            let mut got: Vec<f32> = noise(34, rows * width).iter().map(|x| x * 8.0).collect();
            let bias = noise(35, width);
            let given = got.clone();
            let mut want = got.clone();
            bias_gelu(&mut got, &bias);
            reference::bias_gelu(&mut want, &bias);
            for ((got, want), given) in got.iter().zip(&want).zip(&given) {
                // The bias adds up to 1.
                let size = given.abs() + 1.0;
                assert!((got - want).abs() <= 2e-7 * size, "{given}: {got} {want}");
            }
        }
    }

    #[test]
    fn a_bias_of_none_changes_nothing_and_nan_stays() {
        let mut with = noise(36, 100);
        let mut without = with.clone();
        bias_gelu(&mut with, &[0.0; 100]);
        bias_gelu(&mut without, &[]);
        assert_eq!(with, without);
        let mut ends = [f32::NAN, 1e30, -1e30];
        bias_gelu(&mut ends, &[]);
        assert!(ends[0].is_nan() && ends[1] == 1e30 && ends[2] == 0.0, "{ends:?}");
    }
}
