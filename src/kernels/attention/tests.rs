//! Attention against the plain twin: odd sizes, long contexts, windows, caps, hostile numbers.

use super::*;
use crate::reference::{self, noise};

fn shape(query_heads: usize, kv_heads: usize, head_dim: usize) -> AttentionShape {
    let scale = 1.0 / (head_dim as f32).sqrt();
    AttentionShape { query_heads, kv_heads, head_dim, scale, softcap: 0.0, window: 0 }
}

/// A cache with `tokens` tokens of one sequence, and its pages: backwards and with holes, so that
/// order comes from the table alone. Other places hold what is not a number.
fn filled(
    number: KvNumber,
    shape: AttentionShape,
    page_tokens: usize,
    tokens: usize,
) -> (KvPages, Vec<u32>) {
    let count = tokens.div_ceil(page_tokens);
    let sizes = (shape.kv_heads, shape.head_dim);
    let mut kv = KvPages::new(number, (count + 3, page_tokens), sizes).expect("memory");
    let len = shape.kv_heads * shape.head_dim;
    for page in 0..count + 3 {
        for place in 0..page_tokens {
            kv.store((page, place), &vec![f32::NAN; len], &vec![f32::NAN; len]);
        }
    }
    let pages: Vec<u32> = (0..count as u32).rev().map(|page| page + 2).collect();
    for token in 0..tokens {
        let (key, value) = (noise(2 * token as u64, len), noise(2 * token as u64 + 1, len));
        let page = pages[token / page_tokens] as usize;
        kv.store((page, token % page_tokens), &key, &value);
    }
    (kv, pages)
}

/// Largest difference from the twin over the last `rows` rows of a sequence.
fn difference(
    number: KvNumber,
    shape: AttentionShape,
    (page_tokens, tokens, rows): (usize, usize, usize),
) -> f32 {
    let (kv, pages) = filled(number, shape, page_tokens, tokens);
    let row_len = shape.query_heads * shape.head_dim;
    let mut queries = noise(9, rows * row_len);
    queries.iter_mut().for_each(|value| *value *= 6.0);
    let mut got = vec![f32::NAN; queries.len()];
    let span = AttentionSpan { rows: 0..rows, first_visible: tokens + 1 - rows, pages: &pages };
    let team = Team::new(2).expect("threads");
    attend(&team, &kv, &[span], (&queries, &mut got), shape);
    let mut worst = 0.0f32;
    for row in 0..rows {
        let place = row * row_len..(row + 1) * row_len;
        let mut want = vec![0.0; row_len];
        let sees = (&pages[..], tokens + 1 - rows + row);
        reference::attend(&queries[place.clone()], &kv, sees, shape, &mut want);
        for (got, want) in got[place].iter().zip(&want) {
            assert!(got.is_finite(), "{got} for {want}");
            worst = worst.max((got - want).abs());
        }
    }
    worst
}

#[test]
fn equals_the_plain_twin_at_odd_sizes() {
    for number in [KvNumber::F32, KvNumber::F16, KvNumber::Q8] {
        for head_dim in [1, 8, 31, 32, 33, 64, 128] {
            for (tokens, rows) in [(1, 1), (15, 2), (17, 17), (100, 3)] {
                for (query_heads, kv_heads) in [(1, 1), (6, 2), (8, 1)] {
                    let shape = shape(query_heads, kv_heads, head_dim);
                    for page_tokens in [1, 7, 16, 20] {
                        let worst = difference(number, shape, (page_tokens, tokens, rows));
                        assert!(worst < 1e-5, "{shape:?}, {page_tokens}, {tokens}: {worst}");
                    }
                }
            }
        }
    }
}

#[test]
fn equals_the_plain_twin_over_a_long_context() {
    for number in [KvNumber::F16, KvNumber::Q8] {
        for page_tokens in [16, 32, 48] {
            let worst = difference(number, shape(4, 2, 64), (page_tokens, 4096, 37));
            assert!(worst < 1e-5, "{number:?}: {worst}");
        }
    }
}

#[test]
fn a_window_and_a_cap_equal_the_plain_twin() {
    for window in [1, 5, 16, 130, 1000] {
        let shape = AttentionShape { window, softcap: 2.0, ..shape(4, 2, 32) };
        for number in [KvNumber::F32, KvNumber::Q8] {
            let worst = difference(number, shape, (16, 400, 150));
            assert!(worst < 1e-5, "window {window}, {number:?}: {worst}");
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_among_others() {
    for number in [KvNumber::F16, KvNumber::Q8] {
        for window in [0, 70, 5] {
            same_bits(number, AttentionShape { window, ..shape(6, 2, 40) });
        }
    }
}

fn same_bits(number: KvNumber, shape: AttentionShape) {
    let (tokens, rows, row_len) = (150, 101, 6 * 40);
    let (kv, pages) = filled(number, shape, 16, tokens);
    let team = Team::new(2).expect("threads");
    let queries = noise(11, rows * row_len);
    let mut together = vec![0.0; queries.len()];
    let first_visible = tokens + 1 - rows;
    let span = AttentionSpan { rows: 0..rows, first_visible, pages: &pages };
    attend(&team, &kv, &[span], (&queries, &mut together), shape);
    for row in 0..rows {
        let place = row * row_len..(row + 1) * row_len;
        let mut alone = vec![0.0; row_len];
        let span = AttentionSpan { rows: 0..1, first_visible: first_visible + row, pages: &pages };
        attend(&team, &kv, &[span], (&queries[place.clone()], &mut alone), shape);
        assert!(alone.iter().zip(&together[place]).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}

#[test]
fn sequences_of_one_step_do_not_see_each_other() {
    let shape = shape(2, 1, 16);
    let (kv, pages) = filled(KvNumber::F32, shape, 16, 64);
    let (first, second) = (&pages[..2], &pages[2..]);
    let team = Team::new(2).expect("threads");
    let queries = noise(12, 3 * 32);
    let mut got = vec![0.0; queries.len()];
    let spans = [
        AttentionSpan { rows: 0..2, first_visible: 20, pages: first },
        AttentionSpan { rows: 2..3, first_visible: 32, pages: second },
    ];
    attend(&team, &kv, &spans, (&queries, &mut got), shape);
    for (row, sees) in [(0, (first, 20)), (1, (first, 21)), (2, (second, 32))] {
        let mut want = vec![0.0; 32];
        reference::attend(&queries[row * 32..(row + 1) * 32], &kv, sees, shape, &mut want);
        for (got, want) in got[row * 32..].iter().zip(&want) {
            assert!((got - want).abs() < 1e-5, "row {row}: {got}, not {want}");
        }
    }
}

#[test]
fn bytes_are_off_by_a_254th_of_the_largest_of_their_block() {
    for head_dim in [1, 8, 31, 32, 33, 80] {
        for page_tokens in [1, 7, 16, 20] {
            let mut kv =
                KvPages::new(KvNumber::Q8, (2, page_tokens), (3, head_dim)).expect("memory");
            let numbers = |seed| {
                let size = |index| [1.0, 300.0, 1e-3][index / 32 % 3];
                let noise = noise(seed, 3 * head_dim).into_iter().enumerate();
                noise.map(|(index, value)| value * size(index)).collect::<Vec<f32>>()
            };
            for place in 0..page_tokens {
                let (key, value) = (numbers(place as u64), numbers(100 + place as u64));
                kv.store((1, place), &key, &value);
            }
            for place in 0..page_tokens {
                for head in 0..3 {
                    let (key, value) = kv.token((1, place), head);
                    for (seed, kept) in [(0, key), (100, value)] {
                        let exact = numbers(seed + place as u64);
                        let exact = &exact[head * head_dim..(head + 1) * head_dim];
                        for (kept, exact) in kept.chunks(32).zip(exact.chunks(32)) {
                            let largest = exact.iter().fold(0.0f32, |a, b| a.max(b.abs()));
                            // Half a step, a 2^-11th of the number by the scale's rounding, and
                            // what a scale under 2^-14 loses.
                            let bound = largest * (1.0 / 254.0 + 1.0 / 2048.0) + 127.0 * 3e-8;
                            for (kept, exact) in kept.iter().zip(exact) {
                                assert!((kept - exact).abs() <= bound, "{kept} for {exact}");
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_page_of_bytes_is_little_more_than_half_of_one_of_half_floats() {
    let bytes = |number: KvNumber| number.page_bytes(16, (8, 128));
    assert_eq!(bytes(KvNumber::F16), 16 * 8 * 2 * 128 * 2);
    assert_eq!(bytes(KvNumber::Q8), 16 * 8 * 2 * (128 + 4 * 2));
    for number in [KvNumber::F32, KvNumber::F16, KvNumber::Q8] {
        let kv = KvPages::new(number, (5, 20), (3, 33)).expect("memory");
        assert_eq!(kv.bytes(), 5 * number.page_bytes(20, (3, 33)), "{number:?}");
    }
}

#[test]
fn many_tokens_are_stored_as_one_after_the_other_are() {
    let team = Team::new(2).expect("threads");
    for number in [KvNumber::F32, KvNumber::F16, KvNumber::Q8] {
        let empty = || KvPages::new(number, (4, 20), (3, 40)).expect("memory");
        let (mut together, mut singly) = (empty(), empty());
        let slots: Vec<(usize, usize)> = (0..50).map(|row| (3 - row / 20, row % 20)).collect();
        let (keys, values) = (noise(1, 50 * 120), noise(2, 50 * 120));
        together.store_all(&team, &slots, &keys, &values);
        for (row, &slot) in slots.iter().enumerate() {
            let place = row * 120..(row + 1) * 120;
            singly.store(slot, &keys[place.clone()], &values[place]);
        }
        for &slot in &slots {
            for head in 0..3 {
                assert_eq!(together.token(slot, head), singly.token(slot, head), "{number:?}");
            }
        }
    }
}

fn one_head(number: KvNumber, keys: &[f32], values: &[f32], query: f32) -> f32 {
    let shape = AttentionShape { scale: 1.0, ..shape(1, 1, 1) };
    let mut kv = KvPages::new(number, (1, keys.len()), (1, 1)).expect("memory");
    for (place, (&key, &value)) in keys.iter().zip(values).enumerate() {
        kv.store((0, place), &[key], &[value]);
    }
    let team = Team::new(1).expect("threads");
    let mut out = [0.0];
    let span = AttentionSpan { rows: 0..1, first_visible: keys.len(), pages: &[0] };
    attend(&team, &kv, &[span], (&[query], &mut out), shape);
    out[0]
}

#[test]
fn a_block_has_the_same_tokens_whoever_asks() {
    for page_tokens in [1, 7, 16, 20, 64, 100, 256] {
        let kv = KvPages::new(KvNumber::F16, (1, page_tokens), (1, 1)).expect("memory");
        let mut end = 0;
        while end < 700 {
            let block = kv.block(end, 64);
            assert!(block.start == end && (1..=64).contains(&block.len()), "{page_tokens}");
            assert!(block.clone().all(|token| kv.block(token, 64) == block), "{page_tokens}");
            assert!(block.start.is_multiple_of(page_tokens) || page_tokens > 64);
            end = block.end;
        }
    }
}

#[test]
fn powers_of_e_are_off_by_less_than_a_fifth_of_a_millionth() {
    for step in 0..8700 {
        let lanes: [f32; 16] = std::array::from_fn(|lane| (step * 16 + lane) as f32 / -1600.0);
        // SAFETY: any machine has these instructions.
        let got = unsafe { <Portable as Exp>::exp(lanes) };
        for (got, x) in got.into_iter().zip(lanes) {
            assert!((f64::from(got) / f64::from(x).exp() - 1.0).abs() < 2e-7, "e^{x} is {got}");
        }
    }
    for (x, want) in [(f32::NEG_INFINITY, 0.0), (-87.1, 0.0), (-0.0, 1.0)] {
        // SAFETY: as above.
        assert_eq!(unsafe { <Portable as Exp>::exp([x; 16]) }, [want; 16]);
    }
    // SAFETY: as above.
    assert!(unsafe { <Portable as Exp>::exp([f32::NAN; 16]) }.iter().all(|got| got.is_nan()));
}

#[test]
fn huge_scores_do_not_overflow() {
    assert_eq!(one_head(KvNumber::F32, &[300.0, -300.0, 299.0], &[1.0, 2.0, 3.0], 300.0), 1.0);
}

#[test]
fn what_is_not_a_number_reaches_the_output() {
    for number in [KvNumber::F32, KvNumber::F16, KvNumber::Q8] {
        assert!(one_head(number, &[f32::NAN], &[1.0], 1.0).is_nan());
        assert!(one_head(number, &[1.0, 1.0], &[1.0, f32::NAN], 1.0).is_nan());
        assert!(!one_head(number, &[1.0, 1.0], &[1.0, f32::INFINITY], 1.0).is_finite());
        assert!(one_head(number, &[1.0, 2.0], &[1.0, 2.0], f32::NAN).is_nan());
    }
}
