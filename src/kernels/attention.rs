//! Attention of a step's rows over keys and values that lie in pages.
//!
//! Queries that read the same keys (the heads of a group, neighbouring rows of a prompt) are
//! computed together, so that a page is read and widened once for up to [`TOGETHER`] of them.

mod kept;
mod pages;

use std::ops::Range;

use crate::lanes::{Level, PORTABLE_FMA, exp, tanh};
#[cfg(target_arch = "aarch64")]
use crate::packed::Neon;
#[cfg(target_arch = "x86_64")]
use crate::packed::{Avx2, Avx512};
use crate::packed::{F16, F32, Isa, Portable, TILE};
use crate::team::{Shares, Team};

use kept::{Kept, Q8, Values};
pub use pages::{KvNumber, KvPages};

/// Queries that share one reading of a page.
const TOGETHER: usize = 4;
/// Tokens whose scores are held at once: those of 4 queries are 2 KiB.
const BLOCK_TOKENS: usize = 8 * TILE;
/// Rows of one task; a prompt's rows are spread over the team in such pieces.
const TASK_ROWS: usize = 16;

/// The heads of an attention layer. `query_heads` is a multiple of `kv_heads`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    pub query_heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// What scores are multiplied with; 1/√head_dim in most models.
    pub scale: f32,
    /// Scores become cap · tanh(score / cap); 0 leaves them.
    pub softcap: f32,
    /// A row sees this many tokens up to itself; 0 is all.
    pub window: usize,
}

/// Neighbouring rows of one sequence.
#[derive(Clone, Debug)]
pub struct AttentionSpan<'a> {
    /// Among the rows of the step.
    pub rows: Range<usize>,
    /// Tokens that the first row sees, itself included; each next row sees one more.
    pub first_visible: usize,
    /// The sequence's pages, in the order of its tokens.
    pub pages: &'a [u32],
}

/// One piece of work: some rows of a span, all query heads of one key head.
struct Task {
    span: usize,
    rows: Range<usize>,
    kv_head: usize,
}

/// What all tasks of a step share.
struct Step<'a> {
    kv: &'a KvPages,
    spans: &'a [AttentionSpan<'a>],
    queries: &'a [f32],
    shape: AttentionShape,
    out: Shares<f32>,
}

/// Softmax attention of each row over the tokens it sees. Rows outside all spans are left alone.
///
/// `queries`, `out`: [rows, query_heads, head_dim]. A row's bits do not depend on other rows. The
/// softmax runs over blocks of tokens with a running maximum. Error against f64 on the numbers as
/// the pages hold them: under 1e-5 of max |value|.
pub fn attend(
    team: &Team,
    kv: &KvPages,
    spans: &[AttentionSpan<'_>],
    (queries, out): (&[f32], &mut [f32]),
    shape: AttentionShape,
) {
    let row_len = shape.query_heads * shape.head_dim;
    assert!(shape.kv_heads > 0 && shape.query_heads.is_multiple_of(shape.kv_heads));
    assert!(kv.heads() == shape.kv_heads && kv.head_dim() == shape.head_dim, "the cache's shape");
    assert_eq!(out.len(), queries.len(), "one output per query");
    let mut tasks = Vec::new();
    for (span, about) in spans.iter().enumerate() {
        let last = about.first_visible + about.rows.len();
        assert!(about.rows.end * row_len <= queries.len(), "rows of the step");
        assert!(about.first_visible > 0 && last - 1 <= about.pages.len() * kv.page_tokens());
        assert!(about.pages.iter().all(|&page| (page as usize) < kv.pages()), "pages of the cache");
        for first in about.rows.clone().step_by(TASK_ROWS) {
            let rows = first..about.rows.end.min(first + TASK_ROWS);
            let heads = 0..shape.kv_heads;
            tasks.extend(heads.map(|kv_head| Task { span, rows: rows.clone(), kv_head }));
        }
    }
    // Late rows of a prompt see the most tokens; the longest tasks first even the team out.
    tasks.reverse();
    let step = Step { kv, spans, queries, shape, out: Shares(out.as_mut_ptr()) };
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
                Level::Neon | Level::NeonDotprod => run::<Neon<false>, true>(&step, task),
                _ => run::<Portable, PORTABLE_FMA>(&step, task),
            }
        }
    });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
unsafe fn avx512(step: &Step<'_>, task: &Task) {
    // SAFETY: the caller's.
    unsafe { run::<Avx512, true>(step, task) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2(step: &Step<'_>, task: &Task) {
    // SAFETY: the caller's.
    unsafe { run::<Avx2, true>(step, task) }
}

#[inline(always)]
unsafe fn run<I: Isa, const FMA: bool>(step: &Step<'_>, task: &Task) {
    // SAFETY: the caller's.
    unsafe {
        match step.kv.number() {
            KvNumber::F32 => rows::<I, F32, FMA>(step, task),
            KvNumber::F16 => rows::<I, F16, FMA>(step, task),
            KvNumber::Q8 => rows::<I, Q8, FMA>(step, task),
        }
    }
}

/// A query and what is gathered for it.
struct Query {
    row: usize,
    head: usize,
    /// Tokens it sees: [first, end).
    sees: Range<usize>,
    highest: f32,
    mass: f32,
}

#[inline(always)]
unsafe fn rows<I: Isa, K: Kept, const FMA: bool>(step: &Step<'_>, task: &Task) {
    let AttentionShape { query_heads, kv_heads, window, .. } = step.shape;
    let group = query_heads / kv_heads;
    let span = &step.spans[task.span];
    let mut queries = Vec::with_capacity(task.rows.len() * group);
    for row in task.rows.clone() {
        let end = span.first_visible + (row - span.rows.start);
        let first = if window == 0 { 0 } else { end.saturating_sub(window) };
        let heads = task.kv_head * group..(task.kv_head + 1) * group;
        queries.extend(heads.map(|head| Query {
            row,
            head,
            sees: first..end,
            highest: f32::NEG_INFINITY,
            mass: 0.0,
        }));
    }
    let mut gathered = vec![0.0; TOGETHER * step.kv.value_stride()];
    // SAFETY: the caller's; each of these computes queries that nobody else does.
    unsafe {
        for queries in queries.chunks_mut(TOGETHER) {
            match queries.len() {
                1 => some::<I, K, FMA, 1>(step, (span, task.kv_head), queries, &mut gathered),
                2 => some::<I, K, FMA, 2>(step, (span, task.kv_head), queries, &mut gathered),
                3 => some::<I, K, FMA, 3>(step, (span, task.kv_head), queries, &mut gathered),
                _ => some::<I, K, FMA, 4>(step, (span, task.kv_head), queries, &mut gathered),
            }
        }
    }
}

/// `Q` queries over all tokens that any of them sees.
#[inline(always)]
unsafe fn some<I: Isa, K: Kept, const FMA: bool, const Q: usize>(
    step: &Step<'_>,
    (span, kv_head): (&AttentionSpan<'_>, usize),
    queries: &mut [Query],
    gathered: &mut [f32],
) {
    let dim = step.shape.head_dim;
    let row_len = step.shape.query_heads * dim;
    let place = |query: &Query| query.row * row_len + query.head * dim;
    let first = queries.iter().map(|query| query.sees.start).min().unwrap_or(0);
    let end = queries.iter().map(|query| query.sees.end).max().unwrap_or(0);
    gathered.fill(0.0);
    let mut scores = [[0.0f32; BLOCK_TOKENS]; Q];
    // SAFETY: the caller has checked rows, pages and tokens.
    unsafe {
        let mut x = [std::ptr::null(); Q];
        for (x, query) in x.iter_mut().zip(&*queries) {
            *x = step.queries.as_ptr().add(place(query));
        }
        let mut block = step.kv.tile_start(first);
        while block < end {
            let mut tile = block;
            // A tile's 16 products may reach past the end of its page; the next tile's follow.
            while tile < end && tile - block <= BLOCK_TOKENS - TILE {
                let keys = step.kv.keys_at(span.pages, kv_head, tile);
                let products = K::products::<I, Q>(keys, x, dim);
                for (scores, product) in scores.iter_mut().zip(products) {
                    I::store_floats(scores[tile - block..].as_mut_ptr(), product);
                }
                tile = step.kv.next_tile(tile);
            }
            let tokens = block..end.min(tile);
            for (index, query) in queries.iter_mut().enumerate() {
                let gathered = &mut gathered[index * step.kv.value_stride()..];
                let gathered = &mut gathered[..step.kv.value_stride()];
                weigh::<FMA>(&mut scores[index], &tokens, query, (step.shape, gathered));
            }
            gather::<I, K, Q>(step, (span, kv_head), tokens, (&scores, gathered));
            block = tile;
        }
        for (index, query) in queries.iter().enumerate() {
            let inverse = 1.0 / query.mass;
            let out = step.out.get().add(place(query));
            let gathered = &gathered[index * step.kv.value_stride()..];
            for (column, value) in gathered.iter().enumerate().take(dim) {
                *out.add(column) = value * inverse;
            }
        }
    }
}

/// Turns one query's products with a block of tokens into softmax weights, and shrinks what it has
/// gathered if a larger score appears.
#[inline(always)]
fn weigh<const FMA: bool>(
    scores: &mut [f32; BLOCK_TOKENS],
    tokens: &Range<usize>,
    query: &mut Query,
    (shape, gathered): (AttentionShape, &mut [f32]),
) {
    for score in scores.iter_mut() {
        *score *= shape.scale;
    }
    if shape.softcap > 0.0 {
        for score in scores.iter_mut() {
            *score = shape.softcap * tanh::<FMA>(*score / shape.softcap);
        }
    }
    let sees = query.sees.start.max(tokens.start)..query.sees.end.min(tokens.end);
    for (index, score) in scores.iter_mut().enumerate() {
        let is_seen = sees.contains(&(tokens.start + index));
        *score = if is_seen { *score } else { f32::NEG_INFINITY };
    }
    let mut lanes = [f32::NEG_INFINITY; TILE];
    for scores in scores.as_chunks::<TILE>().0 {
        for (lane, &score) in lanes.iter_mut().zip(scores) {
            *lane = lane.max(score);
        }
    }
    let highest = lanes.iter().fold(query.highest, |highest, &score| highest.max(score));
    if highest > query.highest {
        let shrink = exp::<FMA>(query.highest - highest);
        query.mass *= shrink;
        gathered.iter_mut().for_each(|value| *value *= shrink);
        query.highest = highest;
    }
    // Nothing seen so far: all scores are −∞, and −∞ − −∞ is not a number.
    let base = if query.highest == f32::NEG_INFINITY { 0.0 } else { query.highest };
    let mut sums = [0.0f32; TILE];
    for scores in scores.as_chunks_mut::<TILE>().0 {
        for (sum, score) in sums.iter_mut().zip(scores) {
            *score = exp::<FMA>(*score - base);
            *sum += *score;
        }
    }
    query.mass += sums.iter().sum::<f32>();
}

/// Adds the weighted values of a block of tokens to what the queries have gathered.
#[inline(always)]
unsafe fn gather<I: Isa, K: Kept, const Q: usize>(
    step: &Step<'_>,
    (span, kv_head): (&AttentionSpan<'_>, usize),
    tokens: Range<usize>,
    (scores, gathered): (&[[f32; BLOCK_TOKENS]; Q], &mut [f32]),
) {
    let page_tokens = step.kv.page_tokens();
    // SAFETY: the caller's. A block starts with a tile, and so do the pages after its first; the
    // last tile's 16 weights are within the block.
    unsafe {
        let mut token = tokens.start;
        while token < tokens.end {
            let place = token % page_tokens;
            let values = Values {
                start: step.kv.values_at(span.pages, kv_head, token),
                page_tokens,
                place,
                count: (page_tokens - place).min(tokens.end - token),
                stride: step.kv.value_stride(),
            };
            let mut weights = [std::ptr::null(); Q];
            for (weights, scores) in weights.iter_mut().zip(scores) {
                *weights = scores.as_ptr().add(token - tokens.start);
            }
            K::gather::<I, Q>(&values, weights, gathered.as_mut_ptr());
            token += values.count;
        }
    }
}

#[cfg(test)]
mod tests;
