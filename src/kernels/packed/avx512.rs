//! AVX-512 with VNNI: one register makes a tile.
//!
//! `vpdpbusd` multiplies unsigned by signed bytes and adds four products into 32 bits, so runs never
//! overflow and whole bytes can be multiplied.

use std::arch::x86_64::*;

use super::avx2::register;
use super::isa::{Isa, Row};

pub(crate) struct Avx512;

#[inline(always)]
unsafe fn interleave(first: Row, second: Row) -> __m256i {
    // SAFETY: the caller runs where AVX-512 is.
    unsafe {
        let (first, second) = (register(first), register(second));
        let (low, high) = (_mm_unpacklo_epi8(first, second), _mm_unpackhi_epi8(first, second));
        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
    }
}

// SAFETY of every function below: the caller runs where AVX-512 F, BW, VL and VNNI are, and its
// pointers reach as far as the trait says; nothing else is unsafe about these instructions.
impl Isa for Avx512 {
    type Bytes = __m512i;
    type Run = __m512i;
    type Scale = __m512i;
    type Pairs = __m512i;
    type Ints = __m512i;
    type Floats = __m512;

    const SIGNED_CENTRE: i32 = 128;

    #[inline(always)]
    fn longest_run(_bits: usize) -> usize {
        // A run never spans more than one scale, and no scale spans more than 8 groups.
        8
    }

    #[inline(always)]
    unsafe fn fetch(bytes: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.cast()) }
    }

    #[inline(always)]
    unsafe fn load(bytes: *const u8) -> __m512i {
        unsafe { _mm512_loadu_si512(bytes.cast()) }
    }

    #[inline(always)]
    unsafe fn store(bytes: *mut u8, group: __m512i) {
        unsafe { _mm512_storeu_si512(bytes.cast(), group) }
    }

    #[inline(always)]
    unsafe fn field(bytes: __m512i, shift: i32, mask: u8) -> __m512i {
        unsafe {
            // The compiler folds a count that it knows.
            let shifted = _mm512_srl_epi16(bytes, _mm_cvtsi32_si128(shift));
            _mm512_and_si512(shifted, _mm512_set1_epi8(mask as i8))
        }
    }

    #[inline(always)]
    unsafe fn join(low: __m512i, high: __m512i) -> __m512i {
        unsafe { _mm512_or_si512(low, _mm512_slli_epi16::<4>(high)) }
    }

    #[inline(always)]
    unsafe fn no_run() -> __m512i {
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn dot(run: __m512i, weights: __m512i, x: *const i8) -> __m512i {
        unsafe {
            let x = _mm512_set1_epi32(x.cast::<i32>().read_unaligned());
            _mm512_dpbusd_epi32(run, weights, x)
        }
    }

    #[inline(always)]
    unsafe fn signed(bytes: __m512i) -> __m512i {
        unsafe { _mm512_xor_si512(bytes, _mm512_set1_epi8(-128)) }
    }

    #[inline(always)]
    unsafe fn dot_signed(sums: __m512i, weights: __m512i, x: *const i8) -> __m512i {
        unsafe { Self::dot(sums, weights, x) }
    }

    #[inline(always)]
    unsafe fn unsigned_scale(row: Row) -> __m512i {
        unsafe { _mm512_cvtepu8_epi32(register(row)) }
    }

    #[inline(always)]
    unsafe fn signed_scale(row: Row) -> __m512i {
        unsafe { _mm512_cvtepi8_epi32(register(row)) }
    }

    #[inline(always)]
    unsafe fn load_scale(bytes: *const u8) -> __m512i {
        unsafe { Self::load(bytes) }
    }

    #[inline(always)]
    unsafe fn store_scale(bytes: *mut u8, scale: __m512i) {
        unsafe { Self::store(bytes, scale) }
    }

    #[inline(always)]
    unsafe fn scale_add(sums: __m512i, run: __m512i, scale: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(sums, _mm512_mullo_epi32(run, scale)) }
    }

    #[inline(always)]
    unsafe fn add(sums: __m512i, run: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(sums, run) }
    }

    #[inline(always)]
    unsafe fn unsigned_pairs(first: Row, second: Row) -> __m512i {
        unsafe { _mm512_cvtepu8_epi16(interleave(first, second)) }
    }

    #[inline(always)]
    unsafe fn signed_pairs(first: Row, second: Row) -> __m512i {
        unsafe { _mm512_cvtepi8_epi16(interleave(first, second)) }
    }

    #[inline(always)]
    unsafe fn load_pairs(bytes: *const u8) -> __m512i {
        unsafe { Self::load(bytes) }
    }

    #[inline(always)]
    unsafe fn store_pairs(bytes: *mut u8, pairs: __m512i) {
        unsafe { Self::store(bytes, pairs) }
    }

    #[inline(always)]
    unsafe fn pairs_add(sums: __m512i, pairs: __m512i, x: *const i16) -> __m512i {
        unsafe {
            let x = _mm512_set1_epi32(x.cast::<i32>().read_unaligned());
            _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, x))
        }
    }

    #[inline(always)]
    unsafe fn all(value: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    unsafe fn minus_32_times(sums: __m512i, other: __m512i) -> __m512i {
        unsafe { _mm512_sub_epi32(sums, _mm512_slli_epi32::<5>(other)) }
    }

    #[inline(always)]
    unsafe fn to_floats(sums: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(sums) }
    }

    #[inline(always)]
    unsafe fn no_floats() -> __m512 {
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load_floats(values: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(values) }
    }

    #[inline(always)]
    unsafe fn store_floats(values: *mut f32, floats: __m512) {
        unsafe { _mm512_storeu_ps(values, floats) }
    }

    #[inline(always)]
    unsafe fn load_halves(values: *const u8) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(values.cast())) }
    }

    #[inline(always)]
    unsafe fn load_brains(values: *const u8) -> __m512 {
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(values.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    unsafe fn load_bytes(values: *const u8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(values.cast()))) }
    }

    #[inline(always)]
    unsafe fn times(a: __m512, b: f32) -> __m512 {
        unsafe { _mm512_mul_ps(a, _mm512_set1_ps(b)) }
    }

    #[inline(always)]
    unsafe fn fused(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn fused_one(a: __m512, b: f32, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, _mm512_set1_ps(b), c) }
    }

    #[inline(always)]
    unsafe fn fused_minus(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
}
