//! From a file's blocks to tiles, and from a tile back to values.
//!
//! File layouts are those of ggml (ggml-common.h, `block_q4_0` … `block_q6_K`).

use super::Encoding;
use super::isa::{GROUP_BYTES, TILE};
use super::kinds::{Kind, Q4_0, Q4K, Q5K, Q6K, Q8_0};
use crate::half::widen;

/// One block of one row in plain numbers: value = d · scale · (q − centre) − dmin · min.
struct Plain {
    /// Without a sign, but for Q8_0.
    quants: [u8; 256],
    scales: [u8; 16],
    mins: [u8; 16],
    d: [u8; 2],
    dmin: [u8; 2],
}

impl Plain {
    const ZERO: Plain =
        Plain { quants: [0; 256], scales: [0; 16], mins: [0; 16], d: [0; 2], dmin: [0; 2] };
}

/// Inputs of a block, bytes of one row's block in a file, bytes of a tile's block.
pub(super) fn sizes(encoding: Encoding) -> (usize, usize, usize) {
    match encoding {
        Encoding::F32 => (1, 4, 4 * TILE),
        Encoding::F16 | Encoding::BF16 => (1, 2, 2 * TILE),
        Encoding::Q4_0 => (Q4_0::COLUMNS, 18, Q4_0::BLOCK_BYTES),
        Encoding::Q8_0 => (Q8_0::COLUMNS, 34, Q8_0::BLOCK_BYTES),
        Encoding::Q4K => (Q4K::COLUMNS, 144, Q4K::BLOCK_BYTES),
        Encoding::Q5K => (Q5K::COLUMNS, 176, Q5K::BLOCK_BYTES),
        Encoding::Q6K => (Q6K::COLUMNS, 210, Q6K::BLOCK_BYTES),
    }
}

/// Packs the blocks of up to 16 rows into a tile. `rows`: whole rows as a file has them.
/// What the tile has beyond them becomes zero.
pub(super) fn pack(encoding: Encoding, rows: &[u8], row_bytes: usize, tile: &mut [u8]) {
    match encoding {
        Encoding::F32 => interleave::<4>(rows, row_bytes, tile),
        Encoding::F16 | Encoding::BF16 => interleave::<2>(rows, row_bytes, tile),
        _ => {
            let (_, file_bytes, tile_bytes) = sizes(encoding);
            let mut plains = [const { Plain::ZERO }; TILE];
            for (block, to) in tile.chunks_exact_mut(tile_bytes).enumerate() {
                for (plain, row) in plains.iter_mut().zip(rows.chunks_exact(row_bytes)) {
                    read(encoding, &row[block * file_bytes..(block + 1) * file_bytes], plain);
                }
                write(encoding, &plains, to);
            }
        }
    }
}

/// Numbers of `N` bytes: column by column instead of row by row, in pieces that the first-level
/// cache holds.
fn interleave<const N: usize>(rows: &[u8], row_bytes: usize, tile: &mut [u8]) {
    const PIECE: usize = 128;
    let pieces = tile.as_chunks_mut::<N>().0.chunks_mut(PIECE * TILE);
    for (piece, tile) in pieces.enumerate() {
        for (output, row) in rows.chunks_exact(row_bytes).enumerate() {
            let row = &row.as_chunks::<N>().0[piece * PIECE..];
            for (place, number) in tile.iter_mut().skip(output).step_by(TILE).zip(row) {
                *place = *number;
            }
        }
    }
}

/// The values of one output of a tile.
pub(super) fn unpack(encoding: Encoding, tile: &[u8], output: usize, values: &mut [f32]) {
    let (columns, file_bytes, tile_bytes) = sizes(encoding);
    let blocks = tile.chunks_exact(tile_bytes).zip(values.chunks_exact_mut(columns));
    for (block, values) in blocks {
        let place = &block[output * file_bytes..];
        match encoding {
            Encoding::F32 => {
                values[0] = f32::from_le_bytes([place[0], place[1], place[2], place[3]])
            }
            Encoding::F16 => values[0] = widen(u16::from_le_bytes([place[0], place[1]])),
            Encoding::BF16 => values[0] = f32::from_le_bytes([0, 0, place[0], place[1]]),
            _ => dequantize(encoding, &gather(encoding, block, output), values),
        }
    }
}

/// The values of one block as a file has it.
#[cfg(test)]
pub(super) fn read_values(encoding: Encoding, block: &[u8], values: &mut [f32]) {
    match encoding {
        Encoding::F32 => values[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]),
        Encoding::F16 => values[0] = widen(u16::from_le_bytes([block[0], block[1]])),
        Encoding::BF16 => values[0] = f32::from_le_bytes([0, 0, block[0], block[1]]),
        _ => {
            let mut plain = Plain::ZERO;
            read(encoding, block, &mut plain);
            dequantize(encoding, &plain, values);
        }
    }
}

fn dequantize(encoding: Encoding, plain: &Plain, values: &mut [f32]) {
    let (d, dmin) = (widen(u16::from_le_bytes(plain.d)), widen(u16::from_le_bytes(plain.dmin)));
    for (column, value) in values.iter_mut().enumerate() {
        let quant = f32::from(plain.quants[column]);
        *value = match encoding {
            Encoding::Q4_0 => d * (quant - 8.0),
            Encoding::Q8_0 => d * f32::from(plain.quants[column] as i8),
            Encoding::Q6K => d * f32::from(plain.scales[column / 16] as i8) * (quant - 32.0),
            _ => {
                let (scale, min) = (plain.scales[column / 32], plain.mins[column / 32]);
                d * f32::from(scale) * quant - dmin * f32::from(min)
            }
        };
    }
}

/// Reads one block; what its kind does not have stays as it is.
fn read(encoding: Encoding, block: &[u8], plain: &mut Plain) {
    let quants = &mut plain.quants;
    match encoding {
        Encoding::Q4_0 => {
            plain.d = [block[0], block[1]];
            let (low, high) = quants.split_at_mut(16);
            for ((low, high), &byte) in low.iter_mut().zip(high).zip(&block[2..18]) {
                (*low, *high) = (byte & 15, byte >> 4);
            }
        }
        Encoding::Q8_0 => {
            plain.d = [block[0], block[1]];
            quants[..32].copy_from_slice(&block[2..34]);
        }
        Encoding::Q4K => {
            read_scales(block, plain);
            read_nibbles(&block[16..144], &mut plain.quants);
        }
        Encoding::Q5K => {
            read_scales(block, plain);
            read_nibbles(&block[48..176], &mut plain.quants);
            for (index, quants) in plain.quants.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                for (quant, &bits) in quants.iter_mut().zip(&block[16..48]) {
                    *quant |= (bits >> index & 1) << 4;
                }
            }
        }
        Encoding::Q6K => read_q6k(block, plain),
        Encoding::F32 | Encoding::F16 | Encoding::BF16 => {}
    }
}

/// 64 values lie in 32 bytes: the first 32 in the lower halves.
fn read_nibbles(bytes: &[u8], quants: &mut [u8; 256]) {
    for (bytes, quants) in bytes.chunks_exact(32).zip(quants.chunks_exact_mut(64)) {
        for (place, &byte) in bytes.iter().enumerate() {
            (quants[place], quants[place + 32]) = (byte & 15, byte >> 4);
        }
    }
}

/// d, dmin and 8 scales and mins of 6 bits in 12 bytes (`get_scale_min_k4` of ggml-quants.c).
fn read_scales(block: &[u8], plain: &mut Plain) {
    plain.d = [block[0], block[1]];
    plain.dmin = [block[2], block[3]];
    let packed = &block[4..16];
    for index in 0..4 {
        plain.scales[index] = packed[index] & 63;
        plain.mins[index] = packed[index + 4] & 63;
        plain.scales[index + 4] = packed[index + 8] & 15 | packed[index] >> 6 << 4;
        plain.mins[index + 4] = packed[index + 8] >> 4 | packed[index + 4] >> 6 << 4;
    }
}

/// ql 128 · qh 64 · scales 16 · d (`dequantize_row_q6_K` of ggml-quants.c).
fn read_q6k(block: &[u8], plain: &mut Plain) {
    for (half, quants) in plain.quants.as_chunks_mut::<128>().0.iter_mut().enumerate() {
        let (low, high) = (&block[64 * half..64 * half + 64], &block[128 + 32 * half..][..32]);
        for (quarter, quants) in quants.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let low = &low[quarter % 2 * 32..][..32];
            for ((quant, &low), &high) in quants.iter_mut().zip(low).zip(high) {
                *quant = low >> (quarter / 2 * 4) & 15 | (high >> (2 * quarter) & 3) << 4;
            }
        }
    }
    plain.scales.copy_from_slice(&block[192..208]);
    plain.d = [block[208], block[209]];
}

/// Where a block's value of one output and column lies: byte and shift of its lower bits, and of
/// its upper bits.
struct Place {
    low: (usize, u8),
    high: (usize, u8),
}

fn place(encoding: Encoding, output: usize, column: usize) -> Place {
    let (group, within) = (column / 4, 4 * output + column % 4);
    let nibble = (group / 2 * GROUP_BYTES + within, 4 * (group % 2) as u8);
    match encoding {
        Encoding::Q8_0 => Place { low: (group * GROUP_BYTES + within, 0), high: (0, 0) },
        Encoding::Q5K => {
            let high = Q5K::HIGH_BITS + group / 8 * GROUP_BYTES + within;
            Place { low: nibble, high: (high, (group % 8) as u8) }
        }
        Encoding::Q6K => {
            let high = Q6K::HIGH_BITS + group / 4 * GROUP_BYTES + within;
            Place { low: nibble, high: (high, 2 * (group % 4) as u8) }
        }
        _ => Place { low: nibble, high: (0, 0) },
    }
}

/// Bits of a quant in its lower and in its upper part.
fn masks(encoding: Encoding) -> (u8, u8) {
    match encoding {
        Encoding::Q8_0 => (255, 0),
        Encoding::Q5K => (15, 1),
        Encoding::Q6K => (15, 3),
        _ => (15, 0),
    }
}

/// Where d lies, and dmin and the scales where there are any.
fn scale_places(encoding: Encoding) -> (usize, usize) {
    match encoding {
        Encoding::Q4_0 => (Q4_0::D, Q4_0::SCALES),
        Encoding::Q8_0 => (Q8_0::D, Q8_0::SCALES),
        Encoding::Q4K => (Q4K::D, Q4K::SCALES),
        Encoding::Q5K => (Q5K::D, Q5K::SCALES),
        _ => (Q6K::D, Q6K::SCALES),
    }
}

/// Writes a tile's block, four columns of an output at a time.
fn write(encoding: Encoding, plains: &[Plain; TILE], block: &mut [u8]) {
    let groups = sizes(encoding).0 / 4;
    let word = |output: usize, group: usize| {
        let quants = plains[output].quants.as_chunks::<4>().0;
        u32::from_le_bytes(quants[group])
    };
    let mut put = |start: usize, of: &dyn Fn(usize) -> u32| {
        let to = block[start..start + GROUP_BYTES].as_chunks_mut::<4>().0;
        for (output, bytes) in to.iter_mut().enumerate() {
            *bytes = of(output).to_le_bytes();
        }
    };
    if encoding == Encoding::Q8_0 {
        (0..groups).for_each(|group| put(group * GROUP_BYTES, &|output| word(output, group)));
    } else {
        const LOW: u32 = 0x0f0f_0f0f;
        for pair in 0..groups / 2 {
            put(pair * GROUP_BYTES, &|output| {
                word(output, 2 * pair) & LOW | (word(output, 2 * pair + 1) & LOW) << 4
            });
        }
    }
    // Groups whose upper bits share 64 bytes, how many bits each has, and which.
    let (together, bits, mask) = match encoding {
        Encoding::Q5K => (8, 1, 0x0101_0101),
        Encoding::Q6K => (4, 2, 0x0303_0303),
        _ => (groups, 0, 0),
    };
    let high = if encoding == Encoding::Q5K { Q5K::HIGH_BITS } else { Q6K::HIGH_BITS };
    for some in (0..groups / together).filter(|_| mask > 0) {
        put(high + some * GROUP_BYTES, &|output| {
            let upper = |group: usize| word(output, some * together + group) >> 4 & mask;
            (0..together).map(|group| upper(group) << (bits * group)).sum()
        });
    }
    for (output, plain) in plains.iter().enumerate() {
        write_scales(encoding, plain, output, block);
    }
}

fn write_scales(encoding: Encoding, plain: &Plain, output: usize, block: &mut [u8]) {
    let (d, scales) = scale_places(encoding);
    block[d + 2 * output..d + 2 * output + 2].copy_from_slice(&plain.d);
    match encoding {
        Encoding::Q4K | Encoding::Q5K => {
            block[d + 32 + 2 * output..d + 34 + 2 * output].copy_from_slice(&plain.dmin);
            for index in 0..8 {
                let (scale, min) = (plain.scales[index], plain.mins[index]);
                block[scales + index * TILE + output] = scale & 15 | (min & 15) << 4;
            }
            for index in 0..4 {
                let upper = |of: &[u8; 16]| of[index] >> 4 | of[index + 4] >> 4 << 2;
                let both = upper(&plain.scales) | upper(&plain.mins) << 4;
                block[scales + (8 + index) * TILE + output] = both;
            }
        }
        Encoding::Q6K => {
            for (index, &scale) in plain.scales.iter().enumerate() {
                block[scales + index * TILE + output] = scale;
            }
        }
        _ => {}
    }
}

/// The inverse of [`write`].
fn gather(encoding: Encoding, block: &[u8], output: usize) -> Plain {
    let mut plain = Plain::ZERO;
    let (low_mask, high_mask) = masks(encoding);
    for column in 0..sizes(encoding).0 {
        let place = place(encoding, output, column);
        let high = block[place.high.0] >> place.high.1 & high_mask;
        plain.quants[column] = block[place.low.0] >> place.low.1 & low_mask | high << 4;
    }
    let (d, scales) = scale_places(encoding);
    plain.d = [block[d + 2 * output], block[d + 2 * output + 1]];
    match encoding {
        Encoding::Q4K | Encoding::Q5K => {
            plain.dmin = [block[d + 32 + 2 * output], block[d + 33 + 2 * output]];
            for index in 0..8 {
                let low = block[scales + index * TILE + output];
                let high = block[scales + (8 + index % 4) * TILE + output] >> (2 * (index / 4));
                plain.scales[index] = low & 15 | (high & 3) << 4;
                plain.mins[index] = low >> 4 | (high >> 4 & 3) << 4;
            }
        }
        Encoding::Q6K => {
            for (index, scale) in plain.scales.iter_mut().enumerate() {
                *scale = block[scales + index * TILE + output];
            }
        }
        _ => {}
    }
    plain
}
