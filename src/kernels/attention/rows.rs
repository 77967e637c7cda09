//! One task of attention: all queries of some rows that read the keys of one head.

use std::ops::Range;

use crate::packed::TILE;

use super::block::{BLOCK_TOKENS, Block, Paged, SLOTS, Wide};
use super::exp::Exp;
use super::kept::Kept;
use super::softmax::Softmax;
use super::{Step, Task};

/// Queries whose sums are held in registers together.
const TOGETHER: usize = 6;

/// A query and what has been gathered for it.
struct Query {
    /// Where it lies among the numbers of the step, and where its output goes.
    place: usize,
    /// Tokens it sees.
    sees: Range<usize>,
    softmax: Softmax,
}

/// The queries of a task.
struct Queries {
    about: Vec<Query>,
    /// Multiplied with the scale: [queries, head_dim]
    scaled: Vec<f32>,
    /// [queries, stride]
    gathered: Vec<f32>,
    dim: usize,
    stride: usize,
}

/// Unsafe: the machine must have the instructions, and `attend` in `attention.rs` must have checked
/// rows, pages and tokens; no other task may have the same rows and head.
#[inline(always)]
pub(super) unsafe fn attend<I: Exp, K: Kept, const FMA: bool>(step: &Step<'_>, task: &Task) {
    let (kv, pages) = (step.kv, step.spans[task.span].pages);
    let mut queries = Queries::new(step, task);
    let seen = seen(&queries.about);
    let widens = queries.about.len() > TOGETHER && kv.page_tokens().is_multiple_of(TILE);
    let mut wide = widens.then(|| Wide::new(step.shape.head_dim));
    let mut block = kv.block(seen.start, BLOCK_TOKENS);
    while block.start < seen.end {
        let paged = Paged::<K>::new(kv, pages, task.kv_head, block.start);
        let first = kv.tile_start(seen.start.max(block.start));
        let tokens = first - block.start..seen.end.min(block.end) - block.start;
        // SAFETY: the caller's.
        unsafe {
            match &mut wide {
                Some(wide) => {
                    wide.fill::<I, K>(&paged, tokens);
                    queries.take::<I, _, FMA>(step, wide, &block);
                }
                None => queries.take::<I, _, FMA>(step, &paged, &block),
            }
        }
        block = kv.block(block.end, BLOCK_TOKENS);
    }
    // SAFETY: the caller's.
    unsafe { queries.write(step) }
}

/// All tokens that some of the queries see.
fn seen(queries: &[Query]) -> Range<usize> {
    let start = queries.iter().map(|query| query.sees.start).min().unwrap_or(0);
    let end = queries.iter().map(|query| query.sees.end).max().unwrap_or(0);
    start..end
}

impl Queries {
    fn new(step: &Step<'_>, task: &Task) -> Queries {
        let shape = step.shape;
        let (dim, stride) = (shape.head_dim, step.kv.value_stride());
        let group = shape.query_heads / shape.kv_heads;
        let span = &step.spans[task.span];
        let mut about = Vec::with_capacity(task.rows.len() * group);
        let mut scaled = Vec::with_capacity(about.capacity() * dim);
        for row in task.rows.clone() {
            let end = span.first_visible + (row - span.rows.start);
            let first = if shape.window == 0 { 0 } else { end.saturating_sub(shape.window) };
            for head in task.kv_head * group..(task.kv_head + 1) * group {
                let place = (row * shape.query_heads + head) * dim;
                about.push(Query { place, sees: first..end, softmax: Softmax::new() });
                let query = &step.queries[place..place + dim];
                scaled.extend(query.iter().map(|value| value * shape.scale));
            }
        }
        let gathered = vec![0.0; about.len() * stride];
        Queries { about, scaled, gathered, dim, stride }
    }

    /// All queries over one block of tokens.
    #[inline(always)]
    unsafe fn take<I: Exp, B: Block, const FMA: bool>(
        &mut self,
        step: &Step<'_>,
        source: &B,
        block: &Range<usize>,
    ) {
        for first in (0..self.about.len()).step_by(TOGETHER) {
            let some = first..self.about.len().min(first + TOGETHER);
            let seen = seen(&self.about[some.clone()]);
            let (start, end) = (seen.start.max(block.start), seen.end.min(block.end));
            if start >= end {
                continue;
            }
            let tokens = step.kv.tile_start(start) - block.start..end - block.start;
            let place = (first, block.start);
            // SAFETY: the caller's.
            unsafe {
                match some.len() {
                    1 => self.some::<I, B, FMA, 1>(step, source, place, tokens),
                    2 => self.some::<I, B, FMA, 2>(step, source, place, tokens),
                    3 => self.some::<I, B, FMA, 3>(step, source, place, tokens),
                    4 => self.some::<I, B, FMA, 4>(step, source, place, tokens),
                    5 => self.some::<I, B, FMA, 5>(step, source, place, tokens),
                    _ => self.some::<I, B, FMA, TOGETHER>(step, source, place, tokens),
                }
            }
        }
    }

    /// `Q` queries from `first` on over some tokens of a block.
    #[inline(always)]
    unsafe fn some<I: Exp, B: Block, const FMA: bool, const Q: usize>(
        &mut self,
        step: &Step<'_>,
        source: &B,
        (first, block): (usize, usize),
        tokens: Range<usize>,
    ) {
        let mut scores = [[0.0f32; SLOTS]; Q];
        let mut x = [std::ptr::null(); Q];
        for (x, query) in x.iter_mut().zip(self.scaled[first * self.dim..].chunks_exact(self.dim)) {
            *x = query.as_ptr();
        }
        let gathered = &mut self.gathered[first * self.stride..][..Q * self.stride];
        // SAFETY: the caller's.
        unsafe {
            source.products::<I, Q>(tokens.clone(), x, &mut scores);
            let queries = self.about[first..first + Q].iter_mut().zip(&mut scores);
            for ((query, scores), gathered) in queries.zip(gathered.chunks_exact_mut(self.stride)) {
                let at = |token: usize| token.saturating_sub(block).min(tokens.end);
                let sees = at(query.sees.start)..at(query.sees.end);
                let (scores, _) = scores.split_first_chunk_mut().expect("longer than a block");
                query.softmax.weigh::<I, FMA>(scores, sees, step.shape.softcap, gathered);
            }
            source.gather::<I, Q>(tokens, &scores, gathered.as_mut_ptr());
        }
    }

    unsafe fn write(&self, step: &Step<'_>) {
        for (query, gathered) in self.about.iter().zip(self.gathered.chunks_exact(self.stride)) {
            let inverse = 1.0 / query.softmax.mass();
            // SAFETY: the place of a query of the step; nobody else writes there.
            unsafe {
                let out = step.out.get().add(query.place);
                for (column, value) in gathered.iter().enumerate().take(self.dim) {
                    *out.add(column) = value * inverse;
                }
            }
        }
    }
}
