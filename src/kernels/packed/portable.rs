//! Any machine: arrays, which the compiler turns into whatever vectors there are.

use super::isa::{GROUP_BYTES, Isa, Row, TILE};
use crate::lanes::{PORTABLE_FMA, fused};

pub(crate) struct Portable;

type Ints = [i32; TILE];
type Floats = [f32; TILE];
type Pairs = [[i16; 2]; TILE];

#[inline(always)]
fn pairs(first: [i16; TILE], second: [i16; TILE]) -> Pairs {
    let mut pairs = [[0; 2]; TILE];
    for output in 0..TILE {
        pairs[output] = [first[output], second[output]];
    }
    pairs
}

#[inline(always)]
fn floats(value: impl Fn(usize) -> f32) -> Floats {
    let mut floats = [0.0; TILE];
    for (output, float) in floats.iter_mut().enumerate() {
        *float = value(output);
    }
    floats
}

// SAFETY of every function below: only the caller's pointers are unsafe; they reach as far as the
// trait says.
impl Isa for Portable {
    type Bytes = [u8; GROUP_BYTES];
    type Run = Ints;
    type Scale = Ints;
    type Pairs = Pairs;
    type Ints = Ints;
    type Floats = Floats;

    const SIGNED_CENTRE: i32 = 0;

    #[inline(always)]
    fn longest_run(_bits: usize) -> usize {
        8
    }

    #[inline(always)]
    unsafe fn fetch(_bytes: *const u8) {}

    #[inline(always)]
    unsafe fn load(bytes: *const u8) -> [u8; GROUP_BYTES] {
        unsafe { bytes.cast::<[u8; GROUP_BYTES]>().read() }
    }

    #[inline(always)]
    unsafe fn store(bytes: *mut u8, group: [u8; GROUP_BYTES]) {
        unsafe { bytes.cast::<[u8; GROUP_BYTES]>().write(group) }
    }

    #[inline(always)]
    unsafe fn field(mut bytes: [u8; GROUP_BYTES], shift: i32, mask: u8) -> [u8; GROUP_BYTES] {
        bytes.iter_mut().for_each(|byte| *byte = *byte >> shift & mask);
        bytes
    }

    #[inline(always)]
    unsafe fn join(mut low: [u8; GROUP_BYTES], high: [u8; GROUP_BYTES]) -> [u8; GROUP_BYTES] {
        for (low, high) in low.iter_mut().zip(high) {
            *low |= high << 4;
        }
        low
    }

    #[inline(always)]
    unsafe fn no_run() -> Ints {
        [0; TILE]
    }

    #[inline(always)]
    unsafe fn dot(mut run: Ints, weights: [u8; GROUP_BYTES], x: *const i8) -> Ints {
        let x = unsafe { x.cast::<[i8; 4]>().read() };
        for (sum, weights) in run.iter_mut().zip(weights.as_chunks::<4>().0) {
            for input in 0..4 {
                *sum += i32::from(weights[input]) * i32::from(x[input]);
            }
        }
        run
    }

    #[inline(always)]
    unsafe fn signed(bytes: [u8; GROUP_BYTES]) -> [u8; GROUP_BYTES] {
        bytes
    }

    #[inline(always)]
    unsafe fn dot_signed(mut sums: Ints, weights: [u8; GROUP_BYTES], x: *const i8) -> Ints {
        let x = unsafe { x.cast::<[i8; 4]>().read() };
        for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<4>().0) {
            for input in 0..4 {
                *sum += i32::from(weights[input] as i8) * i32::from(x[input]);
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn unsigned_scale(row: Row) -> Ints {
        row.to_le_bytes().map(i32::from)
    }

    #[inline(always)]
    unsafe fn signed_scale(row: Row) -> Ints {
        row.to_le_bytes().map(|byte| i32::from(byte as i8))
    }

    #[inline(always)]
    unsafe fn load_scale(bytes: *const u8) -> Ints {
        unsafe { bytes.cast::<Ints>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_scale(bytes: *mut u8, scale: Ints) {
        unsafe { bytes.cast::<Ints>().write_unaligned(scale) }
    }

    #[inline(always)]
    unsafe fn scale_add(mut sums: Ints, run: Ints, scale: Ints) -> Ints {
        for output in 0..TILE {
            sums[output] += run[output] * scale[output];
        }
        sums
    }

    #[inline(always)]
    unsafe fn add(mut sums: Ints, run: Ints) -> Ints {
        for output in 0..TILE {
            sums[output] += run[output];
        }
        sums
    }

    #[inline(always)]
    unsafe fn unsigned_pairs(first: Row, second: Row) -> Pairs {
        pairs(first.to_le_bytes().map(i16::from), second.to_le_bytes().map(i16::from))
    }

    #[inline(always)]
    unsafe fn signed_pairs(first: Row, second: Row) -> Pairs {
        let signed = |row: Row| row.to_le_bytes().map(|byte| i16::from(byte as i8));
        pairs(signed(first), signed(second))
    }

    #[inline(always)]
    unsafe fn load_pairs(bytes: *const u8) -> Pairs {
        unsafe { bytes.cast::<Pairs>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_pairs(bytes: *mut u8, pairs: Pairs) {
        unsafe { bytes.cast::<Pairs>().write_unaligned(pairs) }
    }

    #[inline(always)]
    unsafe fn pairs_add(mut sums: Ints, pairs: Pairs, x: *const i16) -> Ints {
        let x = unsafe { x.cast::<[i16; 2]>().read_unaligned() };
        for (sum, pair) in sums.iter_mut().zip(pairs) {
            *sum += i32::from(pair[0]) * i32::from(x[0]) + i32::from(pair[1]) * i32::from(x[1]);
        }
        sums
    }

    #[inline(always)]
    unsafe fn all(value: i32) -> Ints {
        [value; TILE]
    }

    #[inline(always)]
    unsafe fn minus_32_times(mut sums: Ints, other: Ints) -> Ints {
        for output in 0..TILE {
            sums[output] -= 32 * other[output];
        }
        sums
    }

    #[inline(always)]
    unsafe fn to_floats(sums: Ints) -> Floats {
        floats(|output| sums[output] as f32)
    }

    #[inline(always)]
    unsafe fn no_floats() -> Floats {
        [0.0; TILE]
    }

    #[inline(always)]
    unsafe fn load_floats(values: *const f32) -> Floats {
        unsafe { values.cast::<Floats>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_floats(values: *mut f32, floats: Floats) {
        unsafe { values.cast::<Floats>().write_unaligned(floats) }
    }

    #[inline(always)]
    unsafe fn load_halves(values: *const u8) -> Floats {
        let halves = unsafe { values.cast::<[u16; TILE]>().read_unaligned() };
        floats(|output| crate::half::widen(halves[output]))
    }

    #[inline(always)]
    unsafe fn load_brains(values: *const u8) -> Floats {
        let brains = unsafe { values.cast::<[u16; TILE]>().read_unaligned() };
        floats(|output| f32::from_bits(u32::from(brains[output]) << 16))
    }

    #[inline(always)]
    unsafe fn load_bytes(values: *const u8) -> Floats {
        let bytes = unsafe { values.cast::<[i8; TILE]>().read() };
        floats(|output| f32::from(bytes[output]))
    }

    #[inline(always)]
    unsafe fn times(a: Floats, b: f32) -> Floats {
        floats(|output| a[output] * b)
    }

    #[inline(always)]
    unsafe fn fused(a: Floats, b: Floats, c: Floats) -> Floats {
        floats(|output| fused::<PORTABLE_FMA>(a[output], b[output], c[output]))
    }

    #[inline(always)]
    unsafe fn fused_one(a: Floats, b: f32, c: Floats) -> Floats {
        floats(|output| fused::<PORTABLE_FMA>(a[output], b, c[output]))
    }

    #[inline(always)]
    unsafe fn fused_minus(a: Floats, b: Floats, c: Floats) -> Floats {
        floats(|output| fused::<PORTABLE_FMA>(-a[output], b[output], c[output]))
    }
}
