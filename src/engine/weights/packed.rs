//! Reads matrices into the tiles that our kernels multiply, on all threads, piece by piece: memory
//! never holds more than the tiles and a piece per thread.

use std::sync::Mutex;

use hearth_formats::{TensorKind, TensorLocation};
use hearth_kernels::{Encoding, PackedMatrix, PackedPart};

use super::Source;
use crate::error::{Error, Result};
use crate::tensors::team;

/// Bytes that one thread reads and packs at once.
const PIECE_BYTES: usize = 1 << 20;
/// Rows of a tile; pieces are whole tiles.
pub(super) const TILE_ROWS: usize = 16;

/// The kernels' name of a matrix's kind; `None` for vectors and for kinds that they do not have.
pub(super) fn encoding(location: &TensorLocation) -> Option<Encoding> {
    if location.shape.len() != 2 {
        return None;
    }
    match location.kind {
        TensorKind::F32 => Some(Encoding::F32),
        TensorKind::F16 => Some(Encoding::F16),
        TensorKind::BF16 => Some(Encoding::BF16),
        TensorKind::Q4_0 => Some(Encoding::Q4_0),
        TensorKind::Q8_0 => Some(Encoding::Q8_0),
        TensorKind::Q4_K => Some(Encoding::Q4K),
        TensorKind::Q5_K => Some(Encoding::Q5K),
        TensorKind::Q6_K => Some(Encoding::Q6K),
        TensorKind::Q4_1
        | TensorKind::Q5_0
        | TensorKind::Q5_1
        | TensorKind::Q2_K
        | TensorKind::Q3_K => None,
    }
}

/// Bytes of a matrix's tiles.
pub(super) fn bytes(location: &TensorLocation) -> u64 {
    let rows = location.shape.first().copied().unwrap_or(0).max(1);
    // A file's matrix has whole rows of one size.
    location.bytes / rows * rows.next_multiple_of(TILE_ROWS as u64)
}

/// Bytes of the pieces that are read at once.
pub(super) fn reading_bytes(location: &TensorLocation) -> u64 {
    let rows = location.shape.first().copied().unwrap_or(0).max(1);
    pieces_bytes(location.bytes / rows).min(team().size() as u64 * location.bytes)
}

/// The same of a matrix without an end, by the bytes of a row.
pub(super) fn pieces_bytes(row_bytes: u64) -> u64 {
    team().size() as u64 * (row_bytes * TILE_ROWS as u64).max(PIECE_BYTES as u64)
}

/// Reads matrices of one form, each whole tiles, one after the other; or a single one of any form.
pub(super) fn read(
    source: &Source,
    locations: &[&TensorLocation],
    encoding: Encoding,
) -> Result<PackedMatrix> {
    let shape = locations.first().map(|location| &location.shape[..]);
    let Some(&[outputs, inputs]) = shape else {
        return Err(Error::LoadFailed("a matrix has two dimensions".into()));
    };
    // Bounded by the file's size, which was checked.
    let (outputs, inputs) = (outputs as usize, inputs as usize);
    let mut matrix = PackedMatrix::zeroed(encoding, outputs * locations.len(), inputs)
        .map_err(|error| Error::LoadFailed(format!("no memory for weights: {error}")))?;
    let mut tiles = (PIECE_BYTES / encoding.row_bytes(inputs) / TILE_ROWS).max(1);
    // A piece lies in one matrix.
    while locations.len() > 1 && !outputs.is_multiple_of(tiles * TILE_ROWS) {
        tiles -= 1;
    }
    let mut parts: Vec<PackedPart<'_>> = matrix.parts(tiles * TILE_ROWS).collect();
    let failure = Mutex::new(None);
    team().run_chunks(&mut parts, 1, |_, parts| {
        for part in parts {
            if let Err(error) = read_part(source, locations, part) {
                *failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(error);
            }
        }
    });
    drop(parts);
    match failure.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some(error) => Err(error),
        None => Ok(matrix),
    }
}

fn read_part(
    source: &Source,
    locations: &[&TensorLocation],
    part: &mut PackedPart<'_>,
) -> Result<()> {
    let range = part.bytes();
    let mut bytes = vec![0; range.len()];
    // All matrices have as many bytes as the first.
    let matrix_bytes = locations[0].bytes as usize;
    let (matrix, start) = (range.start / matrix_bytes, range.start % matrix_bytes);
    source.read(locations[matrix], start, &mut bytes)?;
    part.pack(&bytes);
    Ok(())
}
