//! Packed tiles times quantised rows.
//!
//! For few rows the weights are unpacked in registers on their way to the products. For many, a
//! block is unpacked once into a scratch that stays in the first-level cache, and all rows of a
//! panel are multiplied with it; so its weights are read from memory once, whatever the rows.

use super::activations::Quantized;
use super::isa::{GROUP_BYTES, Isa, TILE};
use super::kinds::{self, Form, Kind};

/// Rows that share one unpacking. 64 rows of 256 bytes are half of a first-level cache.
const PANEL: usize = 64;

/// Tiles of one matrix to be multiplied with all rows, and where the products go.
pub(super) struct Task<'a> {
    /// The tiles' blocks, tile after tile.
    pub(super) tiles: &'a [u8],
    /// Outputs of the matrix from the first tile on; the last tile may have fewer than 16.
    pub(super) outputs: usize,
    pub(super) x: &'a Quantized,
    /// Product of the first row with the first output; those of the next row are `stride` further.
    pub(super) y: *mut f32,
    pub(super) stride: usize,
}

/// Where a block's numbers come from.
trait Source<I: Isa> {
    /// Groups 2·`pair` and 2·`pair` + 1.
    unsafe fn pair(&self, pair: usize) -> [I::Bytes; 2];
    unsafe fn scale(&self, run: usize) -> I::Scale;
    unsafe fn pairs(&self, pair: usize) -> I::Pairs;
    /// d, and dmin where there is one.
    unsafe fn factors(&self) -> (I::Floats, I::Floats);
}

/// How an instruction set goes through a block, in runs of groups.
struct Walk {
    runs: usize,
    run_pairs: usize,
    runs_per_scale: usize,
    sum_pairs: usize,
}

#[inline(always)]
fn walk<I: Isa, K: Kind>() -> Walk {
    let longest = I::longest_run(K::BITS);
    let groups = if longest < K::SCALE_GROUPS { longest } else { K::SCALE_GROUPS };
    Walk {
        runs: K::COLUMNS / 4 / groups,
        run_pairs: groups / 2,
        runs_per_scale: K::SCALE_GROUPS / groups,
        sum_pairs: match K::FORM {
            Form::Flat { .. } | Form::Signed => 0,
            _ => K::COLUMNS / 4 / K::SCALE_GROUPS / 2,
        },
    }
}

/// How far ahead of the products weights are fetched. Hardware does not follow the order in which
/// a block is read (its scales lie behind its weights); 2 KiB are some 100 ns of products.
const FETCH_AHEAD: usize = 2048;

/// A block as it lies in memory, its scales of 6 bits spread out.
struct Packed<K> {
    block: *const u8,
    scales: [[u8; GROUP_BYTES]; 4],
    kind: std::marker::PhantomData<K>,
}

impl<K: Kind> Packed<K> {
    /// Unsafe: `block` must be whole.
    #[inline(always)]
    unsafe fn new<I: Isa>(block: *const u8) -> Self {
        let mut scales = [[0; GROUP_BYTES]; 4];
        if K::FORM == Form::Mins {
            // SAFETY: the block is whole.
            unsafe { kinds::spread_scales::<I>(block.add(K::SCALES), &mut scales) };
        }
        Packed { block, scales, kind: std::marker::PhantomData }
    }
}

// SAFETY of the functions: a `Packed` points at a whole block of its kind.
impl<I: Isa, K: Kind> Source<I> for Packed<K> {
    #[inline(always)]
    unsafe fn pair(&self, pair: usize) -> [I::Bytes; 2] {
        unsafe {
            // Also past the end: fetching what is not there does nothing.
            let bytes = K::BLOCK_BYTES / (K::COLUMNS / 8);
            I::fetch(self.block.wrapping_add(FETCH_AHEAD + pair * bytes));
            if bytes > 64 {
                I::fetch(self.block.wrapping_add(FETCH_AHEAD + pair * bytes + 64));
            }
            K::pair::<I>(self.block, pair)
        }
    }

    #[inline(always)]
    unsafe fn scale(&self, run: usize) -> I::Scale {
        unsafe {
            let index = run / walk::<I, K>().runs_per_scale;
            match K::FORM {
                Form::Mins => I::unsigned_scale(kinds::row(self.scales.as_flattened(), index)),
                _ => I::signed_scale(kinds::row_at(self.block.add(K::SCALES), index)),
            }
        }
    }

    #[inline(always)]
    unsafe fn pairs(&self, pair: usize) -> I::Pairs {
        unsafe {
            match K::FORM {
                Form::Mins => {
                    let mins = self.scales[2..].as_flattened();
                    I::unsigned_pairs(kinds::row(mins, 2 * pair), kinds::row(mins, 2 * pair + 1))
                }
                _ => {
                    let scales = self.block.add(K::SCALES);
                    let (first, second) = (2 * pair, 2 * pair + 1);
                    I::signed_pairs(kinds::row_at(scales, first), kinds::row_at(scales, second))
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn factors(&self) -> (I::Floats, I::Floats) {
        unsafe {
            let d = self.block.add(K::D);
            match K::FORM {
                Form::Mins => (I::load_halves(d), I::load_halves(d.add(2 * TILE))),
                _ => (I::load_halves(d), I::no_floats()),
            }
        }
    }
}

/// Inputs whose weights are unpacked together: a block of the large kinds, eight of the small.
const UNPACKED_COLUMNS: usize = 256;

/// Unpacked blocks, with room for the runs of Q6_K on AVX2 (32) and its pairs of scales (8).
#[repr(C, align(64))]
struct Scratch {
    weights: [[u8; GROUP_BYTES]; UNPACKED_COLUMNS / 4],
    scales: [[u8; GROUP_BYTES]; 32],
    pairs: [[u8; GROUP_BYTES]; 8],
    /// d and dmin of each block.
    factors: [[[f32; TILE]; 2]; UNPACKED_COLUMNS / 32],
}

impl Scratch {
    const EMPTY: Scratch = Scratch {
        weights: [[0; GROUP_BYTES]; UNPACKED_COLUMNS / 4],
        scales: [[0; GROUP_BYTES]; 32],
        pairs: [[0; GROUP_BYTES]; 8],
        factors: [[[0.0; TILE]; 2]; UNPACKED_COLUMNS / 32],
    };

    /// Unpacks a block as number `part` of those held.
    #[inline(always)]
    unsafe fn fill<I: Isa, K: Kind>(&mut self, part: usize, block: &Packed<K>) {
        let walk = walk::<I, K>();
        let weights = &mut self.weights[part * K::COLUMNS / 4..];
        // SAFETY: the block is whole; the arrays hold the largest kind's parts.
        unsafe {
            for pair in 0..K::COLUMNS / 8 {
                let [first, second] = Source::<I>::pair(block, pair);
                I::store(weights[2 * pair].as_mut_ptr(), first);
                I::store(weights[2 * pair + 1].as_mut_ptr(), second);
            }
            if walk.sum_pairs > 0 {
                for run in 0..walk.runs {
                    I::store_scale(self.scales[run].as_mut_ptr(), Source::<I>::scale(block, run));
                }
            }
            for pair in 0..walk.sum_pairs {
                I::store_pairs(self.pairs[pair].as_mut_ptr(), Source::<I>::pairs(block, pair));
            }
            let (d, dmin) = Source::<I>::factors(block);
            I::store_floats(self.factors[part][0].as_mut_ptr(), d);
            I::store_floats(self.factors[part][1].as_mut_ptr(), dmin);
        }
    }
}

struct Unpacked<'a, K> {
    scratch: &'a Scratch,
    part: usize,
    kind: std::marker::PhantomData<K>,
}

// SAFETY of the functions: `Scratch::fill` has written what a kind reads.
impl<I: Isa, K: Kind> Source<I> for Unpacked<'_, K> {
    #[inline(always)]
    unsafe fn pair(&self, pair: usize) -> [I::Bytes; 2] {
        unsafe {
            let place = self.part * K::COLUMNS / 4 + 2 * pair;
            let first = self.scratch.weights.as_ptr().add(place).cast::<u8>();
            [I::load(first), I::load(first.add(GROUP_BYTES))]
        }
    }

    #[inline(always)]
    unsafe fn scale(&self, run: usize) -> I::Scale {
        unsafe { I::load_scale(self.scratch.scales.as_ptr().add(run).cast()) }
    }

    #[inline(always)]
    unsafe fn pairs(&self, pair: usize) -> I::Pairs {
        unsafe { I::load_pairs(self.scratch.pairs.as_ptr().add(pair).cast()) }
    }

    #[inline(always)]
    unsafe fn factors(&self) -> (I::Floats, I::Floats) {
        unsafe {
            let [d, dmin] = &*self.scratch.factors.as_ptr().add(self.part);
            (I::load_floats(d.as_ptr()), I::load_floats(dmin.as_ptr()))
        }
    }
}

/// Adds one block's products with `T` rows, from `first` on, to their totals.
#[inline(always)]
unsafe fn block<I: Isa, K: Kind, S: Source<I>, const T: usize>(
    source: &S,
    x: &Quantized,
    (first, index): (usize, usize),
    totals: &mut [I::Floats; T],
) {
    let walk = walk::<I, K>();
    // SAFETY: the caller has checked that `x` has these rows and this block.
    unsafe {
        let together = if T > 4 { 4 } else { T };
        let quants = x.quants.as_ptr().add(first * x.columns + index * K::COLUMNS * together);
        let blocks = x.columns / K::COLUMNS;
        let mut sums = [I::all(0); T];
        let centre = match K::FORM {
            Form::Flat { centre } => centre,
            Form::Signed => I::SIGNED_CENTRE,
            Form::Mins | Form::Centred => 0,
        };
        if centre != 0 {
            for (row, sum) in sums.iter_mut().enumerate() {
                let of_x = *x.sums.as_ptr().add(x.row(first + row) * blocks + index);
                *sum = I::all(-centre * i32::from(of_x));
            }
        }
        let place = |row: usize, pair: usize| {
            let side = row / together * together * x.columns + row % together * 4;
            quants.wrapping_add(8 * pair * together + side)
        };
        for run in 0..walk.runs {
            let mut products = [I::no_run(); T];
            for pair in 0..walk.run_pairs {
                let pair = run * walk.run_pairs + pair;
                let [even, odd] = source.pair(pair);
                if K::FORM == Form::Signed {
                    for (row, sum) in sums.iter_mut().enumerate() {
                        let x = place(row, pair);
                        *sum = I::dot_signed(*sum, even, x);
                        *sum = I::dot_signed(*sum, odd, x.add(4 * together));
                    }
                } else {
                    for (row, product) in products.iter_mut().enumerate() {
                        let x = place(row, pair);
                        *product = I::dot(*product, even, x);
                        *product = I::dot(*product, odd, x.add(4 * together));
                    }
                }
            }
            match K::FORM {
                Form::Signed => {}
                Form::Flat { .. } => {
                    for row in 0..T {
                        sums[row] = I::add(sums[row], products[row]);
                    }
                }
                Form::Mins | Form::Centred => {
                    let scale = source.scale(run);
                    for row in 0..T {
                        sums[row] = I::scale_add(sums[row], products[row], scale);
                    }
                }
            }
        }
        finish::<I, K, S, T>(source, x, (first, index), (&mut sums, totals));
    }
}

/// Turns a block's whole-number sums into floats and adds them to the totals.
#[inline(always)]
unsafe fn finish<I: Isa, K: Kind, S: Source<I>, const T: usize>(
    source: &S,
    x: &Quantized,
    (first, index): (usize, usize),
    (sums, totals): (&mut [I::Ints; T], &mut [I::Floats; T]),
) {
    let walk = walk::<I, K>();
    // SAFETY: as in `block`.
    unsafe {
        let blocks = x.columns / K::COLUMNS;
        let mut offsets = [I::all(0); T];
        // Sums of 32 inputs for mins, of 16 where the scale itself offsets.
        let x_sums = if K::FORM == Form::Centred { &x.half_sums } else { &x.sums };
        let per_block = 2 * walk.sum_pairs;
        for pair in 0..walk.sum_pairs {
            let numbers = source.pairs(pair);
            for (row, offset) in offsets.iter_mut().enumerate() {
                let at = (x.row(first + row) * blocks + index) * per_block + 2 * pair;
                *offset = I::pairs_add(*offset, numbers, x_sums.as_ptr().add(at));
            }
        }
        let (d, dmin) = source.factors();
        for row in 0..T {
            let x_scale = *x.scales.as_ptr().add(x.row(first + row) * blocks + index);
            if K::FORM == Form::Centred {
                sums[row] = I::minus_32_times(sums[row], offsets[row]);
            }
            let product = I::to_floats(sums[row]);
            totals[row] = I::fused(product, I::times(d, x_scale), totals[row]);
            if K::FORM == Form::Mins {
                let offset = I::to_floats(offsets[row]);
                totals[row] = I::fused_minus(offset, I::times(dmin, x_scale), totals[row]);
            }
        }
    }
}

/// One tile times all rows, at most `T`; weights are unpacked on the way.
#[inline(always)]
unsafe fn direct<I: Isa, K: Kind, const T: usize>(task: &Task<'_>, tile: usize) {
    let blocks = task.x.columns / K::COLUMNS;
    // SAFETY: `tiles` has checked the sizes.
    unsafe {
        let start = task.tiles.as_ptr().add(tile * blocks * K::BLOCK_BYTES);
        let mut totals = [I::no_floats(); T];
        for index in 0..blocks {
            let source = Packed::<K>::new::<I>(start.add(index * K::BLOCK_BYTES));
            block::<I, K, _, T>(&source, task.x, (0, index), &mut totals);
        }
        for (row, &totals) in totals.iter().enumerate().take(task.x.rows) {
            let mut values = [0.0; TILE];
            I::store_floats(values.as_mut_ptr(), totals);
            put(task, tile, row, &values);
        }
    }
}

/// One tile times the rows of a panel, each block unpacked once.
#[inline(always)]
unsafe fn panel<I: Isa, K: Kind, const T: usize>(
    task: &Task<'_>,
    tile: usize,
    rows: std::ops::Range<usize>,
    scratch: &mut Scratch,
) {
    let blocks = task.x.columns / K::COLUMNS;
    let mut totals = [[0.0f32; TILE]; PANEL];
    // SAFETY: `tiles` has checked the sizes.
    unsafe {
        let start = task.tiles.as_ptr().add(tile * blocks * K::BLOCK_BYTES);
        for first in (0..blocks).step_by(UNPACKED_COLUMNS / K::COLUMNS) {
            let some = first..blocks.min(first + UNPACKED_COLUMNS / K::COLUMNS);
            for index in some.clone() {
                let block = Packed::new::<I>(start.add(index * K::BLOCK_BYTES));
                scratch.fill::<I, K>(index - first, &block);
            }
            let mut row = 0;
            while T > 4 && row + T <= rows.len() {
                let place = (rows.start + row, some.clone());
                rows_of_panel::<I, K, T>(scratch, task.x, place, &mut totals[row..]);
                row += T;
            }
            while row < rows.len() {
                let place = (rows.start + row, some.clone());
                rows_of_panel::<I, K, 4>(scratch, task.x, place, &mut totals[row..]);
                row += 4;
            }
        }
        for (row, values) in rows.clone().zip(&totals) {
            put(task, tile, row, values);
        }
    }
}

/// Adds the products of the unpacked blocks with `T` rows, from `first` on, to their totals.
#[inline(always)]
unsafe fn rows_of_panel<I: Isa, K: Kind, const T: usize>(
    scratch: &Scratch,
    x: &Quantized,
    (first, blocks): (usize, std::ops::Range<usize>),
    totals: &mut [[f32; TILE]],
) {
    // SAFETY: the panel has these rows.
    unsafe {
        let mut sums = [I::no_floats(); T];
        for (sum, values) in sums.iter_mut().zip(&totals[..T]) {
            *sum = I::load_floats(values.as_ptr());
        }
        for index in blocks.clone() {
            let part = index - blocks.start;
            let source = Unpacked::<K> { scratch, part, kind: std::marker::PhantomData };
            block::<I, K, _, T>(&source, x, (first, index), &mut sums);
        }
        for (sum, values) in sums.iter().zip(&mut totals[..T]) {
            I::store_floats(values.as_mut_ptr(), *sum);
        }
    }
}

/// Writes a tile's products with one row.
#[inline(always)]
pub(super) unsafe fn put(task: &Task<'_>, tile: usize, row: usize, values: &[f32; TILE]) {
    let count = TILE.min(task.outputs - tile * TILE);
    // SAFETY: the products of this row and tile are the caller's to write.
    unsafe {
        let to = task.y.add(row * task.stride + tile * TILE);
        std::ptr::copy_nonoverlapping(values.as_ptr(), to, count);
    }
}

/// All tiles of a task times all rows; in panels `T` rows are multiplied together, 4 or 8.
#[inline(always)]
pub(super) unsafe fn tiles<I: Isa, K: Kind, const T: usize>(task: &Task<'_>) {
    let tile_bytes = task.x.columns / K::COLUMNS * K::BLOCK_BYTES;
    let tiles = task.outputs.div_ceil(TILE);
    debug_assert!(task.x.columns.is_multiple_of(K::COLUMNS), "whole blocks");
    debug_assert!(task.tiles.len() >= tiles * tile_bytes, "whole tiles");
    // SAFETY: the tiles and rows are there, as just said; the caller lends their products.
    unsafe {
        for tile in 0..tiles {
            match task.x.together {
                1 => direct::<I, K, 1>(task, tile),
                2 => direct::<I, K, 2>(task, tile),
                _ if task.x.rows <= 4 => direct::<I, K, 4>(task, tile),
                _ => break,
            }
        }
        if task.x.rows > 4 {
            let mut scratch = Scratch::EMPTY;
            for first in (0..task.x.rows).step_by(PANEL) {
                for tile in 0..tiles {
                    let rows = first..task.x.rows.min(first + PANEL);
                    panel::<I, K, T>(task, tile, rows, &mut scratch);
                }
            }
        }
    }
}
