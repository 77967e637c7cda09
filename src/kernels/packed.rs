//! Weight matrices in tiles of 16 outputs, and their product with rows of activations.
//!
//! A matrix is packed once, when it is loaded; it takes the bytes that its file has. Quantised
//! kinds are multiplied as whole numbers with activations of 8 bits, one scale per block of 32 or
//! 256 of them, as ggml does; floats in f32. See `isa.rs` for the order of operations.

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod floats;
mod isa;
mod kinds;
mod layout;
mod multiply;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use std::io;
use std::ops::Range;

use crate::lanes::Level;
use crate::memory::Memory;
use crate::team::{Shares, Team};

pub use activations::Activations;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
use floats::{BF16, FloatTask};
pub(crate) use floats::{F16, F32, Number};
pub(crate) use isa::{Isa, TILE};
use kinds::{Q4_0, Q4K, Q5K, Q6K, Q8_0};
use multiply::Task;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::{Neon, sdot};
pub(crate) use portable::Portable;

/// Bytes of weights below which a task is not worth handing to another thread (about 5 µs).
const LEAST_TASK_BYTES: usize = 32 << 10;
/// Tasks per member of the team: enough to even out, few enough to stream.
const TASKS_PER_MEMBER: usize = 8;

/// How weights are written, in files and in tiles. Names follow ggml.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    F32,
    F16,
    BF16,
    Q4_0,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

/// A weight matrix, [outputs, inputs].
#[derive(Debug)]
pub struct PackedMatrix {
    encoding: Encoding,
    outputs: usize,
    inputs: usize,
    tiles: Memory<u8>,
}

impl Encoding {
    /// Inputs of one block; a matrix has whole blocks.
    pub fn block_columns(self) -> usize {
        layout::sizes(self).0
    }

    /// Bytes of one row in a file.
    pub fn row_bytes(self, inputs: usize) -> usize {
        let (columns, bytes, _) = layout::sizes(self);
        inputs / columns * bytes
    }
}

impl PackedMatrix {
    /// A matrix of zeros, to be filled with [`PackedMatrix::pack`].
    pub fn zeroed(encoding: Encoding, outputs: usize, inputs: usize) -> io::Result<PackedMatrix> {
        assert!(inputs > 0 && inputs.is_multiple_of(encoding.block_columns()), "whole blocks");
        let bytes = Self::bytes(encoding, outputs, inputs).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(PackedMatrix { encoding, outputs, inputs, tiles: Memory::zeroed(bytes)? })
    }

    /// Bytes that a matrix takes; `None` if they cannot be counted.
    pub fn bytes(encoding: Encoding, outputs: usize, inputs: usize) -> Option<usize> {
        encoding.row_bytes(inputs).checked_mul(outputs.checked_next_multiple_of(TILE)?)
    }

    /// Fills all rows at once. `rows`: the bytes of a file's matrix.
    pub fn pack(&mut self, rows: &[u8]) {
        let all = self.outputs.next_multiple_of(TILE).max(TILE);
        self.parts(all).for_each(|mut part| part.pack(rows));
    }

    /// Cuts the matrix into parts of `rows` rows (a multiple of 16) that threads can fill.
    pub fn parts(&mut self, rows: usize) -> impl Iterator<Item = PackedPart<'_>> {
        assert!(rows > 0 && rows.is_multiple_of(TILE), "whole tiles");
        let row_bytes = self.encoding.row_bytes(self.inputs);
        let (encoding, outputs) = (self.encoding, self.outputs);
        self.tiles.chunks_mut(rows * row_bytes).enumerate().map(move |(index, tiles)| PackedPart {
            encoding,
            row_bytes,
            first: index * rows,
            rows: rows.min(outputs - index * rows),
            tiles,
        })
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The values of one row.
    pub fn row(&self, output: usize, values: &mut [f32]) {
        assert!(output < self.outputs && values.len() == self.inputs, "a row of the matrix");
        let tile_bytes = self.encoding.row_bytes(self.inputs) * TILE;
        let tile = &self.tiles[output / TILE * tile_bytes..][..tile_bytes];
        layout::unpack(self.encoding, tile, output % TILE, values);
    }

    /// x · wᵀ. `x`: [rows, inputs] · `y`: [rows, outputs].
    ///
    /// The same row gives the same bits whatever rows are beside it. Against exact arithmetic on
    /// the same weights, the error of a quantised kind is that of rounding x to 8 bits (relative
    /// to Σ|w·x| under 1 %, typically 0.1 %), of floats 1e-6·√inputs.
    pub fn multiply(&self, team: &Team, x: &Activations<'_>, y: &mut [f32]) {
        self.multiply_part(team, x, 0..self.outputs, y);
    }

    /// As [`PackedMatrix::multiply`], for some outputs: whole tiles of 16, but for the matrix's last.
    /// `y`: [rows, outputs.len()]. Matrices that are used apart can thus share huge pages.
    pub fn multiply_part(
        &self,
        team: &Team,
        x: &Activations<'_>,
        outputs: Range<usize>,
        y: &mut [f32],
    ) {
        assert_eq!(y.len(), x.rows() * outputs.len(), "a product for each row and output");
        // SAFETY: the products of all rows and outputs are the caller's.
        unsafe { self.fill(team, x, outputs, y.as_mut_ptr()) }
    }

    /// As [`PackedMatrix::multiply_part`], into new memory that nobody has to clear before.
    pub fn product(&self, team: &Team, x: &Activations<'_>, outputs: Range<usize>) -> Vec<f32> {
        let len = x.rows() * outputs.len();
        let mut y = Vec::with_capacity(len);
        // SAFETY: there is room for the products, and all are written.
        unsafe {
            self.fill(team, x, outputs, y.as_mut_ptr());
            y.set_len(len);
        }
        y
    }

    /// Writes a product for each row and output. Unsafe: `y` must have room for them; what is there
    /// is not read.
    unsafe fn fill(&self, team: &Team, x: &Activations<'_>, outputs: Range<usize>, y: *mut f32) {
        assert!(outputs.start.is_multiple_of(TILE) && outputs.end <= self.outputs, "whole tiles");
        assert!(outputs.end.is_multiple_of(TILE) || outputs.end == self.outputs, "whole tiles");
        assert_eq!(x.columns, self.inputs, "as many activations as inputs");
        if x.rows() == 0 || outputs.is_empty() {
            return;
        }
        let quantized = match self.encoding {
            Encoding::F32 | Encoding::F16 | Encoding::BF16 => None,
            encoding => Some(x.quantized(team, encoding.block_columns())),
        };
        let tile_bytes = self.encoding.row_bytes(self.inputs) * TILE;
        let tiles = outputs.len().div_ceil(TILE);
        let first_byte = outputs.start / TILE * tile_bytes;
        let least = LEAST_TASK_BYTES.div_ceil(tile_bytes * x.rows()).max(1);
        let task_tiles = tiles.div_ceil(team.size() * TASKS_PER_MEMBER).max(least);
        let products = Shares(y);
        let level = Level::detect_packed();
        team.run(tiles.div_ceil(task_tiles), &|task| {
            let first = task * task_tiles;
            let some = &self.tiles[first_byte..][first * tile_bytes..];
            let some = &some[..(tiles - first).min(task_tiles) * tile_bytes];
            let count = (outputs.len() - first * TILE).min(task_tiles * TILE);
            // SAFETY: within y; tasks have different tiles, so they write different products.
            let y = unsafe { products.get().add(first * TILE) };
            let stride = outputs.len();
            match quantized {
                Some(x) => {
                    let task = Task { tiles: some, outputs: count, x, y, stride };
                    // SAFETY: the level is this machine's, the sizes are checked above.
                    unsafe { run_quantized(level, self.encoding, &task) };
                }
                None => {
                    let columns = self.inputs;
                    let (x, outputs) = (x.values, count);
                    let task = FloatTask { tiles: some, outputs, x, columns, y, stride };
                    // SAFETY: as above.
                    unsafe { run_floats(level, self.encoding, &task) };
                }
            }
        });
    }
}

/// Some rows of a matrix that is being filled.
#[derive(Debug)]
pub struct PackedPart<'a> {
    encoding: Encoding,
    row_bytes: usize,
    first: usize,
    rows: usize,
    tiles: &'a mut [u8],
}

impl PackedPart<'_> {
    /// Where the part's rows lie among those of the file's matrix, in bytes.
    pub fn bytes(&self) -> std::ops::Range<usize> {
        self.first * self.row_bytes..(self.first + self.rows) * self.row_bytes
    }

    /// Fills the part. `rows`: the bytes of [`PackedPart::bytes`].
    pub fn pack(&mut self, rows: &[u8]) {
        assert_eq!(rows.len(), self.rows * self.row_bytes, "all rows of the part");
        let tile_bytes = self.row_bytes * TILE;
        let tiles = self.tiles.chunks_exact_mut(tile_bytes);
        for (tile, rows) in tiles.zip(rows.chunks(tile_bytes)) {
            layout::pack(self.encoding, rows, self.row_bytes, tile);
        }
    }
}

/// Multiplies with the instructions of `level`.
unsafe fn run_quantized(level: Level, encoding: Encoding, task: &Task<'_>) {
    // SAFETY: the caller says that this machine has them.
    unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512_quantized(encoding, task),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2_quantized(encoding, task),
            #[cfg(target_arch = "aarch64")]
            Level::NeonDotprod => dotprod_quantized(encoding, task),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => quantized::<Neon<false>, 4>(encoding, task),
            _ => quantized::<Portable, 4>(encoding, task),
        }
    }
}

unsafe fn run_floats(level: Level, encoding: Encoding, task: &FloatTask<'_>) {
    // SAFETY: the caller says that this machine has them.
    unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512_floats(encoding, task),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2_floats(encoding, task),
            #[cfg(target_arch = "aarch64")]
            Level::Neon | Level::NeonDotprod => plain_floats::<Neon<false>, 4>(encoding, task),
            _ => plain_floats::<Portable, 4>(encoding, task),
        }
    }
}

#[inline(always)]
unsafe fn quantized<I: Isa, const T: usize>(encoding: Encoding, task: &Task<'_>) {
    // SAFETY: the caller's.
    unsafe {
        match encoding {
            Encoding::Q4_0 => multiply::tiles::<I, Q4_0, T>(task),
            Encoding::Q8_0 => multiply::tiles::<I, Q8_0, T>(task),
            Encoding::Q4K => multiply::tiles::<I, Q4K, T>(task),
            Encoding::Q5K => multiply::tiles::<I, Q5K, T>(task),
            Encoding::Q6K => multiply::tiles::<I, Q6K, T>(task),
            Encoding::F32 | Encoding::F16 | Encoding::BF16 => unreachable!("floats go elsewhere"),
        }
    }
}

#[inline(always)]
unsafe fn plain_floats<I: Isa, const T: usize>(encoding: Encoding, task: &FloatTask<'_>) {
    // SAFETY: the caller's.
    unsafe {
        match encoding {
            Encoding::F32 => floats::tiles::<I, F32, T>(task),
            Encoding::F16 => floats::tiles::<I, F16, T>(task),
            Encoding::BF16 => floats::tiles::<I, BF16, T>(task),
            _ => unreachable!("quantised kinds go elsewhere"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2_quantized(encoding: Encoding, task: &Task<'_>) {
    // SAFETY: the caller's.
    unsafe { quantized::<Avx2, 4>(encoding, task) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2_floats(encoding: Encoding, task: &FloatTask<'_>) {
    // SAFETY: the caller's.
    unsafe { plain_floats::<Avx2, 4>(encoding, task) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
unsafe fn avx512_quantized(encoding: Encoding, task: &Task<'_>) {
    // SAFETY: the caller's.
    unsafe { quantized::<Avx512, 8>(encoding, task) }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
unsafe fn dotprod_quantized(encoding: Encoding, task: &Task<'_>) {
    // SAFETY: the caller's.
    unsafe { quantized::<Neon<true>, 4>(encoding, task) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
unsafe fn avx512_floats(encoding: Encoding, task: &FloatTask<'_>) {
    // SAFETY: the caller's.
    unsafe { plain_floats::<Avx512, 8>(encoding, task) }
}

#[cfg(test)]
mod tests;
