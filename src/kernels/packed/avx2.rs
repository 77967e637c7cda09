//! AVX2 with FMA and F16C: two registers of 8 outputs make a tile.
//!
//! `vpmaddubsw` multiplies unsigned by signed bytes and adds neighbours into 16 bits. A run stays in
//! 16 bits as long as it cannot overflow: 8 groups of 4-bit weights are 8 · 2 · 15 · 127 = 30,480.

use std::arch::x86_64::*;

use super::isa::{Isa, Row};

pub(crate) struct Avx2;

type Two = [__m256i; 2];

/// A row in a register.
#[inline(always)]
pub(super) fn register(row: Row) -> __m128i {
    // SAFETY: both are 16 bytes, and any bytes are a value of either.
    unsafe { std::mem::transmute::<Row, __m128i>(row) }
}

/// No instruction, but the compiler must have both sums here. Left free, it adds all products of a
/// run as a tree, keeps every one of them until then, and runs out of registers.
#[inline]
#[target_feature(enable = "avx2")]
fn in_order(low: &mut __m256i, high: &mut __m256i) {
    // SAFETY: nothing is done to the registers.
    unsafe {
        std::arch::asm!(
            "/* {0} {1} */",
            inout(ymm_reg) * low,
            inout(ymm_reg) * high,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
}

/// a·b + c, where `b` is the number at an index behind a pointer.
///
/// Left to the compiler, the inputs of all rows are spread over registers before the first is used,
/// and sums end up in memory: half the speed with 6 rows.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn spread_and_add(
    a: [__m256; 2],
    (b, index): (*const f32, usize),
    [mut low, mut high]: [__m256; 2],
) -> [__m256; 2] {
    // SAFETY: reads the caller's number.
    unsafe {
        std::arch::asm!(
            "vbroadcastss {one}, dword ptr [{b} + 4*{index}]",
            "vfmadd231ps {low}, {one}, {a_low}",
            "vfmadd231ps {high}, {one}, {a_high}",
            one = out(ymm_reg) _,
            b = in(reg) b,
            index = in(reg) index,
            low = inout(ymm_reg) low,
            high = inout(ymm_reg) high,
            a_low = in(ymm_reg) a[0],
            a_high = in(ymm_reg) a[1],
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    [low, high]
}

/// Byte `i` of each 32-bit lane's row, doubled: (row, 0, row, 0) or (0, row, 0, row).
#[inline(always)]
unsafe fn spread(row: Row, half: usize, is_high: bool) -> __m256i {
    // SAFETY: the caller runs where AVX2 is.
    unsafe {
        let row = _mm256_broadcastsi128_si256(register(row));
        let first = 8 * half as i64;
        let byte = |output: i64| first + output;
        let lane = |output: i64| match is_high {
            false => 0xff00_ff00 | byte(output) << 16 | byte(output),
            true => 0x00ff_00ff | byte(output) << 24 | byte(output) << 8,
        };
        let two = |output: i64| lane(output + 1) << 32 | lane(output);
        let order = _mm256_set_epi64x(two(6), two(4), two(2), two(0));
        _mm256_shuffle_epi8(row, order)
    }
}

// SAFETY of every function below: the caller runs where AVX2, FMA and F16C are, and its pointers
// reach as far as the trait says; nothing else is unsafe about these instructions.
impl Isa for Avx2 {
    type Bytes = Two;
    type Run = Two;
    type Scale = Two;
    type Pairs = Two;
    type Ints = Two;
    type Floats = [__m256; 2];

    const SIGNED_CENTRE: i32 = 0;

    #[inline(always)]
    fn longest_run(bits: usize) -> usize {
        // 2 · (2^bits − 1) · 127 · groups ≤ 32,767
        match bits {
            0..=4 => 8,
            5 => 4,
            _ => 2,
        }
    }

    #[inline(always)]
    unsafe fn fetch(bytes: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.cast()) }
    }

    #[inline(always)]
    unsafe fn load(bytes: *const u8) -> Two {
        unsafe { [_mm256_loadu_si256(bytes.cast()), _mm256_loadu_si256(bytes.add(32).cast())] }
    }

    #[inline(always)]
    unsafe fn store(bytes: *mut u8, group: Two) {
        unsafe {
            _mm256_storeu_si256(bytes.cast(), group[0]);
            _mm256_storeu_si256(bytes.add(32).cast(), group[1]);
        }
    }

    #[inline(always)]
    unsafe fn field(bytes: Two, shift: i32, mask: u8) -> Two {
        unsafe {
            let mask = _mm256_set1_epi8(mask as i8);
            // The compiler folds a count that it knows.
            let shift = _mm_cvtsi32_si128(shift);
            [
                _mm256_and_si256(_mm256_srl_epi16(bytes[0], shift), mask),
                _mm256_and_si256(_mm256_srl_epi16(bytes[1], shift), mask),
            ]
        }
    }

    #[inline(always)]
    unsafe fn join(low: Two, high: Two) -> Two {
        unsafe {
            [
                _mm256_or_si256(low[0], _mm256_slli_epi16::<4>(high[0])),
                _mm256_or_si256(low[1], _mm256_slli_epi16::<4>(high[1])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn no_run() -> Two {
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    unsafe fn dot(run: Two, weights: Two, x: *const i8) -> Two {
        unsafe {
            let x = _mm256_set1_epi32(x.cast::<i32>().read_unaligned());
            let mut low = _mm256_add_epi16(run[0], _mm256_maddubs_epi16(weights[0], x));
            let mut high = _mm256_add_epi16(run[1], _mm256_maddubs_epi16(weights[1], x));
            in_order(&mut low, &mut high);
            [low, high]
        }
    }

    #[inline(always)]
    unsafe fn signed(bytes: Two) -> Two {
        bytes
    }

    #[inline(always)]
    unsafe fn dot_signed(sums: Two, weights: Two, x: *const i8) -> Two {
        unsafe {
            // |w| · (x with the sign of w); 2 · 128 · 127 fits 16 bits, but no second addend does.
            let x = _mm256_set1_epi32(x.cast::<i32>().read_unaligned());
            let one = _mm256_set1_epi16(1);
            let product = |weights| {
                let x = _mm256_sign_epi8(x, weights);
                _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(weights), x), one)
            };
            let mut low = _mm256_add_epi32(sums[0], product(weights[0]));
            let mut high = _mm256_add_epi32(sums[1], product(weights[1]));
            in_order(&mut low, &mut high);
            [low, high]
        }
    }

    #[inline(always)]
    unsafe fn unsigned_scale(row: Row) -> Two {
        unsafe { [spread(row, 0, false), spread(row, 1, false)] }
    }

    #[inline(always)]
    unsafe fn signed_scale(row: Row) -> Two {
        unsafe {
            [
                _mm256_srai_epi16::<8>(spread(row, 0, true)),
                _mm256_srai_epi16::<8>(spread(row, 1, true)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_scale(bytes: *const u8) -> Two {
        unsafe { Self::load(bytes) }
    }

    #[inline(always)]
    unsafe fn store_scale(bytes: *mut u8, scale: Two) {
        unsafe { Self::store(bytes, scale) }
    }

    #[inline(always)]
    unsafe fn scale_add(sums: Two, run: Two, scale: Two) -> Two {
        unsafe {
            [
                _mm256_add_epi32(sums[0], _mm256_madd_epi16(run[0], scale[0])),
                _mm256_add_epi32(sums[1], _mm256_madd_epi16(run[1], scale[1])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn add(sums: Two, run: Two) -> Two {
        unsafe { Self::scale_add(sums, run, [_mm256_set1_epi16(1); 2]) }
    }

    #[inline(always)]
    unsafe fn unsigned_pairs(first: Row, second: Row) -> Two {
        unsafe {
            let (first, second) = (register(first), register(second));
            [
                _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(first, second)),
                _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(first, second)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn signed_pairs(first: Row, second: Row) -> Two {
        unsafe {
            let (first, second) = (register(first), register(second));
            [
                _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(first, second)),
                _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(first, second)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_pairs(bytes: *const u8) -> Two {
        unsafe { Self::load(bytes) }
    }

    #[inline(always)]
    unsafe fn store_pairs(bytes: *mut u8, pairs: Two) {
        unsafe { Self::store(bytes, pairs) }
    }

    #[inline(always)]
    unsafe fn pairs_add(sums: Two, pairs: Two, x: *const i16) -> Two {
        unsafe {
            let x = _mm256_set1_epi32(x.cast::<i32>().read_unaligned());
            [
                _mm256_add_epi32(sums[0], _mm256_madd_epi16(pairs[0], x)),
                _mm256_add_epi32(sums[1], _mm256_madd_epi16(pairs[1], x)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn all(value: i32) -> Two {
        unsafe { [_mm256_set1_epi32(value); 2] }
    }

    #[inline(always)]
    unsafe fn minus_32_times(sums: Two, other: Two) -> Two {
        unsafe {
            [
                _mm256_sub_epi32(sums[0], _mm256_slli_epi32::<5>(other[0])),
                _mm256_sub_epi32(sums[1], _mm256_slli_epi32::<5>(other[1])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn to_floats(sums: Two) -> [__m256; 2] {
        unsafe { [_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])] }
    }

    #[inline(always)]
    unsafe fn no_floats() -> [__m256; 2] {
        unsafe { [_mm256_setzero_ps(); 2] }
    }

    #[inline(always)]
    unsafe fn load_floats(values: *const f32) -> [__m256; 2] {
        unsafe { [_mm256_loadu_ps(values), _mm256_loadu_ps(values.add(8))] }
    }

    #[inline(always)]
    unsafe fn store_floats(values: *mut f32, floats: [__m256; 2]) {
        unsafe {
            _mm256_storeu_ps(values, floats[0]);
            _mm256_storeu_ps(values.add(8), floats[1]);
        }
    }

    #[inline(always)]
    unsafe fn load_halves(values: *const u8) -> [__m256; 2] {
        unsafe {
            [
                _mm256_cvtph_ps(_mm_loadu_si128(values.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(values.add(16).cast())),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_brains(values: *const u8) -> [__m256; 2] {
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(values.cast()));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(values.add(16).cast()));
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_bytes(values: *const u8) -> [__m256; 2] {
        unsafe {
            let low = _mm256_cvtepi8_epi32(_mm_loadl_epi64(values.cast()));
            let high = _mm256_cvtepi8_epi32(_mm_loadl_epi64(values.add(8).cast()));
            [_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)]
        }
    }

    #[inline(always)]
    unsafe fn times(a: [__m256; 2], b: f32) -> [__m256; 2] {
        unsafe {
            let b = _mm256_set1_ps(b);
            [_mm256_mul_ps(a[0], b), _mm256_mul_ps(a[1], b)]
        }
    }

    #[inline(always)]
    unsafe fn fused(a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    unsafe fn fused_one(a: [__m256; 2], b: f32, c: [__m256; 2]) -> [__m256; 2] {
        unsafe { Self::fused(a, [_mm256_set1_ps(b); 2], c) }
    }

    #[inline(always)]
    unsafe fn fused_at(a: [__m256; 2], b: (*const f32, usize), c: [__m256; 2]) -> [__m256; 2] {
        unsafe { spread_and_add(a, b, c) }
    }

    #[inline(always)]
    unsafe fn fused_minus(a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_fnmadd_ps(a[0], b[0], c[0]), _mm256_fnmadd_ps(a[1], b[1], c[1])] }
    }
}
