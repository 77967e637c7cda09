//! A block of a sequence's tokens, as it lies in the pages or widened.

use std::ops::Range;

use crate::packed::{F32, Isa, TILE};

use super::kept::{Kept, Sums, Values, Widened};
use super::pages::KvPages;

/// Tokens whose scores are held at once.
pub(super) const BLOCK_TOKENS: usize = 64;
/// A tile's 16 products may reach past the end of its page, and so of its block.
pub(super) const SLOTS: usize = BLOCK_TOKENS + TILE;

/// Scores of `Q` queries with a block's tokens.
pub(super) type Scores<const Q: usize> = [[f32; SLOTS]; Q];

/// Where the keys and values of a block are read. Tokens count from the block's start.
///
/// Unsafe: the tokens must be there, and start a tile; the queries and weights must be as many.
pub(super) trait Block {
    /// Products of `Q` queries with the keys of these tokens.
    unsafe fn products<I: Isa, const Q: usize>(
        &self,
        tokens: Range<usize>,
        x: [*const f32; Q],
        scores: &mut Scores<Q>,
    );

    /// Adds the weighted values of these tokens to what each query has gathered.
    unsafe fn gather<I: Isa, const Q: usize>(
        &self,
        tokens: Range<usize>,
        scores: &Scores<Q>,
        gathered: *mut f32,
    );
}

/// A block in pages that keep numbers as `K`.
pub(super) struct Paged<'a, K> {
    kv: &'a KvPages,
    pages: &'a [u32],
    head: usize,
    start: usize,
    kept: std::marker::PhantomData<K>,
}

/// A block as floats, in the order in which they are used.
pub(super) struct Wide {
    dim: usize,
    /// [tile of tokens, dim, token of 16]
    keys: Vec<f32>,
    /// [tile of columns, token, column of 16]
    values: Vec<f32>,
}

impl<'a, K: Kept> Paged<'a, K> {
    pub(super) fn new(kv: &'a KvPages, pages: &'a [u32], head: usize, start: usize) -> Self {
        Paged { kv, pages, head, start, kept: std::marker::PhantomData }
    }

    /// Tokens that lie in one page, from `token` on.
    fn values(&self, token: usize, end: usize) -> Values {
        let page_tokens = self.kv.page_tokens();
        let place = (self.start + token) % page_tokens;
        Values {
            // SAFETY: the pages hold the block's tokens.
            start: unsafe { self.kv.values_at(self.pages, self.head, self.start + token) },
            page_tokens,
            place,
            count: (page_tokens - place).min(end - token),
            stride: self.kv.value_stride(),
        }
    }
}

// SAFETY of the functions: the caller's.
impl<K: Kept> Block for Paged<'_, K> {
    #[inline(always)]
    unsafe fn products<I: Isa, const Q: usize>(
        &self,
        tokens: Range<usize>,
        x: [*const f32; Q],
        scores: &mut Scores<Q>,
    ) {
        let mut tile = self.start + tokens.start;
        while tile < self.start + tokens.end {
            unsafe {
                let keys = self.kv.keys_at(self.pages, self.head, tile);
                let mut sink = Sums::<I, Q> { sums: [I::no_floats(); Q], x };
                K::keys(keys, self.kv.head_dim(), &mut sink);
                for (scores, sum) in scores.iter_mut().zip(sink.sums) {
                    I::store_floats(scores[tile - self.start..].as_mut_ptr(), sum);
                }
            }
            tile = self.kv.next_tile(tile);
        }
    }

    #[inline(always)]
    unsafe fn gather<I: Isa, const Q: usize>(
        &self,
        tokens: Range<usize>,
        scores: &Scores<Q>,
        gathered: *mut f32,
    ) {
        let stride = self.kv.value_stride();
        let mut token = tokens.start;
        while token < tokens.end {
            let values = self.values(token, tokens.end);
            let weights = scores.each_ref().map(|scores| scores[token..].as_ptr());
            for column in (0..stride).step_by(TILE) {
                unsafe {
                    let gathered = gathered.add(column);
                    let mut sink =
                        Sums::<I, Q> { sums: load::<I, Q>(gathered, stride), x: weights };
                    K::values(&values, column, &mut sink);
                    store::<I, Q>(sink.sums, gathered, stride);
                }
            }
            token += values.count;
        }
    }
}

impl Wide {
    pub(super) fn new(dim: usize) -> Wide {
        let values = vec![0.0; BLOCK_TOKENS * dim.next_multiple_of(TILE)];
        Wide { dim, keys: vec![0.0; BLOCK_TOKENS * dim], values }
    }

    /// Widens these tokens. Unsafe: as [`Block`]; a page must hold whole tiles.
    #[inline(always)]
    pub(super) unsafe fn fill<I: Isa, K: Kept>(
        &mut self,
        from: &Paged<'_, K>,
        tokens: Range<usize>,
    ) {
        for tile in tokens.clone().step_by(TILE) {
            // SAFETY: the caller's; the block has room for each of its tiles.
            unsafe {
                let keys = from.kv.keys_at(from.pages, from.head, from.start + tile);
                let to = &mut self.keys[tile * self.dim..][..TILE * self.dim];
                K::keys::<I, _>(keys, self.dim, &mut Widened(to.as_mut_ptr()));
            }
        }
        let mut token = tokens.start;
        while token < tokens.end {
            let values = from.values(token, tokens.end);
            let columns = self.values.chunks_exact_mut(BLOCK_TOKENS * TILE);
            for (tile, columns) in columns.enumerate() {
                let to = columns[token * TILE..][..values.count * TILE].as_mut_ptr();
                // SAFETY: the caller's, and the room above.
                unsafe { K::values::<I, _>(&values, tile * TILE, &mut Widened(to)) }
            }
            token += values.count;
        }
    }
}

// SAFETY of the functions: the caller's.
impl Block for Wide {
    #[inline(always)]
    unsafe fn products<I: Isa, const Q: usize>(
        &self,
        tokens: Range<usize>,
        x: [*const f32; Q],
        scores: &mut Scores<Q>,
    ) {
        for tile in tokens.step_by(TILE) {
            let keys = self.keys[tile * self.dim..][..TILE * self.dim].as_ptr();
            unsafe {
                let mut sink = Sums::<I, Q> { sums: [I::no_floats(); Q], x };
                F32::keys(keys.cast(), self.dim, &mut sink);
                for (scores, sum) in scores.iter_mut().zip(sink.sums) {
                    I::store_floats(scores[tile..].as_mut_ptr(), sum);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn gather<I: Isa, const Q: usize>(
        &self,
        tokens: Range<usize>,
        scores: &Scores<Q>,
        gathered: *mut f32,
    ) {
        let stride = self.dim.next_multiple_of(TILE);
        let weights = scores.each_ref().map(|scores| scores[tokens.start..].as_ptr());
        for (tile, columns) in self.values.chunks_exact(BLOCK_TOKENS * TILE).enumerate() {
            let values = columns[tokens.start * TILE..tokens.end * TILE].as_ptr();
            unsafe {
                let gathered = gathered.add(tile * TILE);
                let mut sink = Sums::<I, Q> { sums: load::<I, Q>(gathered, stride), x: weights };
                F32::keys(values.cast(), tokens.len(), &mut sink);
                store::<I, Q>(sink.sums, gathered, stride);
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
