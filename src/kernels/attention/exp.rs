//! e^x of 16 numbers in the registers of each instruction set, as `lanes.rs` has it for slices.
//!
//! Written out because the softmax of a block is too short a loop for the compiler to see whole
//! registers in it.

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "aarch64")]
use crate::packed::Neon;
#[cfg(target_arch = "x86_64")]
use crate::packed::{Avx2, Avx512};
use crate::packed::{Isa, Portable};

/// Unsafe as [`Isa`] is.
pub(super) trait Exp: Isa {
    unsafe fn all_floats(value: f32) -> Self::Floats;
    unsafe fn plus(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The larger of both; `b` where one is not a number.
    unsafe fn most(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// a · 2^power, for whole powers from −126 to 127.
    unsafe fn scaled(a: Self::Floats, power: Self::Floats) -> Self::Floats;
    /// `a`, but 0 where x < bound.
    unsafe fn from_bound(a: Self::Floats, x: Self::Floats, bound: Self::Floats) -> Self::Floats;

    /// e^x for x ≤ 0; relative error below 2e-7, results under 1e-38 are 0. What is not a number
    /// stays so.
    ///
    /// x = n·ln 2 + r, |r| ≤ ln 2 / 2; e^r by the polynomial of Cephes' expf.
    #[inline(always)]
    unsafe fn exp(x: Self::Floats) -> Self::Floats {
        const LN2_HIGH: f32 = 0.693_359_4;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding and subtracting it rounds
        // SAFETY: the caller's.
        unsafe {
            let all = |value| Self::all_floats(value);
            let bound = all(-87.0);
            let clamped = Self::most(bound, x);
            let n = Self::fused(clamped, all(std::f32::consts::LOG2_E), all(ROUND));
            let n = Self::plus(n, all(-ROUND));
            let r = Self::fused_minus(n, all(LN2_HIGH), clamped);
            let r = Self::fused_minus(n, all(LN2_LOW), r);
            let mut series = all(1.987_569_1e-4);
            for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
                series = Self::fused(series, r, all(coefficient));
            }
            let square = Self::fused(r, r, Self::no_floats());
            let power = Self::plus(Self::fused(series, square, r), all(1.0));
            Self::from_bound(Self::scaled(power, n), x, bound)
        }
    }
}

// SAFETY of every function below: the caller runs where the instructions are.
#[cfg(target_arch = "x86_64")]
impl Exp for Avx2 {
    #[inline(always)]
    unsafe fn all_floats(value: f32) -> [__m256; 2] {
        unsafe { [_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    unsafe fn plus(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn most(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn scaled(a: [__m256; 2], power: [__m256; 2]) -> [__m256; 2] {
        unsafe {
            let half = |index: usize| {
                let exponent = _mm256_cvtps_epi32(power[index]);
                let exponent = _mm256_add_epi32(exponent, _mm256_set1_epi32(127));
                let factor = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent));
                _mm256_mul_ps(a[index], factor)
            };
            [half(0), half(1)]
        }
    }

    #[inline(always)]
    unsafe fn from_bound(a: [__m256; 2], x: [__m256; 2], bound: [__m256; 2]) -> [__m256; 2] {
        unsafe {
            let half = |index: usize| {
                let is_below = _mm256_cmp_ps::<_CMP_LT_OQ>(x[index], bound[index]);
                _mm256_andnot_ps(is_below, a[index])
            };
            [half(0), half(1)]
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Exp for Avx512 {
    #[inline(always)]
    unsafe fn all_floats(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn plus(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn most(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn scaled(a: __m512, power: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(a, power) }
    }

    #[inline(always)]
    unsafe fn from_bound(a: __m512, x: __m512, bound: __m512) -> __m512 {
        unsafe { _mm512_maskz_mov_ps(!_mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, bound), a) }
    }
}

#[cfg(target_arch = "aarch64")]
impl<const DOTPROD: bool> Exp for Neon<DOTPROD> {
    #[inline(always)]
    unsafe fn all_floats(value: f32) -> [float32x4_t; 4] {
        unsafe { [vdupq_n_f32(value); 4] }
    }

    #[inline(always)]
    unsafe fn plus(mut a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        for (a, b) in a.iter_mut().zip(b) {
            unsafe { *a = vaddq_f32(*a, b) }
        }
        a
    }

    #[inline(always)]
    unsafe fn most(mut a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        for (a, b) in a.iter_mut().zip(b) {
            unsafe { *a = vbslq_f32(vcgtq_f32(*a, b), *a, b) }
        }
        a
    }

    #[inline(always)]
    unsafe fn scaled(mut a: [float32x4_t; 4], power: [float32x4_t; 4]) -> [float32x4_t; 4] {
        for (a, power) in a.iter_mut().zip(power) {
            unsafe {
                let exponent = vaddq_s32(vcvtq_s32_f32(power), vdupq_n_s32(127));
                *a = vmulq_f32(*a, vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent)));
            }
        }
        a
    }

    #[inline(always)]
    unsafe fn from_bound(
        mut a: [float32x4_t; 4],
        x: [float32x4_t; 4],
        bound: [float32x4_t; 4],
    ) -> [float32x4_t; 4] {
        for (a, (x, bound)) in a.iter_mut().zip(x.into_iter().zip(bound)) {
            unsafe {
                let bits = vreinterpretq_u32_f32(*a);
                *a = vreinterpretq_f32_u32(vbicq_u32(bits, vcltq_f32(x, bound)));
            }
        }
        a
    }
}

impl Exp for Portable {
    #[inline(always)]
    unsafe fn all_floats(value: f32) -> [f32; 16] {
        [value; 16]
    }

    #[inline(always)]
    unsafe fn plus(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    unsafe fn most(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    unsafe fn scaled(a: [f32; 16], power: [f32; 16]) -> [f32; 16] {
        let factor = |power: f32| f32::from_bits(((power as i32 + 127) << 23) as u32);
        std::array::from_fn(|lane| a[lane] * factor(power[lane]))
    }

    #[inline(always)]
    unsafe fn from_bound(a: [f32; 16], x: [f32; 16], bound: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|lane| if x[lane] < bound[lane] { 0.0 } else { a[lane] })
    }
}
