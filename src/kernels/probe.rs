//! The two loops that a machine's limits are measured with: reading memory and multiplying bytes.
//!
//! `engine/limits.rs` runs and times them. They are what quantised kernels do at best: stream
//! weights once, or multiply weights that already lie in the nearest cache.

/// Bytes of weights in one block of [`multiply_bytes`]; they and their activations stay in the
/// first-level cache.
pub const BLOCK_BYTES: usize = 1024;
/// Rows of activations that each weight is multiplied with.
pub const BLOCK_ROWS: usize = 8;

/// The wrapping sum of all words of 64 bits; bytes behind the last whole word are left out. Reads
/// at the width of the machine's registers.
pub fn sum_words(bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: this machine has AVX-512F.
            return unsafe { sum_words_avx512(words) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: this machine has AVX2.
            return unsafe { sum_words_avx2(words) };
        }
    }
    sum_words_body(words)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sum_words_avx512(words: &[[u8; 8]]) -> u64 {
    sum_words_body(words)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_words_avx2(words: &[[u8; 8]]) -> u64 {
    sum_words_body(words)
}

#[inline(always)]
fn sum_words_body(words: &[[u8; 8]]) -> u64 {
    // Eight registers of four words: enough sums to hide an addition behind the reads.
    const WORDS: usize = 32;
    let (chunks, rest) = words.as_chunks::<WORDS>();
    let mut sums = [0u64; WORDS];
    for chunk in chunks {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    let rest = rest.iter().map(|word| u64::from_ne_bytes(*word));
    sums.into_iter().chain(rest).fold(0, u64::wrapping_add)
}

/// Products of bytes, added up in 32 bits: y[r] = `rounds` · Σ_i w[i]·x[r, i].
///
/// Each of the rounds multiplies all weights with all rows again, with the machine's best
/// instruction for it. Weights are at most 127, as those of every quantised format are.
pub fn multiply_bytes(
    w: &[u8; BLOCK_BYTES],
    x: &[[i8; BLOCK_BYTES]; BLOCK_ROWS],
    rounds: usize,
) -> [i32; BLOCK_ROWS] {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw") {
            // SAFETY: this machine has AVX-512 with VNNI.
            return unsafe { x86::avx512_vnni(w, x, rounds) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: this machine has AVX2.
            return unsafe { x86::avx2(w, x, rounds) };
        }
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("dotprod") {
        // SAFETY: this machine has dot products of bytes.
        return unsafe { arm::dotprod(w, x, rounds) };
    }
    multiply_bytes_portable(w, x, rounds)
}

/// What other machines do: the compiler's own choice.
fn multiply_bytes_portable(
    w: &[u8; BLOCK_BYTES],
    x: &[[i8; BLOCK_BYTES]; BLOCK_ROWS],
    rounds: usize,
) -> [i32; BLOCK_ROWS] {
    let mut y = [0i32; BLOCK_ROWS];
    for _ in 0..rounds {
        let w = std::hint::black_box(w);
        for (y, x) in y.iter_mut().zip(x) {
            let sum: i32 = w.iter().zip(x).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum();
            *y = y.wrapping_add(sum);
        }
    }
    y
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
        _mm256_set1_epi16, _mm256_setzero_si256, _mm256_storeu_si256, _mm512_dpbusd_epi32,
        _mm512_loadu_si512, _mm512_reduce_add_epi32, _mm512_setzero_si512,
    };

    use super::{BLOCK_BYTES, BLOCK_ROWS};

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn avx512_vnni(
        w: &[u8; BLOCK_BYTES],
        x: &[[i8; BLOCK_BYTES]; BLOCK_ROWS],
        rounds: usize,
    ) -> [i32; BLOCK_ROWS] {
        let mut sums = [_mm512_setzero_si512(); BLOCK_ROWS];
        for _ in 0..rounds {
            let w = std::hint::black_box(w);
            for start in (0..BLOCK_BYTES).step_by(64) {
                // SAFETY: `start + 64 <= BLOCK_BYTES`, the length of `w` and of each row of `x`.
                let weights = unsafe { _mm512_loadu_si512(w.as_ptr().add(start).cast()) };
                for (sum, x) in sums.iter_mut().zip(x) {
                    // SAFETY: as above.
                    let x = unsafe { _mm512_loadu_si512(x.as_ptr().add(start).cast()) };
                    *sum = _mm512_dpbusd_epi32(*sum, weights, x);
                }
            }
        }
        sums.map(|sum| _mm512_reduce_add_epi32(sum))
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn avx2(
        w: &[u8; BLOCK_BYTES],
        x: &[[i8; BLOCK_BYTES]; BLOCK_ROWS],
        rounds: usize,
    ) -> [i32; BLOCK_ROWS] {
        let ones = _mm256_set1_epi16(1);
        let mut sums = [_mm256_setzero_si256(); BLOCK_ROWS];
        for _ in 0..rounds {
            let w = std::hint::black_box(w);
            for start in (0..BLOCK_BYTES).step_by(32) {
                // SAFETY: `start + 32 <= BLOCK_BYTES`, the length of `w` and of each row of `x`.
                let weights = unsafe { _mm256_loadu_si256(w.as_ptr().add(start).cast()) };
                for (sum, x) in sums.iter_mut().zip(x) {
                    // SAFETY: as above.
                    let x = unsafe { _mm256_loadu_si256(x.as_ptr().add(start).cast()) };
                    let pairs = _mm256_maddubs_epi16(weights, x);
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
        }
        sums.map(|sum| {
            let mut lanes = [0i32; 8];
            // SAFETY: eight numbers of 32 bits are what the register holds.
            unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
            lanes.into_iter().fold(0, i32::wrapping_add)
        })
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::{vaddvq_s32, vdupq_n_s32, vld1q_s8};

    use super::{BLOCK_BYTES, BLOCK_ROWS};
    use crate::packed::sdot;

    #[target_feature(enable = "neon,dotprod")]
    pub(super) fn dotprod(
        w: &[u8; BLOCK_BYTES],
        x: &[[i8; BLOCK_BYTES]; BLOCK_ROWS],
        rounds: usize,
    ) -> [i32; BLOCK_ROWS] {
        // Two sums a row: enough of them to hide an instruction's latency behind the others.
        let mut sums = [[vdupq_n_s32(0); 2]; BLOCK_ROWS];
        for _ in 0..rounds {
            let w = std::hint::black_box(w);
            for start in (0..BLOCK_BYTES).step_by(32) {
                // SAFETY: `start + 32 <= BLOCK_BYTES`, the length of `w` and of each row of `x`.
                unsafe {
                    let first = vld1q_s8(w.as_ptr().add(start).cast());
                    let second = vld1q_s8(w.as_ptr().add(start + 16).cast());
                    for (sum, x) in sums.iter_mut().zip(x) {
                        sum[0] = sdot(sum[0], first, vld1q_s8(x.as_ptr().add(start)));
                        sum[1] = sdot(sum[1], second, vld1q_s8(x.as_ptr().add(start + 16)));
                    }
                }
            }
        }
        sums.map(|[first, second]| vaddvq_s32(first).wrapping_add(vaddvq_s32(second)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_once() {
        for count in [0, 1, 31, 32, 33, 4097] {
            let words: Vec<u64> = (0..count).map(|index| index * 0x1_0000_0001 + 7).collect();
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let plain = words.into_iter().fold(0, u64::wrapping_add);
            assert_eq!(sum_words(&bytes), plain, "{count} words");
        }
    }

    #[test]
    fn every_product_is_computed_in_every_round() {
        let w: [u8; BLOCK_BYTES] = std::array::from_fn(|index| (index * 37 % 128) as u8);
        let x: [[i8; BLOCK_BYTES]; BLOCK_ROWS] = std::array::from_fn(|row| {
            std::array::from_fn(|index| (index * 91 + row * 13) as u8 as i8)
        });
        assert_eq!(multiply_bytes(&w, &x, 3), multiply_bytes_portable(&w, &x, 3));
    }
}
