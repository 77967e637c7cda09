//! Rotary position embedding.

/// Which two values of a head turn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// 2i and 2i+1: llama weights as GGUF files hold them.
    Neighbours,
    /// i and i + dim/2: Hugging Face's order, and qwen's everywhere.
    Halves,
}

/// Turns the first `dim` values of every head of every row by its row's angles, in place.
///
/// `x`: [rows, heads, head_dim] · `cos`, `sin`: [rows, dim/2], of the row's position. Plain code:
/// it is a thousandth of a step's work and compilers turn it into vectors by themselves.
pub fn rotate(
    x: &mut [f32],
    cos: &[f32],
    sin: &[f32],
    (head_dim, dim): (usize, usize),
    pairing: Pairing,
) {
    let half = dim / 2;
    assert!(half > 0 && dim.is_multiple_of(2) && dim <= head_dim, "pairs of values");
    assert_eq!(cos.len(), sin.len(), "a sine for each cosine");
    let rows = cos.len() / half;
    assert!(rows > 0 && cos.len() == rows * half && x.len().is_multiple_of(rows * head_dim));
    let row_len = x.len() / rows;
    for (row, x) in x.chunks_exact_mut(row_len).enumerate() {
        let cos = &cos[row * half..(row + 1) * half];
        let sin = &sin[row * half..(row + 1) * half];
        for head in x.chunks_exact_mut(head_dim) {
            match pairing {
                Pairing::Neighbours => turn_neighbours(&mut head[..dim], cos, sin),
                Pairing::Halves => turn_halves(&mut head[..dim], cos, sin),
            }
        }
    }
}

#[inline]
fn turn_neighbours(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    for (pair, (&cos, &sin)) in head.as_chunks_mut::<2>().0.iter_mut().zip(cos.iter().zip(sin)) {
        let [a, b] = *pair;
        *pair = [a * cos - b * sin, a * sin + b * cos];
    }
}

#[inline]
fn turn_halves(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = head.split_at_mut(cos.len());
    for ((a, b), (&cos, &sin)) in first.iter_mut().zip(second).zip(cos.iter().zip(sin)) {
        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, noise};

    #[test]
    fn equals_the_plain_twin_at_odd_sizes() {
        let sizes =
            [(2, 2, 1, 1), (8, 8, 3, 5), (64, 48, 31, 2), (66, 66, 33, 3), (4096, 4096, 1, 1)];
        for (head_dim, dim, heads, rows) in sizes {
            for pairing in [Pairing::Neighbours, Pairing::Halves] {
                let angles = noise(14, rows * dim / 2);
                let cos: Vec<f32> = angles.iter().map(|angle| angle.cos()).collect();
                let sin: Vec<f32> = angles.iter().map(|angle| angle.sin()).collect();
                let mut got = noise(15, rows * heads * head_dim);
                let mut want = got.clone();
                rotate(&mut got, &cos, &sin, (head_dim, dim), pairing);
                reference::rotate(&mut want, (&cos, &sin), (head_dim, dim), pairing);
                for (got, want) in got.iter().zip(&want) {
                    assert!((got - want).abs() < 1e-6, "{got} {want}");
                }
            }
        }
    }
}
