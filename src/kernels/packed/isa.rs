//! What an instruction set must offer to multiply packed tiles.
//!
//! A tile has 16 outputs; a register of weights holds 4 inputs of each: byte `4·output + input`.
//! Products are first gathered over a run of groups that share a scale ([`Isa::dot`]), then scaled
//! into 32-bit sums ([`Isa::scale_add`]). All of this is exact, so every instruction set gives the
//! same bits; the few float operations are fused multiply-adds in one fixed order.

/// Outputs in a tile.
pub(crate) const TILE: usize = 16;
/// Weights in a group: 4 inputs of each output of a tile.
pub(super) const GROUP_BYTES: usize = 4 * TILE;

/// A byte of each of the 16 outputs; byte 0 is output 0.
pub(crate) type Row = u128;

/// One instruction set. Unsafe because its functions may run only where the machine has it.
pub(crate) trait Isa {
    /// A group of weights, unsigned.
    type Bytes: Copy;
    /// Products gathered over a run.
    type Run: Copy;
    /// What a run is multiplied with.
    type Scale: Copy;
    /// Two 16-bit numbers for each output.
    type Pairs: Copy;
    /// A 32-bit sum for each output.
    type Ints: Copy;
    /// A float for each output.
    type Floats: Copy;

    /// What [`Isa::signed`] adds to signed weights.
    const SIGNED_CENTRE: i32;

    /// The longest run, in groups, of weights with so many bits that cannot overflow.
    fn longest_run(bits: usize) -> usize;

    /// Says that these bytes will soon be read; they need not exist.
    unsafe fn fetch(bytes: *const u8);
    unsafe fn load(bytes: *const u8) -> Self::Bytes;
    unsafe fn store(bytes: *mut u8, group: Self::Bytes);
    /// `(byte >> shift) & mask`; the mask leaves nothing that comes from a neighbour.
    unsafe fn field(bytes: Self::Bytes, shift: i32, mask: u8) -> Self::Bytes;
    /// `low | high << 4`; no bits of `high` cross into another byte.
    unsafe fn join(low: Self::Bytes, high: Self::Bytes) -> Self::Bytes;

    unsafe fn no_run() -> Self::Run;
    /// Adds Σ w·x over the group's inputs, for each output. `x`: 4 inputs.
    unsafe fn dot(run: Self::Run, weights: Self::Bytes, x: *const i8) -> Self::Run;

    /// Signed weights in the form that [`Isa::dot_signed`] takes.
    unsafe fn signed(bytes: Self::Bytes) -> Self::Bytes;
    /// Adds Σ (w + centre)·x over the group's inputs, for each output.
    unsafe fn dot_signed(sums: Self::Ints, weights: Self::Bytes, x: *const i8) -> Self::Ints;

    unsafe fn unsigned_scale(row: Row) -> Self::Scale;
    unsafe fn signed_scale(row: Row) -> Self::Scale;
    unsafe fn load_scale(bytes: *const u8) -> Self::Scale;
    unsafe fn store_scale(bytes: *mut u8, scale: Self::Scale);
    unsafe fn scale_add(sums: Self::Ints, run: Self::Run, scale: Self::Scale) -> Self::Ints;
    /// `scale_add` with 1 for all.
    unsafe fn add(sums: Self::Ints, run: Self::Run) -> Self::Ints;

    unsafe fn unsigned_pairs(first: Row, second: Row) -> Self::Pairs;
    unsafe fn signed_pairs(first: Row, second: Row) -> Self::Pairs;
    unsafe fn load_pairs(bytes: *const u8) -> Self::Pairs;
    unsafe fn store_pairs(bytes: *mut u8, pairs: Self::Pairs);
    /// Adds first·x[0] + second·x[1] for each output.
    unsafe fn pairs_add(sums: Self::Ints, pairs: Self::Pairs, x: *const i16) -> Self::Ints;

    unsafe fn all(value: i32) -> Self::Ints;
    /// sums − 32·other.
    unsafe fn minus_32_times(sums: Self::Ints, other: Self::Ints) -> Self::Ints;
    unsafe fn to_floats(sums: Self::Ints) -> Self::Floats;

    unsafe fn no_floats() -> Self::Floats;
    unsafe fn load_floats(values: *const f32) -> Self::Floats;
    unsafe fn store_floats(values: *mut f32, floats: Self::Floats);
    /// 16 half floats, widened.
    unsafe fn load_halves(values: *const u8) -> Self::Floats;
    /// 16 bfloat16, widened.
    unsafe fn load_brains(values: *const u8) -> Self::Floats;
    /// 16 signed bytes, widened.
    unsafe fn load_bytes(values: *const u8) -> Self::Floats;
    unsafe fn times(a: Self::Floats, b: f32) -> Self::Floats;
    /// a·b + c, rounded once.
    unsafe fn fused(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// a·b + c for one `b`.
    unsafe fn fused_one(a: Self::Floats, b: f32, c: Self::Floats) -> Self::Floats;
    /// a·b + c for one `b`: the number at an index behind a pointer.
    #[inline(always)]
    unsafe fn fused_at(a: Self::Floats, b: (*const f32, usize), c: Self::Floats) -> Self::Floats {
        // SAFETY: the caller's.
        unsafe { Self::fused_one(a, *b.0.add(b.1), c) }
    }
    /// c − a·b, rounded once.
    unsafe fn fused_minus(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
}
