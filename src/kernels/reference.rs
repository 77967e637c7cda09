//! Plain twins of the kernels, in f64 and in the order a textbook writes them.
//!
//! For tests, and for readers: what a kernel computes stands here without how it is made fast.

use crate::{AttentionShape, KvPages, Pairing};

/// Twin of [`crate::attend`] for one row: all scores, then one softmax, then one weighted sum.
/// `query`, `out`: [query_heads, head_dim].
pub fn attend(
    query: &[f32],
    kv: &KvPages,
    (pages, tokens): (&[u32], usize),
    shape: AttentionShape,
    out: &mut [f32],
) {
    let dim = shape.head_dim;
    let group = shape.query_heads / shape.kv_heads;
    let first = if shape.window == 0 { 0 } else { tokens.saturating_sub(shape.window) };
    for head in 0..shape.query_heads {
        let query = &query[head * dim..(head + 1) * dim];
        let seen: Vec<(Vec<f32>, Vec<f32>)> = (first..tokens)
            .map(|token| {
                let page = pages[token / kv.page_tokens()] as usize;
                kv.token((page, token % kv.page_tokens()), head / group)
            })
            .collect();
        let cap = f64::from(shape.softcap);
        let score = |key: &[f32]| {
            let score = dot(query, key) * f64::from(shape.scale);
            if cap > 0.0 { cap * (score / cap).tanh() } else { score }
        };
        let scores: Vec<f64> = seen.iter().map(|(key, _)| score(key)).collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
        let mass: f64 = weights.iter().sum();
        for i in 0..dim {
            let values = seen.iter().map(|(_, value)| f64::from(value[i]));
            let sum: f64 = values.zip(&weights).map(|(value, weight)| value * weight).sum();
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

/// Twin of [`crate::add_layer_norm`].
pub fn add_layer_norm(x: &mut [f32], y: &[f32], (weight, bias): (&[f32], &[f32]), eps: f32) {
    let width = weight.len();
    for (x, y) in x.chunks_exact_mut(width).zip(y.chunks_exact(width)) {
        let row: Vec<f64> = x.iter().zip(y).map(|(x, y)| f64::from(x + y)).collect();
        let mean = row.iter().sum::<f64>() / width as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        let root = (variance + f64::from(eps)).sqrt();
        for i in 0..width {
            let normed = (row[i] - mean) / root;
            x[i] = (normed * f64::from(weight[i]) + f64::from(bias[i])) as f32;
        }
    }
}

/// Twin of [`crate::bias_gelu`].
pub fn bias_gelu(x: &mut [f32], bias: &[f32]) {
    for row in x.chunks_exact_mut(bias.len()) {
        for (x, bias) in row.iter_mut().zip(bias) {
            let value = f64::from(*x + bias);
            *x = (0.5 * value * (1.0 + erf(value * std::f64::consts::FRAC_1_SQRT_2))) as f32;
        }
    }
}

/// The error function by its series without cancellation:
/// erf(x) = 2/√π · e^−x² · Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// Twin of [`crate::attend_both_ways`].
pub fn attend_both_ways(
    texts: &[std::ops::Range<usize>],
    [queries, keys, values]: [&[f32]; 3],
    (heads, dim, scale): (usize, usize, f32),
    out: &mut [f32],
) {
    let width = heads * dim;
    for text in texts {
        for row in text.clone() {
            for head in 0..heads {
                let at = |row: usize| row * width + head * dim..row * width + (head + 1) * dim;
                let score = |other| dot(&queries[at(row)], &keys[at(other)]) * f64::from(scale);
                let scores: Vec<f64> = text.clone().map(score).collect();
                let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|it| (it - highest).exp()).collect();
                let mass: f64 = weights.iter().sum();
                for i in 0..dim {
                    let values = text.clone().map(|other| f64::from(values[at(other)][i]));
                    let sum: f64 = values.zip(&weights).map(|(value, weight)| value * weight).sum();
                    out[at(row)][i] = (sum / mass) as f32;
                }
            }
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
