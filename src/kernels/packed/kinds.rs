//! The block encodings, tile by tile.
//!
//! A tile's block holds what 16 rows of a file hold in one block each, in as many bytes:
//!
//! ```text
//! Q4_0   16 groups' nibbles 256 · d 32                            (32 inputs)
//! Q8_0   8 groups 512, signed · d 32                    (32 inputs)
//! Q4_K   nibbles 2048 · scales and mins 192 · d 32 · dmin 32      (256 inputs)
//! Q5_K   nibbles 2048 · fifth bits 512 · scales and mins 192 · d 32 · dmin 32
//! Q6_K   nibbles 2048 · upper bits 1024 · scales 256 · d 32
//! ```
//!
//! Nibbles: 64 bytes hold an even group in their lower and the next in their upper halves.
//! Fifth bits: bit g of 64 bytes belongs to group g of 8. Upper bits: bits 2g and 2g+1 of 64 bytes
//! belong to group g of 4. Scales and mins of Q4_K and Q5_K, 6 bits each, lie in rows of 16 outputs;
//! see [`spread_scales`].

use super::isa::{GROUP_BYTES, Isa, Row, TILE};

/// How a block's whole numbers become values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// d · (q − centre).
    Flat { centre: i32 },
    /// d · q, q a whole signed byte.
    Signed,
    /// d · scale · q − dmin · min, scales for 32 inputs each.
    Mins,
    /// d · scale · (q − 32), scales for 16 inputs each.
    Centred,
}

/// Where a block's parts lie. Offsets in bytes.
pub(super) trait Kind {
    const FORM: Form;
    /// Inputs of a block.
    const COLUMNS: usize;
    const BLOCK_BYTES: usize;
    /// Bits of a weight.
    const BITS: usize;
    /// Groups of 4 inputs that share a scale.
    const SCALE_GROUPS: usize;
    const HIGH_BITS: usize = 0;
    const SCALES: usize = 0;
    const D: usize;

    /// The groups 2·`pair` and 2·`pair` + 1. Unsafe: `block` must be whole.
    unsafe fn pair<I: Isa>(block: *const u8, pair: usize) -> [I::Bytes; 2];
}

pub(super) struct Q4_0;
pub(super) struct Q8_0;
pub(super) struct Q4K;
pub(super) struct Q5K;
pub(super) struct Q6K;

#[inline(always)]
unsafe fn nibbles<I: Isa>(block: *const u8, pair: usize) -> [I::Bytes; 2] {
    // SAFETY: the caller's block has this pair.
    unsafe {
        let both = I::load(block.add(pair * GROUP_BYTES));
        [I::field(both, 0, 15), I::field(both, 4, 15)]
    }
}

impl Kind for Q4_0 {
    const FORM: Form = Form::Flat { centre: 8 };
    const COLUMNS: usize = 32;
    const BLOCK_BYTES: usize = 288;
    const BITS: usize = 4;
    const SCALE_GROUPS: usize = 8;
    const D: usize = 256;

    #[inline(always)]
    unsafe fn pair<I: Isa>(block: *const u8, pair: usize) -> [I::Bytes; 2] {
        unsafe { nibbles::<I>(block, pair) }
    }
}

impl Kind for Q8_0 {
    const FORM: Form = Form::Signed;
    const COLUMNS: usize = 32;
    const BLOCK_BYTES: usize = 544;
    const BITS: usize = 8;
    const SCALE_GROUPS: usize = 8;
    const D: usize = 512;

    #[inline(always)]
    unsafe fn pair<I: Isa>(block: *const u8, pair: usize) -> [I::Bytes; 2] {
        unsafe {
            let first = block.add(2 * pair * GROUP_BYTES);
            [I::signed(I::load(first)), I::signed(I::load(first.add(GROUP_BYTES)))]
        }
    }
}

impl Kind for Q4K {
    const FORM: Form = Form::Mins;
    const COLUMNS: usize = 256;
    const BLOCK_BYTES: usize = 2304;
    const BITS: usize = 4;
    const SCALE_GROUPS: usize = 8;
    const SCALES: usize = 2048;
    const D: usize = 2240;

    #[inline(always)]
    unsafe fn pair<I: Isa>(block: *const u8, pair: usize) -> [I::Bytes; 2] {
        unsafe { nibbles::<I>(block, pair) }
    }
}

impl Kind for Q5K {
    const FORM: Form = Form::Mins;
    const COLUMNS: usize = 256;
    const BLOCK_BYTES: usize = 2816;
    const BITS: usize = 5;
    const SCALE_GROUPS: usize = 8;
    const HIGH_BITS: usize = 2048;
    const SCALES: usize = 2560;
    const D: usize = 2752;

    #[inline(always)]
    unsafe fn pair<I: Isa>(block: *const u8, pair: usize) -> [I::Bytes; 2] {
        unsafe {
            let low = nibbles::<I>(block, pair);
            let high = I::load(block.add(Self::HIGH_BITS + pair / 4 * GROUP_BYTES));
            let shift = (2 * (pair % 4)) as i32;
            [
                I::join(low[0], I::field(high, shift, 1)),
                I::join(low[1], I::field(high, shift + 1, 1)),
            ]
        }
    }
}

impl Kind for Q6K {
    const FORM: Form = Form::Centred;
    const COLUMNS: usize = 256;
    const BLOCK_BYTES: usize = 3360;
    const BITS: usize = 6;
    const SCALE_GROUPS: usize = 4;
    const HIGH_BITS: usize = 2048;
    const SCALES: usize = 3072;
    const D: usize = 3328;

    #[inline(always)]
    unsafe fn pair<I: Isa>(block: *const u8, pair: usize) -> [I::Bytes; 2] {
        unsafe {
            let low = nibbles::<I>(block, pair);
            let high = I::load(block.add(Self::HIGH_BITS + pair / 2 * GROUP_BYTES));
            let shift = (4 * (pair % 2)) as i32;
            [
                I::join(low[0], I::field(high, shift, 3)),
                I::join(low[1], I::field(high, shift + 2, 3)),
            ]
        }
    }
}

/// 16 bytes of a slice, as one row.
#[inline(always)]
pub(super) fn row(rows: &[u8], index: usize) -> Row {
    rows.as_chunks::<TILE>().0.get(index).map_or(0, |row| Row::from_le_bytes(*row))
}

/// 16 bytes of a block. Unsafe: they must be there.
#[inline(always)]
pub(super) unsafe fn row_at(rows: *const u8, index: usize) -> Row {
    // SAFETY: the caller's block has these 16 bytes.
    Row::from_le_bytes(unsafe { rows.add(index * TILE).cast::<[u8; TILE]>().read() })
}

/// The 8 rows of scales and the 8 rows of mins of Q4_K and Q5_K, a byte each.
///
/// 128 bytes have the lower halves, scale and min; 64 have the upper 2 bits: of scale j, of scale
/// j + 64, of min j, of min j + 64. Unsafe: the 192 bytes must be there.
#[inline(always)]
pub(super) unsafe fn spread_scales<I: Isa>(packed: *const u8, to: &mut [[u8; GROUP_BYTES]; 4]) {
    // SAFETY: the caller's block has these bytes.
    unsafe {
        let upper = I::load(packed.add(2 * GROUP_BYTES));
        for (index, to) in to.iter_mut().enumerate() {
            let lower = I::load(packed.add(index % 2 * GROUP_BYTES));
            let lower = I::field(lower, if index < 2 { 0 } else { 4 }, 15);
            let upper = I::field(upper, 2 * index as i32, 3);
            I::store(to.as_mut_ptr(), I::join(lower, upper));
        }
    }
}
