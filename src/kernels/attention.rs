//! Attention of a step's rows over keys and values that lie in pages.
//!
//! Queries that read the same keys (the heads of a group, neighbouring rows of a prompt) are
//! computed together. A few read the pages as they are; for more, a block of tokens is widened
//! once, and all of them go over it while it is in the cache of a core (`attention/rows.rs`).

mod block;
mod exp;
mod kept;
mod pages;
mod rows;
mod softmax;

use std::ops::Range;

use crate::lanes::{Level, PORTABLE_FMA};
#[cfg(target_arch = "aarch64")]
use crate::packed::Neon;
#[cfg(target_arch = "x86_64")]
use crate::packed::{Avx2, Avx512};
use crate::packed::{F16, F32, Portable};
use crate::team::{Shares, Team};

use exp::Exp;
use kept::Q8;
pub use pages::{KvNumber, KvPages};

/// Queries of one task, about: so many share the widening of a block.
const TASK_QUERIES: usize = 64;
/// Most rows of one task; a prompt's rows are spread over the team in such pieces.
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
    let group = shape.query_heads / shape.kv_heads;
    let task_rows = (TASK_QUERIES / group).clamp(1, TASK_ROWS);
    let mut tasks = Vec::new();
    for (span, about) in spans.iter().enumerate() {
        let last = about.first_visible + about.rows.len();
        assert!(about.rows.end * row_len <= queries.len(), "rows of the step");
        assert!(about.first_visible > 0 && last - 1 <= about.pages.len() * kv.page_tokens());
        assert!(about.pages.iter().all(|&page| (page as usize) < kv.pages()), "pages of the cache");
        for first in about.rows.clone().step_by(task_rows) {
            let rows = first..about.rows.end.min(first + task_rows);
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
unsafe fn run<I: Exp, const FMA: bool>(step: &Step<'_>, task: &Task) {
    // SAFETY: the caller's.
    unsafe {
        match step.kv.number() {
            KvNumber::F32 => rows::attend::<I, F32, FMA>(step, task),
            KvNumber::F16 => rows::attend::<I, F16, FMA>(step, task),
            KvNumber::Q8 => rows::attend::<I, Q8, FMA>(step, task),
        }
    }
}

#[cfg(test)]
mod tests;
