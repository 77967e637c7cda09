//! The functions between matrices: gates of feed-forward layers, caps of logits.

use crate::lanes::{Level, PORTABLE_FMA, exp, fused, tanh};

/// A gate's function: what becomes of its value before it is multiplied.
trait Gate {
    fn value<const FMA: bool>(x: f32) -> f32;
}

/// x / (1 + e^−x)
struct Silu;

/// x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))), for which 1 + tanh(u) = 2 / (1 + e^−2u).
struct GeluTanh;

/// gate ← gate / (1 + e^−gate) · up, element by element.
///
/// Runs on the caller's thread. Relative error against f64 under 1e-6.
pub fn swiglu(gate: &mut [f32], up: &[f32]) {
    multiply::<Silu>(gate, up);
}

/// gate ← gelu(gate) · up, element by element, with the tanh form of GELU.
///
/// Runs on the caller's thread. Error against f64 under 1e-6 · max(|result|, |up| / 10).
pub fn geglu(gate: &mut [f32], up: &[f32]) {
    multiply::<GeluTanh>(gate, up);
}

/// x ← cap · tanh(x / cap), which keeps small values and holds large ones below the cap.
///
/// Runs on the caller's thread. Relative error against f64 under 1e-6.
pub fn softcap(values: &mut [f32], cap: f32) {
    match Level::detect() {
        // SAFETY: `detect` has seen AVX-512F with VL, and FMA, on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { softcap_avx512(values, cap) },
        // SAFETY: `detect` has seen AVX2 and FMA on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { softcap_avx2(values, cap) },
        _ => softcap_body::<PORTABLE_FMA>(values, cap),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,fma")]
fn softcap_avx512(values: &mut [f32], cap: f32) {
    softcap_body::<true>(values, cap);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn softcap_avx2(values: &mut [f32], cap: f32) {
    softcap_body::<true>(values, cap);
}

#[inline(always)]
fn softcap_body<const FMA: bool>(values: &mut [f32], cap: f32) {
    for value in values {
        *value = cap * tanh::<FMA>(*value / cap);
    }
}

impl Gate for Silu {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        x / (1.0 + exp::<FMA>(-x))
    }
}

impl Gate for GeluTanh {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        const MINUS_TWO_ROOT: f32 = -1.595_769; // −2 · √(2/π)
        let cubic = fused::<FMA>(0.044_715 * x * x, x, x);
        x / (1.0 + exp::<FMA>(MINUS_TWO_ROOT * cubic))
    }
}

fn multiply<G: Gate>(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "one gate per value");
    match Level::detect() {
        // SAFETY: `detect` has seen AVX-512F with VL, and FMA, on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512::<G>(gate, up) },
        // SAFETY: `detect` has seen AVX2 and FMA on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::<G>(gate, up) },
        _ => body::<G, PORTABLE_FMA>(gate, up),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,fma")]
fn avx512<G: Gate>(gate: &mut [f32], up: &[f32]) {
    body::<G, true>(gate, up);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<G: Gate>(gate: &mut [f32], up: &[f32]) {
    body::<G, true>(gate, up);
}

#[inline(always)]
fn body<G: Gate, const FMA: bool>(gate: &mut [f32], up: &[f32]) {
    for (gate, &up) in gate.iter_mut().zip(up) {
        *gate = G::value::<FMA>(*gate) * up;
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

    #[test]
    fn the_tanh_form_equals_its_plain_twin_at_odd_sizes() {
        for (len, spread) in [(1, 1.0), (31, 4.0), (32, 0.01), (33, 40.0), (4096, 6.0)] {
            let mut got: Vec<f32> = noise(14, len).iter().map(|value| value * spread).collect();
            let up = noise(15, len);
            let mut want = got.clone();
            geglu(&mut got, &up);
            reference::geglu(&mut want, &up);
            for ((got, want), up) in got.iter().zip(&want).zip(&up) {
                let bound = 1e-6 * want.abs().max(up.abs() * 0.1);
                assert!((got - want).abs() <= bound, "{got} {want}");
            }
        }
    }

    #[test]
    fn the_cap_equals_its_definition_and_keeps_what_is_no_number() {
        for (len, spread) in [(1, 1.0), (31, 400.0), (32, 0.01), (33, 40.0), (4096, 90.0)] {
            let mut got: Vec<f32> = noise(16, len).iter().map(|value| value * spread).collect();
            let before = got.clone();
            softcap(&mut got, 30.0);
            for (got, x) in got.iter().zip(&before) {
                let want = 30.0 * (f64::from(*x) / 30.0).tanh();
                let error = (f64::from(*got) - want).abs();
                assert!(error <= 1e-6 * want.abs(), "{got} {want}");
            }
        }
        let mut odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        softcap(&mut odd, 50.0);
        assert!(odd[0].is_nan() && odd[1] == 50.0 && odd[2] == -50.0);
    }
}
