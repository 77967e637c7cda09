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
//! Q8_0. Its scale is a factor of a whole block's products, so no number is widened twice.

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

/// How pages keep numbers. Unsafe: pointers must reach as far as the layouts above say.
pub(super) trait Kept {
    /// Products of `Q` queries with a tile of keys.
    unsafe fn products<I: Isa, const Q: usize>(
        keys: *const u8,
        x: [*const f32; Q],
        dim: usize,
    ) -> [I::Floats; Q];

    /// Adds the weighted values to what each of `Q` queries has gathered. `weights`: of the first
    /// of the values on, up to a multiple of 16.
    unsafe fn gather<I: Isa, const Q: usize>(
        values: &Values,
        weights: [*const f32; Q],
        gathered: *mut f32,
    );
}

// SAFETY of the functions: the caller's pointers reach so far.
impl<N: Number> Kept for N {
    #[inline(always)]
    unsafe fn products<I: Isa, const Q: usize>(
        keys: *const u8,
        x: [*const f32; Q],
        dim: usize,
    ) -> [I::Floats; Q] {
        unsafe {
            let mut sums = [I::no_floats(); Q];
            for column in 0..dim {
                let keys = N::load::<I>(keys.add(column * TILE * N::BYTES));
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum = I::fused_one(keys, *x.add(column), *sum);
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn gather<I: Isa, const Q: usize>(
        values: &Values,
        weights: [*const f32; Q],
        gathered: *mut f32,
    ) {
        let stride = values.stride;
        unsafe {
            for column in (0..stride).step_by(TILE) {
                let mut sums = load::<I, Q>(gathered.add(column), stride);
                let values = (values.place..values.place + values.count)
                    .map(|place| values.start.add((place * stride + column) * N::BYTES));
                for (index, values) in values.enumerate() {
                    let values = N::load::<I>(values);
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = I::fused_one(values, *weights.add(index), *sum);
                    }
                }
                store::<I, Q>(sums, gathered.add(column), stride);
            }
        }
    }
}

// SAFETY of the functions: the caller's pointers reach so far.
impl Kept for Q8 {
    #[inline(always)]
    unsafe fn products<I: Isa, const Q: usize>(
        keys: *const u8,
        x: [*const f32; Q],
        dim: usize,
    ) -> [I::Floats; Q] {
        unsafe {
            let mut keys = keys;
            let mut totals = [I::no_floats(); Q];
            for block in (0..dim).step_by(BLOCK) {
                let scales = I::load_halves(keys);
                keys = keys.add(SCALES_BYTES);
                let mut sums = [I::no_floats(); Q];
                for column in block..dim.min(block + BLOCK) {
                    let bytes = I::load_bytes(keys);
                    keys = keys.add(TILE);
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = I::fused_one(bytes, *x.add(column), *sum);
                    }
                }
                for (total, sum) in totals.iter_mut().zip(sums) {
                    *total = I::fused(sum, scales, *total);
                }
            }
            totals
        }
    }

    #[inline(always)]
    unsafe fn gather<I: Isa, const Q: usize>(
        values: &Values,
        weights: [*const f32; Q],
        gathered: *mut f32,
    ) {
        let Values { start, page_tokens, place, count, stride } = *values;
        let scales_bytes = page_tokens.next_multiple_of(TILE) * 2;
        // Weights times scales, 16 tokens at a time.
        let mut scaled = [[0.0f32; TILE]; Q];
        unsafe {
            let scales = start.add(page_tokens * stride);
            for first in (0..count).step_by(TILE) {
                let some = TILE.min(count - first);
                for block in (0..stride).step_by(BLOCK) {
                    let scales = scales.add(block / BLOCK * scales_bytes + 2 * (place + first));
                    let scales = I::load_halves(scales);
                    for (scaled, weights) in scaled.iter_mut().zip(weights) {
                        let product = I::load_floats(weights.add(first));
                        let product = I::fused(product, scales, I::no_floats());
                        I::store_floats(scaled.as_mut_ptr(), product);
                    }
                    for column in (block..stride.min(block + BLOCK)).step_by(TILE) {
                        let mut sums = load::<I, Q>(gathered.add(column), stride);
                        let values = start.add((place + first) * stride + column);
                        for index in 0..some {
                            let bytes = I::load_bytes(values.add(index * stride));
                            for (sum, scaled) in sums.iter_mut().zip(&scaled) {
                                *sum = I::fused_one(bytes, *scaled.as_ptr().add(index), *sum);
                            }
                        }
                        store::<I, Q>(sums, gathered.add(column), stride);
                    }
                }
            }
        }
    }
}

/// 16 columns of what each query has gathered.
#[inline(always)]
unsafe fn load<I: Isa, const Q: usize>(gathered: *const f32, stride: usize) -> [I::Floats; Q] {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [I::no_floats(); Q];
        for (index, sum) in sums.iter_mut().enumerate() {
            *sum = I::load_floats(gathered.add(index * stride));
        }
        sums
    }
}

#[inline(always)]
unsafe fn store<I: Isa, const Q: usize>(sums: [I::Floats; Q], to: *mut f32, stride: usize) {
    // SAFETY: the caller's.
    unsafe {
        for (index, sum) in sums.into_iter().enumerate() {
            I::store_floats(to.add(index * stride), sum);
        }
    }
}
