//! The gate of a feed-forward layer.

use crate::lanes::{Level, PORTABLE_FMA, exp};

/// gate ← gate / (1 + e^−gate) · up, element by element.
///
/// Runs on the caller's thread. Relative error against f64 under 1e-6.
pub fn swiglu(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "one gate per value");
    match Level::detect() {
        // SAFETY: `detect` has seen AVX-512F with VL, and FMA, on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(gate, up) },
        // SAFETY: `detect` has seen AVX2 and FMA on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(gate, up) },
        _ => body::<PORTABLE_FMA>(gate, up),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,fma")]
fn avx512(gate: &mut [f32], up: &[f32]) {
    body::<true>(gate, up);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(gate: &mut [f32], up: &[f32]) {
    body::<true>(gate, up);
}

#[inline(always)]
fn body<const FMA: bool>(gate: &mut [f32], up: &[f32]) {
    for (gate, &up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + exp::<FMA>(-*gate)) * up;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, noise};

    #[test]
    fn equals_the_plain_twin_at_odd_sizes() {
        for len in [1, 31, 32, 33, 4096] {
            let mut got: Vec<f32> = noise(12, len).iter().map(|value| value * 40.0).collect();
            let up = noise(13, len);
            let mut want = got.clone();
            swiglu(&mut got, &up);
            reference::swiglu(&mut want, &up);
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() <= 1e-6 * want.abs() + 1e-30, "{got} {want}");
            }
        }
    }
}
