//! Attention of one token over keys and values that lie in pages.

use crate::lanes::{Level, PORTABLE_FMA, dot, exp, fused};

/// Most tokens in a page: the scores of one page live on the stack.
pub const MAX_PAGE_TOKENS: usize = 256;

/// The head counts of an attention layer. `query_heads` is a multiple of `kv_heads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    pub query_heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

/// One layer's keys and values, and the pages that hold one sequence's tokens in order.
///
/// `keys`, `values`: [page, kv_head, token in page, head_dim].
#[derive(Clone, Copy, Debug)]
pub struct PagedKv<'a> {
    pub keys: &'a [f32],
    pub values: &'a [f32],
    pub pages: &'a [u32],
    pub page_tokens: usize,
}

/// Softmax attention of one query token over the first `tokens` cached tokens.
///
/// `query`, `out`: [query_heads, head_dim]. Scores are scaled by 1/√head_dim. Heads that share
/// keys read them from the same place; nothing is copied. The softmax runs page by page with a
/// running maximum. Runs on the caller's thread. Error against f64 under 1e-5 of max |value|.
pub fn attend(
    query: &[f32],
    kv: &PagedKv<'_>,
    tokens: usize,
    shape: AttentionShape,
    out: &mut [f32],
) {
    assert!(tokens > 0 && tokens <= kv.pages.len() * kv.page_tokens, "tokens lie in the pages");
    assert!(kv.page_tokens > 0 && kv.page_tokens <= MAX_PAGE_TOKENS, "page size in bounds");
    assert!(shape.kv_heads > 0 && shape.query_heads.is_multiple_of(shape.kv_heads));
    assert_eq!(query.len(), shape.query_heads * shape.head_dim, "one query per head");
    assert_eq!(out.len(), query.len(), "one output per query");
    match Level::detect() {
        // SAFETY: `detect` has seen AVX-512F and FMA on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(query, kv, tokens, shape, out) },
        // SAFETY: `detect` has seen AVX2 and FMA on this machine.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(query, kv, tokens, shape, out) },
        _ => body::<PORTABLE_FMA, 8>(query, kv, tokens, shape, out),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,fma")]
fn avx512(query: &[f32], kv: &PagedKv<'_>, tokens: usize, shape: AttentionShape, out: &mut [f32]) {
    body::<true, 16>(query, kv, tokens, shape, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(query: &[f32], kv: &PagedKv<'_>, tokens: usize, shape: AttentionShape, out: &mut [f32]) {
    body::<true, 8>(query, kv, tokens, shape, out);
}

#[inline(always)]
fn body<const FMA: bool, const N: usize>(
    query: &[f32],
    kv: &PagedKv<'_>,
    tokens: usize,
    shape: AttentionShape,
    out: &mut [f32],
) {
    let group = shape.query_heads / shape.kv_heads;
    let group_len = group * shape.head_dim;
    let groups = query.chunks_exact(group_len).zip(out.chunks_exact_mut(group_len));
    for (kv_head, (query, out)) in groups.enumerate() {
        for (query, out) in
            query.chunks_exact(shape.head_dim).zip(out.chunks_exact_mut(shape.head_dim))
        {
            head::<FMA, N>(query, kv, tokens, (kv_head, shape.kv_heads), out);
        }
    }
}

/// One query head: page by page, rescaling what was gathered when a larger score appears.
#[inline(always)]
fn head<const FMA: bool, const N: usize>(
    query: &[f32],
    kv: &PagedKv<'_>,
    tokens: usize,
    (kv_head, kv_heads): (usize, usize),
    out: &mut [f32],
) {
    let dim = query.len();
    let page_len = kv.page_tokens * dim;
    let scale = 1.0 / (dim as f32).sqrt();
    let mut scores = [0.0f32; MAX_PAGE_TOKENS];
    let (mut highest, mut mass) = (f32::NEG_INFINITY, 0.0f32);
    out.fill(0.0);
    for (index, &page) in kv.pages.iter().enumerate() {
        let done = index * kv.page_tokens;
        if done >= tokens {
            break;
        }
        let count = (tokens - done).min(kv.page_tokens);
        let start = (page as usize * kv_heads + kv_head) * page_len;
        let keys = &kv.keys[start..start + count * dim];
        let values = &kv.values[start..start + count * dim];
        let scores = &mut scores[..count];
        let mut page_highest = highest;
        for (score, key) in scores.iter_mut().zip(keys.chunks_exact(dim)) {
            *score = dot::<FMA, N>(query, key) * scale;
            page_highest = page_highest.max(*score);
        }
        if page_highest > highest {
            let shrink = exp::<FMA>(highest - page_highest);
            mass *= shrink;
            out.iter_mut().for_each(|value| *value *= shrink);
            highest = page_highest;
        }
        for score in scores.iter_mut() {
            *score = exp::<FMA>(*score - highest);
        }
        for (&weight, value) in scores.iter().zip(values.chunks_exact(dim)) {
            mass += weight;
            for (out, &value) in out.iter_mut().zip(value) {
                *out = fused::<FMA>(weight, value, *out);
            }
        }
    }
    let inverse = 1.0 / mass;
    out.iter_mut().for_each(|value| *value *= inverse);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, noise};

    fn difference(shape: AttentionShape, page_tokens: usize, tokens: usize) -> f32 {
        let pages = tokens.div_ceil(page_tokens);
        let len = (pages + 3) * page_tokens * shape.kv_heads * shape.head_dim;
        let (keys, values) = (noise(7, len), noise(8, len));
        // Backwards and with holes: order comes from the table alone.
        let table: Vec<u32> = (0..pages as u32).rev().map(|page| page + 2).collect();
        let kv = PagedKv { keys: &keys, values: &values, pages: &table, page_tokens };
        let mut query = noise(9, shape.query_heads * shape.head_dim);
        query.iter_mut().for_each(|value| *value *= 6.0);
        let mut got = vec![f32::NAN; query.len()];
        let mut want = got.clone();
        attend(&query, &kv, tokens, shape, &mut got);
        reference::attend(&query, &kv, tokens, shape, &mut want);
        got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn equals_the_plain_twin_at_odd_sizes() {
        for head_dim in [1, 8, 31, 32, 33, 64, 128] {
            for tokens in [1, 15, 16, 17, 33, 100] {
                for (query_heads, kv_heads) in [(1, 1), (4, 4), (6, 2), (8, 1)] {
                    let shape = AttentionShape { query_heads, kv_heads, head_dim };
                    for page_tokens in [1, 7, 16] {
                        let worst = difference(shape, page_tokens, tokens);
                        assert!(worst < 1e-5, "{shape:?}, {tokens} tokens: {worst}");
                    }
                }
            }
        }
    }

    #[test]
    fn equals_the_plain_twin_over_a_long_context() {
        let shape = AttentionShape { query_heads: 4, kv_heads: 2, head_dim: 64 };
        let worst = difference(shape, 16, 4096);
        assert!(worst < 1e-5, "{worst}");
    }

    #[test]
    fn huge_scores_do_not_overflow() {
        let keys = [300.0, -300.0, 299.0];
        let values = [1.0, 2.0, 3.0];
        let kv = PagedKv { keys: &keys, values: &values, pages: &[0], page_tokens: 3 };
        let shape = AttentionShape { query_heads: 1, kv_heads: 1, head_dim: 1 };
        let mut out = [0.0];
        attend(&[300.0], &kv, 3, shape, &mut out);
        assert_eq!(out, [1.0]);
    }

    #[test]
    fn nan_in_a_key_reaches_the_output() {
        let kv = PagedKv { keys: &[f32::NAN], values: &[1.0], pages: &[0], page_tokens: 1 };
        let shape = AttentionShape { query_heads: 1, kv_heads: 1, head_dim: 1 };
        let mut out = [0.0];
        attend(&[1.0], &kv, 1, shape, &mut out);
        assert!(out[0].is_nan());
    }
}
