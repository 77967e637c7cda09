//! Packed tiles of plain floats times rows.
//!
//! Products are added input by input, in order, so a row has the same bits in any company.

use super::isa::{Isa, TILE};

/// How far ahead of the products weights are fetched, in bytes.
const FETCH_AHEAD: usize = 2048;

/// How a file writes floats.
pub(crate) trait Number {
    const BYTES: usize;

    /// 16 of them, widened. Unsafe: they must be there.
    unsafe fn load<I: Isa>(values: *const u8) -> I::Floats;
}

pub(crate) struct F32;
pub(crate) struct F16;
pub(super) struct BF16;

impl Number for F32 {
    const BYTES: usize = 4;

    #[inline(always)]
    unsafe fn load<I: Isa>(values: *const u8) -> I::Floats {
        unsafe { I::load_floats(values.cast()) }
    }
}

impl Number for F16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<I: Isa>(values: *const u8) -> I::Floats {
        unsafe { I::load_halves(values) }
    }
}

impl Number for BF16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<I: Isa>(values: *const u8) -> I::Floats {
        unsafe { I::load_brains(values) }
    }
}

/// Tiles of one matrix to be multiplied with all rows, and where the products go.
pub(super) struct FloatTask<'a> {
    pub(super) tiles: &'a [u8],
    pub(super) outputs: usize,
    pub(super) x: &'a [f32],
    pub(super) columns: usize,
    pub(super) y: *mut f32,
    pub(super) stride: usize,
}

/// All tiles of a task times all rows, `T` together.
#[inline(always)]
pub(super) unsafe fn tiles<I: Isa, N: Number, const T: usize>(task: &FloatTask<'_>) {
    let rows = task.x.len() / task.columns;
    let tiles = task.outputs.div_ceil(TILE);
    debug_assert!(task.tiles.len() >= tiles * task.columns * TILE * N::BYTES, "whole tiles");
    // SAFETY: the tiles and rows are there; the caller lends their products.
    unsafe {
        let mut first = 0;
        while first < rows {
            let together = match rows - first {
                left if left >= T => T,
                1 => 1,
                2 | 3 => 2,
                _ => 4,
            };
            for tile in 0..tiles {
                match together {
                    1 => some::<I, N, 1>(task, tile, first),
                    2 => some::<I, N, 2>(task, tile, first),
                    4 => some::<I, N, 4>(task, tile, first),
                    _ => some::<I, N, T>(task, tile, first),
                }
            }
            first += together;
        }
    }
}

/// One tile times `T` rows.
#[inline(always)]
unsafe fn some<I: Isa, N: Number, const T: usize>(task: &FloatTask<'_>, tile: usize, first: usize) {
    let count = TILE.min(task.outputs - tile * TILE);
    // SAFETY: as in `tiles`.
    unsafe {
        let weights = task.tiles.as_ptr().add(tile * task.columns * TILE * N::BYTES);
        let x = task.x.as_ptr().add(first * task.columns);
        let mut sums = [I::no_floats(); T];
        for input in 0..task.columns {
            let weights = weights.add(input * TILE * N::BYTES);
            I::fetch(weights.wrapping_add(FETCH_AHEAD));
            let weights = N::load::<I>(weights);
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum = I::fused_one(weights, *x.add(row * task.columns + input), *sum);
            }
        }
        for (row, &sum) in sums.iter().enumerate() {
            let mut values = [0.0; TILE];
            I::store_floats(values.as_mut_ptr(), sum);
            let to = task.y.add((first + row) * task.stride + tile * TILE);
            std::ptr::copy_nonoverlapping(values.as_ptr(), to, count);
        }
    }
}
