//! Attention of encoders: each row of a text attends to all rows of that text.
//!
//! Texts are short and lie in one piece, so a head's keys and values are packed anew for each task
//! and the softmax sees all its scores at once; see `attention.rs` for keys that lie in pages.

use std::ops::Range;

use crate::lanes::{Level, PORTABLE_FMA, exp};
#[cfg(target_arch = "aarch64")]
use crate::packed::Neon;
#[cfg(target_arch = "x86_64")]
use crate::packed::{Avx2, Avx512};
use crate::packed::{Isa, Portable, TILE};
use crate::team::{Shares, Team};

/// Rows of one task: enough that packing the keys costs nothing beside their use.
const TASK_ROWS: usize = 128;

/// The heads of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadShape {
    pub heads: usize,
    pub head_dim: usize,
    /// What scores are multiplied with; 1/√head_dim in most models.
    pub scale: f32,
}

/// Some rows of a text, one head.
struct Task {
    text: Range<usize>,
    rows: Range<usize>,
    head: usize,
}

/// What all tasks share.
struct Step<'a> {
    /// Queries, keys and values.
    projected: [&'a [f32]; 3],
    shape: HeadShape,
    out: Shares<f32>,
}

/// One head of a text, packed.
struct Packed {
    tokens: usize,
    /// [tokens / 16, dim, 16]; zeros fill up.
    keys: Vec<f32>,
    /// [tokens, stride]
    values: Vec<f32>,
    /// `head_dim` in whole tiles.
    stride: usize,
}

/// Softmax attention within each text. Rows outside all texts are left alone.
///
/// Queries, keys, values, `out`: [rows, heads, head_dim]. A row's bits depend on its text alone.
/// Error against f64 under 2e-6 of max |value|.
pub fn attend_both_ways(
    team: &Team,
    texts: &[Range<usize>],
    (projected, out): ([&[f32]; 3], &mut [f32]),
    shape: HeadShape,
) {
    let width = shape.heads * shape.head_dim;
    assert!(projected.iter().all(|values| values.len() == out.len()), "rows of one width");
    let mut tasks = Vec::new();
    let mut free = 0;
    for text in texts {
        // In order and apart, so that no row is written twice.
        assert!(text.start >= free && text.end * width <= out.len(), "rows of the batch");
        free = text.end.max(free);
        for first in text.clone().step_by(TASK_ROWS) {
            let rows = first..text.end.min(first + TASK_ROWS);
            let task = |head| Task { text: text.clone(), rows: rows.clone(), head };
            tasks.extend((0..shape.heads).map(task));
        }
    }
    let step = Step { projected, shape, out: Shares(out.as_mut_ptr()) };
    let level = Level::detect_packed();
    team.run(tasks.len(), &|index| {
        let task = &tasks[index];
        // SAFETY: the level is this machine's; the sizes are checked above; tasks differ in rows
        // or head, so they write different outputs.
        unsafe {
            match level {
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => avx512(&step, task),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => avx2(&step, task),
                #[cfg(target_arch = "aarch64")]
                Level::Neon | Level::NeonDotprod => run::<Neon<false>, true, 4>(&step, task),
                _ => run::<Portable, PORTABLE_FMA, 4>(&step, task),
            }
        }
    });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
unsafe fn avx512(step: &Step<'_>, task: &Task) {
    // SAFETY: the caller's.
    unsafe { run::<Avx512, true, 8>(step, task) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2(step: &Step<'_>, task: &Task) {
    // SAFETY: the caller's.
    unsafe { run::<Avx2, true, 4>(step, task) }
}

/// All rows of a task, `T` together, the rest one by one.
#[inline(always)]
unsafe fn run<I: Isa, const FMA: bool, const T: usize>(step: &Step<'_>, task: &Task) {
    let head = Packed::new(step, task);
    let mut scores = vec![0.0; T * head.tokens.next_multiple_of(TILE)];
    let mut row = task.rows.start;
    // SAFETY: the caller's.
    unsafe {
        while row < task.rows.end {
            let left = task.rows.end - row;
            let place = (row, task.head);
            if left >= T {
                some::<I, FMA, T>(step, &head, place, &mut scores);
                row += T;
            } else {
                some::<I, FMA, 1>(step, &head, place, &mut scores);
                row += 1;
            }
        }
    }
}

impl Packed {
    fn new(step: &Step<'_>, task: &Task) -> Packed {
        let HeadShape { heads, head_dim: dim, .. } = step.shape;
        let [_, keys, values] = step.projected;
        let (tokens, stride) = (task.text.len(), dim.next_multiple_of(TILE));
        let mut packed = Packed {
            tokens,
            keys: vec![0.0; tokens.next_multiple_of(TILE) * dim],
            values: vec![0.0; tokens * stride],
            stride,
        };
        for (token, row) in task.text.clone().enumerate() {
            let from = (row * heads + task.head) * dim;
            let tile = &mut packed.keys[token / TILE * TILE * dim..][..TILE * dim];
            for (column, &key) in keys[from..from + dim].iter().enumerate() {
                tile[column * TILE + token % TILE] = key;
            }
            packed.values[token * stride..][..dim].copy_from_slice(&values[from..from + dim]);
        }
        packed
    }
}

/// `Q` rows from `row` on, one head.
#[inline(always)]
unsafe fn some<I: Isa, const FMA: bool, const Q: usize>(
    step: &Step<'_>,
    packed: &Packed,
    (row, head): (usize, usize),
    scores: &mut [f32],
) {
    let HeadShape { heads, head_dim: dim, scale } = step.shape;
    let place = |query: usize| ((row + query) * heads + head) * dim;
    let padded = packed.tokens.next_multiple_of(TILE);
    // SAFETY: the caller has checked rows and sizes; the rest is packed for them.
    unsafe {
        let queries = step.projected[0].as_ptr();
        for tile in 0..padded / TILE {
            let keys = packed.keys.as_ptr().add(tile * TILE * dim);
            let mut sums = [I::no_floats(); Q];
            for column in 0..dim {
                let keys = I::load_floats(keys.add(column * TILE));
                for (query, sum) in sums.iter_mut().enumerate() {
                    *sum = I::fused_one(keys, *queries.add(place(query) + column), *sum);
                }
            }
            for (query, &sum) in sums.iter().enumerate() {
                I::store_floats(scores.as_mut_ptr().add(query * padded + tile * TILE), sum);
            }
        }
        let mut shares = [0.0; Q];
        for (share, scores) in shares.iter_mut().zip(scores.chunks_exact_mut(padded)) {
            *share = 1.0 / weigh::<FMA>(scores, packed.tokens, scale);
        }
        for column in (0..packed.stride).step_by(TILE) {
            let mut sums = [I::no_floats(); Q];
            for token in 0..packed.tokens {
                let values = packed.values.as_ptr().add(token * packed.stride + column);
                let values = I::load_floats(values);
                for (query, sum) in sums.iter_mut().enumerate() {
                    let weight = *scores.as_ptr().add(query * padded + token);
                    *sum = I::fused_one(values, weight, *sum);
                }
            }
            for (query, &sum) in sums.iter().enumerate() {
                let mut mixed = [0.0; TILE];
                I::store_floats(mixed.as_mut_ptr(), I::times(sum, shares[query]));
                let out = step.out.get().add(place(query) + column);
                let count = TILE.min(dim - column);
                std::ptr::copy_nonoverlapping(mixed.as_ptr(), out, count);
            }
        }
    }
}

/// Turns products with so many tokens into softmax weights; gives their sum. What stands behind
/// the tokens becomes 0.
#[inline(always)]
fn weigh<const FMA: bool>(scores: &mut [f32], tokens: usize, scale: f32) -> f32 {
    scores[tokens..].fill(f32::NEG_INFINITY);
    let mut lanes = [f32::NEG_INFINITY; TILE];
    for scores in scores.as_chunks_mut::<TILE>().0 {
        for (lane, score) in lanes.iter_mut().zip(scores) {
            *score *= scale;
            *lane = lane.max(*score);
        }
    }
    let highest = lanes.iter().fold(f32::NEG_INFINITY, |highest, &score| highest.max(score));
    let mut sums = [0.0f32; TILE];
    for scores in scores.as_chunks_mut::<TILE>().0 {
        for (sum, score) in sums.iter_mut().zip(scores) {
            *score = exp::<FMA>(*score - highest);
            *sum += *score;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, noise};

    fn both(texts: &[Range<usize>], heads: usize, head_dim: usize) -> [Vec<f32>; 2] {
        let rows = texts.last().map_or(0, |text| text.end);
        let len = rows * heads * head_dim;
        let of = |seed| noise(seed, len).iter().map(|x| x * 3.0).collect::<Vec<f32>>();
        let (q, k, v) = (of(40), of(41), of(42));
        let scale = 1.0 / (head_dim as f32).sqrt();
        let team = Team::new(2).unwrap();
        let (mut got, mut want) = (vec![0.0; len], vec![0.0; len]);
        let shape = HeadShape { heads, head_dim, scale };
        attend_both_ways(&team, texts, ([&q, &k, &v], &mut got), shape);
        reference::attend_both_ways(texts, [&q, &k, &v], (heads, head_dim, scale), &mut want);
        [got, want]
    }

    #[test]
    fn equals_the_plain_twin_at_odd_sizes() {
        for (first, lengths, heads, dim) in [
            (0, &[1][..], 1, 2),
            (0, &[31, 1, 33], 3, 12),
            (2, &[17, 17], 2, 32),
            (0, &[300], 1, 33),
            (0, &[7, 133], 2, 64),
        ] {
            let mut start = first;
            let text = |&length: &usize| {
                start += length;
                start - length..start
            };
            let texts: Vec<Range<usize>> = lengths.iter().map(text).collect();
            let [got, want] = both(&texts, heads, dim);
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() <= 6e-6, "{texts:?} {heads} {dim}: {got} {want}");
            }
        }
    }

    #[test]
    fn a_number_that_is_none_stays_in_its_text() {
        let mut q = noise(43, 3 * 16);
        q[0] = f32::NAN;
        let mut out = vec![0.0; q.len()];
        let team = Team::new(1).unwrap();
        let shape = HeadShape { heads: 1, head_dim: 16, scale: 1.0 };
        attend_both_ways(&team, &[0..1, 1..3], ([&q, &q, &q], &mut out), shape);
        assert!(out[..16].iter().all(|value| value.is_nan()));
        assert!(out[16..].iter().all(|value| value.is_finite()));
    }
}
