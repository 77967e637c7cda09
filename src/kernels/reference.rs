//! Plain twins of the kernels, in f64 and in the order a textbook writes them.
//!
//! For tests, and for readers: what a kernel computes stands here without how it is made fast.

use crate::{AttentionShape, PagedKv, Pairing};

/// Twin of [`crate::matrix_times_rows`].
pub fn matrix_times_rows(w: &[f32], x: &[f32], inputs: usize, y: &mut [f32]) {
    let rows = x.len() / inputs;
    for (o, w) in w.chunks_exact(inputs).enumerate() {
        for (r, x) in x.chunks_exact(inputs).enumerate() {
            y[o * rows + r] = dot(w, x) as f32;
        }
    }
}

/// Twin of [`crate::attend`]: all scores, then one softmax, then one weighted sum.
pub fn attend(
    query: &[f32],
    kv: &PagedKv<'_>,
    tokens: usize,
    shape: AttentionShape,
    out: &mut [f32],
) {
    let dim = shape.head_dim;
    let group = shape.query_heads / shape.kv_heads;
    for head in 0..shape.query_heads {
        let query = &query[head * dim..(head + 1) * dim];
        let place = |token: usize| {
            let page = kv.pages[token / kv.page_tokens] as usize;
            let slot = token % kv.page_tokens;
            ((page * shape.kv_heads + head / group) * kv.page_tokens + slot) * dim
        };
        let scores: Vec<f64> = (0..tokens)
            .map(|token| dot(query, &kv.keys[place(token)..][..dim]) / (dim as f64).sqrt())
            .collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
        let mass: f64 = weights.iter().sum();
        for i in 0..dim {
            let sum: f64 = (0..tokens)
                .map(|token| weights[token] * f64::from(kv.values[place(token) + i]))
                .sum();
            out[head * dim + i] = (sum / mass) as f32;
        }
    }
}

/// Twin of [`crate::rms_norm`].
pub fn rms_norm(x: &[f32], w: &[f32], eps: f32, y: &mut [f32]) {
    for (x, y) in x.chunks_exact(w.len()).zip(y.chunks_exact_mut(w.len())) {
        let root = (dot(x, x) / w.len() as f64 + f64::from(eps)).sqrt();
        for i in 0..w.len() {
            y[i] = (f64::from(x[i]) / root * f64::from(w[i])) as f32;
        }
    }
}

/// Twin of [`crate::swiglu`].
pub fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (gate, &up) in gate.iter_mut().zip(up) {
        let value = f64::from(*gate);
        *gate = (value / (1.0 + (-value).exp()) * f64::from(up)) as f32;
    }
}

/// Twin of [`crate::rotate`]; `angles` are the cosines and sines.
pub fn rotate(x: &mut [f32], angles: (&[f32], &[f32]), dim: usize, pairing: Pairing) {
    let (cos, sin) = angles;
    let half = dim / 2;
    let heads = x.len() / (cos.len() / half) / dim;
    for index in 0..x.len() / dim {
        for pair in 0..half {
            let (a, b) = match pairing {
                Pairing::Neighbours => (2 * pair, 2 * pair + 1),
                Pairing::Halves => (pair, pair + half),
            };
            let (a, b) = (index * dim + a, index * dim + b);
            let angle = index / heads * half + pair;
            let (cos, sin) = (f64::from(cos[angle]), f64::from(sin[angle]));
            let (first, second) = (f64::from(x[a]), f64::from(x[b]));
            x[a] = (first * cos - second * sin) as f32;
            x[b] = (first * sin + second * cos) as f32;
        }
    }
}

/// `len` repeatable values in −1 .. 1, for tests and benchmarks.
pub fn noise(seed: u64, len: usize) -> Vec<f32> {
    // A linear congruential generator (Knuth's MMIX constants); its top bits are good enough.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
