//! NEON, which every 64-bit ARM machine has: four registers of 4 outputs make a tile.
//!
//! With the dot product extension (ARMv8.2, in all cores since 2018) `sdot` adds four products of
//! bytes into 32 bits. Without it they are widened and added in pairs: 2 · 128 · 127 fits 16 bits.
//! Both are exact. What the standard library does not offer in its stable part is written as one
//! instruction of assembly.
//!
//! Any Linux machine can run these kernels' tests, with Rust's standard library for the target, a
//! linker for it and qemu's user mode; a second run with `-cpu cortex-a53` has no `sdot`:
//!
//! ```sh
//! export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
//! export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu"
//! cargo test -p hearth-kernels --target aarch64-unknown-linux-gnu
//! ```

use std::arch::aarch64::*;
use std::arch::asm;

use super::isa::{Isa, Row};

/// `DOTPROD`: the machine has `sdot`.
pub(crate) struct Neon<const DOTPROD: bool>;

type Bytes = [uint8x16_t; 4];
type Ints = [int32x4_t; 4];
type Pairs = [int16x8_t; 4];
type Floats = [float32x4_t; 4];

/// Adds to each number the products of its four bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn sdot(sums: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: the function is compiled for machines that have the instruction.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {weights:v}.16b, {x:v}.16b",
            sums = inout(vreg) sums,
            weights = in(vreg) weights,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// As `sdot`, for machines without it.
#[inline(always)]
fn widened_dot(sums: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: every machine of this architecture has these instructions.
    unsafe {
        let low = vmull_s8(vget_low_s8(weights), vget_low_s8(x));
        let high = vmull_high_s8(weights, x);
        vpadalq_s16(sums, vpaddq_s16(low, high))
    }
}

/// Eight half floats, widened.
#[inline(always)]
fn widen(halves: uint16x8_t) -> [float32x4_t; 2] {
    let (low, high);
    // SAFETY: every machine of this architecture has the instructions.
    unsafe {
        asm!(
            "fcvtl {low:v}.4s, {halves:v}.4h",
            "fcvtl2 {high:v}.4s, {halves:v}.8h",
            low = out(vreg) low,
            high = lateout(vreg) high,
            halves = in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    [low, high]
}

#[inline(always)]
fn register(row: Row) -> uint8x16_t {
    // SAFETY: both are 16 bytes, and any bytes are a value of either.
    unsafe { std::mem::transmute::<Row, uint8x16_t>(row) }
}

/// Four inputs, for each output.
#[inline(always)]
unsafe fn inputs(x: *const i8) -> int8x16_t {
    // SAFETY: the caller's pointer reaches four bytes.
    unsafe { vreinterpretq_s8_s32(vdupq_n_s32(x.cast::<i32>().read_unaligned())) }
}

// SAFETY of every function below: the caller runs where NEON is, and `sdot` if it says so; its
// pointers reach as far as the trait says; nothing else is unsafe about these instructions.
impl<const DOTPROD: bool> Isa for Neon<DOTPROD> {
    type Bytes = Bytes;
    type Run = Ints;
    type Scale = Ints;
    type Pairs = Pairs;
    type Ints = Ints;
    type Floats = Floats;

    const SIGNED_CENTRE: i32 = 0;

    #[inline(always)]
    fn longest_run(_bits: usize) -> usize {
        // A run never spans more than one scale, and no scale spans more than 8 groups.
        8
    }

    #[inline(always)]
    unsafe fn fetch(bytes: *const u8) {
        unsafe {
            asm!(
                "prfm pldl1keep, [{bytes}]",
                bytes = in(reg) bytes,
                options(readonly, nostack, preserves_flags)
            );
        }
    }

    #[inline(always)]
    unsafe fn load(bytes: *const u8) -> Bytes {
        unsafe {
            [
                vld1q_u8(bytes),
                vld1q_u8(bytes.add(16)),
                vld1q_u8(bytes.add(32)),
                vld1q_u8(bytes.add(48)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store(bytes: *mut u8, group: Bytes) {
        unsafe {
            for (part, register) in group.into_iter().enumerate() {
                vst1q_u8(bytes.add(16 * part), register);
            }
        }
    }

    #[inline(always)]
    unsafe fn field(bytes: Bytes, shift: i32, mask: u8) -> Bytes {
        unsafe {
            // The compiler folds a count that it knows.
            let (shift, mask) = (vdupq_n_s8(-shift as i8), vdupq_n_u8(mask));
            bytes.map(|bytes| vandq_u8(vshlq_u8(bytes, shift), mask))
        }
    }

    #[inline(always)]
    unsafe fn join(low: Bytes, high: Bytes) -> Bytes {
        unsafe {
            [
                vorrq_u8(low[0], vshlq_n_u8::<4>(high[0])),
                vorrq_u8(low[1], vshlq_n_u8::<4>(high[1])),
                vorrq_u8(low[2], vshlq_n_u8::<4>(high[2])),
                vorrq_u8(low[3], vshlq_n_u8::<4>(high[3])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn no_run() -> Ints {
        unsafe { [vdupq_n_s32(0); 4] }
    }

    #[inline(always)]
    unsafe fn dot(mut run: Ints, weights: Bytes, x: *const i8) -> Ints {
        unsafe {
            // Weights of at most 6 bits are the same with and without a sign.
            let x = inputs(x);
            for part in 0..4 {
                let weights = vreinterpretq_s8_u8(weights[part]);
                run[part] = match DOTPROD {
                    true => sdot(run[part], weights, x),
                    false => widened_dot(run[part], weights, x),
                };
            }
            run
        }
    }

    #[inline(always)]
    unsafe fn signed(bytes: Bytes) -> Bytes {
        bytes
    }

    #[inline(always)]
    unsafe fn dot_signed(sums: Ints, weights: Bytes, x: *const i8) -> Ints {
        unsafe { Self::dot(sums, weights, x) }
    }

    #[inline(always)]
    unsafe fn unsigned_scale(row: Row) -> Ints {
        unsafe {
            let row = register(row);
            let (low, high) = (vmovl_u8(vget_low_u8(row)), vmovl_high_u8(row));
            [
                vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))),
                vreinterpretq_s32_u32(vmovl_high_u16(low)),
                vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))),
                vreinterpretq_s32_u32(vmovl_high_u16(high)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn signed_scale(row: Row) -> Ints {
        unsafe {
            let row = vreinterpretq_s8_u8(register(row));
            let (low, high) = (vmovl_s8(vget_low_s8(row)), vmovl_high_s8(row));
            [
                vmovl_s16(vget_low_s16(low)),
                vmovl_high_s16(low),
                vmovl_s16(vget_low_s16(high)),
                vmovl_high_s16(high),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_scale(bytes: *const u8) -> Ints {
        unsafe { Self::load(bytes).map(|part| vreinterpretq_s32_u8(part)) }
    }

    #[inline(always)]
    unsafe fn store_scale(bytes: *mut u8, scale: Ints) {
        unsafe { Self::store(bytes, scale.map(|part| vreinterpretq_u8_s32(part))) }
    }

    #[inline(always)]
    unsafe fn scale_add(mut sums: Ints, run: Ints, scale: Ints) -> Ints {
        unsafe {
            for part in 0..4 {
                sums[part] = vmlaq_s32(sums[part], run[part], scale[part]);
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn add(mut sums: Ints, run: Ints) -> Ints {
        unsafe {
            for part in 0..4 {
                sums[part] = vaddq_s32(sums[part], run[part]);
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn unsigned_pairs(first: Row, second: Row) -> Pairs {
        unsafe {
            let (first, second) = (register(first), register(second));
            let (low, high) = (vzip1q_u8(first, second), vzip2q_u8(first, second));
            [
                vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(low))),
                vreinterpretq_s16_u16(vmovl_high_u8(low)),
                vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(high))),
                vreinterpretq_s16_u16(vmovl_high_u8(high)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn signed_pairs(first: Row, second: Row) -> Pairs {
        unsafe {
            let first = vreinterpretq_s8_u8(register(first));
            let second = vreinterpretq_s8_u8(register(second));
            let (low, high) = (vzip1q_s8(first, second), vzip2q_s8(first, second));
            [
                vmovl_s8(vget_low_s8(low)),
                vmovl_high_s8(low),
                vmovl_s8(vget_low_s8(high)),
                vmovl_high_s8(high),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_pairs(bytes: *const u8) -> Pairs {
        unsafe { Self::load(bytes).map(|part| vreinterpretq_s16_u8(part)) }
    }

    #[inline(always)]
    unsafe fn store_pairs(bytes: *mut u8, pairs: Pairs) {
        unsafe { Self::store(bytes, pairs.map(|part| vreinterpretq_u8_s16(part))) }
    }

    #[inline(always)]
    unsafe fn pairs_add(mut sums: Ints, pairs: Pairs, x: *const i16) -> Ints {
        unsafe {
            let x = vreinterpretq_s16_s32(vdupq_n_s32(x.cast::<i32>().read_unaligned()));
            for part in 0..4 {
                let low = vmull_s16(vget_low_s16(pairs[part]), vget_low_s16(x));
                let high = vmull_high_s16(pairs[part], x);
                sums[part] = vaddq_s32(sums[part], vpaddq_s32(low, high));
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn all(value: i32) -> Ints {
        unsafe { [vdupq_n_s32(value); 4] }
    }

    #[inline(always)]
    unsafe fn minus_32_times(mut sums: Ints, other: Ints) -> Ints {
        unsafe {
            for part in 0..4 {
                sums[part] = vsubq_s32(sums[part], vshlq_n_s32::<5>(other[part]));
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn to_floats(sums: Ints) -> Floats {
        unsafe { sums.map(|sums| vcvtq_f32_s32(sums)) }
    }

    #[inline(always)]
    unsafe fn no_floats() -> Floats {
        unsafe { [vdupq_n_f32(0.0); 4] }
    }

    #[inline(always)]
    unsafe fn load_floats(values: *const f32) -> Floats {
        unsafe {
            [
                vld1q_f32(values),
                vld1q_f32(values.add(4)),
                vld1q_f32(values.add(8)),
                vld1q_f32(values.add(12)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_floats(values: *mut f32, floats: Floats) {
        unsafe {
            for (part, register) in floats.into_iter().enumerate() {
                vst1q_f32(values.add(4 * part), register);
            }
        }
    }

    #[inline(always)]
    unsafe fn load_halves(values: *const u8) -> Floats {
        unsafe {
            let [first, second] = widen(vreinterpretq_u16_u8(vld1q_u8(values)));
            let [third, fourth] = widen(vreinterpretq_u16_u8(vld1q_u8(values.add(16))));
            [first, second, third, fourth]
        }
    }

    #[inline(always)]
    unsafe fn load_brains(values: *const u8) -> Floats {
        unsafe {
            let low = vreinterpretq_u16_u8(vld1q_u8(values));
            let high = vreinterpretq_u16_u8(vld1q_u8(values.add(16)));
            [
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(low))),
                vreinterpretq_f32_u32(vshll_high_n_u16::<16>(low)),
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(high))),
                vreinterpretq_f32_u32(vshll_high_n_u16::<16>(high)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_bytes(values: *const u8) -> Floats {
        unsafe { Self::to_floats(Self::signed_scale(values.cast::<Row>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn times(a: Floats, b: f32) -> Floats {
        unsafe { a.map(|a| vmulq_n_f32(a, b)) }
    }

    #[inline(always)]
    unsafe fn fused(a: Floats, b: Floats, mut c: Floats) -> Floats {
        unsafe {
            for part in 0..4 {
                c[part] = vfmaq_f32(c[part], a[part], b[part]);
            }
            c
        }
    }

    #[inline(always)]
    unsafe fn fused_one(a: Floats, b: f32, mut c: Floats) -> Floats {
        unsafe {
            for part in 0..4 {
                c[part] = vfmaq_n_f32(c[part], a[part], b);
            }
            c
        }
    }

    #[inline(always)]
    unsafe fn fused_minus(a: Floats, b: Floats, mut c: Floats) -> Floats {
        unsafe {
            for part in 0..4 {
                c[part] = vfmsq_f32(c[part], a[part], b[part]);
            }
            c
        }
    }
}
