//! The innermost loops of attention, for each way in which pages keep numbers.
//!
//! ```text
//! whole floats   keys of a tile  [head_dim, 16 tokens]
//!                values of a page and head  [token, head_dim up to a multiple of 16]
//! 8 bits         keys of a tile  for each 32 columns: 16 scales, [32 columns, 16 tokens]
//!                values of a page and head  [token, as above], then for each 32 columns:
//!                a scale for each token, up to a multiple of 16
//! ```
//!
//! A block of 8 bits is 32 neighbouring columns of one token's key or value in one head, as in
//! Q8_0.

use crate::packed::{Isa, Number, TILE};

/// Columns of a key or value that share a scale, as in ggml's Q8_0.
pub(super) const BLOCK: usize = 32;
/// Bytes of the scales of 16 tokens.
pub(super) const SCALES_BYTES: usize = 2 * TILE;

/// Keys and values in bytes, a scale for each block.
pub(super) struct Q8;

/// Neighbouring tokens of one page, as one head keeps their values.
pub(super) struct Values {
    /// The page's first value.
    pub(super) start: *const u8,
    pub(super) page_tokens: usize,
    /// The first token's place in the page, a multiple of 16.
    pub(super) place: usize,
    pub(super) count: usize,
    /// Numbers from one token's value to the next one's.
    pub(super) stride: usize,
}

/// What becomes of 16 numbers at a time.
pub(super) trait Sink<I: Isa> {
    /// Unsafe: see what implements it.
    unsafe fn take(&mut self, index: usize, numbers: I::Floats);
}

/// Sums of products with the numbers of `Q` rows: number `index` with `x[..][index]`.
pub(super) struct Sums<I: Isa, const Q: usize> {
    pub(super) sums: [I::Floats; Q],
    pub(super) x: [*const f32; Q],
}

/// Writes the numbers down as floats, 16 after 16.
pub(super) struct Widened(pub(super) *mut f32);

/// How pages keep numbers. Unsafe: pointers must reach as far as the layouts above say.
pub(super) trait Kept {
    /// Each column of a tile of keys.
    unsafe fn keys<I: Isa, S: Sink<I>>(keys: *const u8, dim: usize, sink: &mut S);

    /// 16 columns, from `column` on, of each token's value.
    unsafe fn values<I: Isa, S: Sink<I>>(values: &Values, column: usize, sink: &mut S);
}

impl<I: Isa, const Q: usize> Sink<I> for Sums<I, Q> {
    #[inline(always)]
    unsafe fn take(&mut self, index: usize, numbers: I::Floats) {
        for (sum, x) in self.sums.iter_mut().zip(self.x) {
            // SAFETY: `x` has as many numbers as there are indices.
            unsafe { *sum = I::fused_at(numbers, (x, index), *sum) }
        }
    }
}

impl<I: Isa> Sink<I> for Widened {
    #[inline(always)]
    unsafe fn take(&mut self, index: usize, numbers: I::Floats) {
        // SAFETY: there is room for 16 floats for each index.
        unsafe { I::store_floats(self.0.add(index * TILE), numbers) }
    }
}

// SAFETY of the functions: the caller's pointers reach so far.
impl<N: Number> Kept for N {
    #[inline(always)]
    unsafe fn keys<I: Isa, S: Sink<I>>(keys: *const u8, dim: usize, sink: &mut S) {
        unsafe {
            for column in 0..dim {
                sink.take(column, N::load::<I>(keys.add(column * TILE * N::BYTES)));
            }
        }
    }

    #[inline(always)]
    unsafe fn values<I: Isa, S: Sink<I>>(values: &Values, column: usize, sink: &mut S) {
        unsafe {
            let first = values.start.add((values.place * values.stride + column) * N::BYTES);
            for index in 0..values.count {
                sink.take(index, N::load::<I>(first.add(index * values.stride * N::BYTES)));
            }
        }
    }
}

// A byte times a half float is a float without rounding.
// SAFETY of the functions: the caller's pointers reach so far.
impl Kept for Q8 {
    #[inline(always)]
    unsafe fn keys<I: Isa, S: Sink<I>>(keys: *const u8, dim: usize, sink: &mut S) {
        unsafe {
            let mut keys = keys;
            for block in (0..dim).step_by(BLOCK) {
                let scales = I::load_halves(keys);
                keys = keys.add(SCALES_BYTES);
                for column in block..dim.min(block + BLOCK) {
                    let bytes = I::load_bytes(keys);
                    keys = keys.add(TILE);
                    sink.take(column, I::fused(bytes, scales, I::no_floats()));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn values<I: Isa, S: Sink<I>>(values: &Values, column: usize, sink: &mut S) {
        let Values { start, page_tokens, place, count, stride } = *values;
        let scales_bytes = page_tokens.next_multiple_of(TILE) * 2;
        let mut scales = [0.0f32; TILE];
        unsafe {
            let block_scales = start.add(page_tokens * stride + column / BLOCK * scales_bytes);
            for first in (0..count).step_by(TILE) {
                let some = I::load_halves(block_scales.add(2 * (place + first)));
                I::store_floats(scales.as_mut_ptr(), some);
                for index in first..count.min(first + TILE) {
                    let bytes = I::load_bytes(start.add((place + index) * stride + column));
                    sink.take(index, I::times(bytes, scales[index - first]));
                }
            }
        }
    }
}
