//! Random weights: the same for the same seed and tensor, on any machine and number of threads.

/// Standard deviation of every matrix, as models are initialised with: with norms of one, a row of
/// 1,024 to 2,048 inputs keeps activations near one.
const DEVIATION: f32 = 0.02;

/// `count` values, nearly normal: each the sum of four uniform ones. `scale`: how many times as
/// large as usual.
pub(crate) fn normal(seed: u64, name: &str, count: usize, scale: f32) -> Vec<f32> {
    // FNV-1a; tensors differ by name.
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut state = name.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, hash);
    // Each of the four has a variance of 2^32 / 12.
    let scale = scale * DEVIATION * 3f32.sqrt() / 65_536.0;
    (0..count)
        .map(|_| {
            let bits = next(&mut state);
            let sum: u64 = (0..4).map(|part| bits >> (16 * part) & 0xffff).sum();
            (sum as f32 - 2.0 * 65_535.0) * scale
        })
        .collect()
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
