//! Scores of a block of tokens become softmax weights, with a running maximum.

use std::ops::Range;

use crate::lanes::{Lanes, exp, tanh};
use crate::packed::TILE;

use super::block::BLOCK_TOKENS;
use super::exp::Exp;

/// What one query has seen so far.
pub(super) struct Softmax {
    highest: f32,
    /// Σ e^(score − highest), over every 16th token.
    mass: [f32; TILE],
}

impl Softmax {
    pub(super) fn new() -> Softmax {
        Softmax { highest: f32::NEG_INFINITY, mass: [0.0; TILE] }
    }

    /// Σ e^(score − highest) over all tokens.
    pub(super) fn mass(&self) -> f32 {
        Lanes::<false, TILE>(self.mass).sum()
    }

    /// Turns the scores of a block into weights, 0 where `sees` is not, and shrinks what was
    /// `gathered` if a larger score appears. Scores are capped where `softcap` is not 0. Unsafe:
    /// the machine must have the instructions.
    #[inline(always)]
    pub(super) unsafe fn weigh<I: Exp, const FMA: bool>(
        &mut self,
        scores: &mut [f32; BLOCK_TOKENS],
        sees: Range<usize>,
        softcap: f32,
        gathered: &mut [f32],
    ) {
        if softcap > 0.0 {
            for score in scores.iter_mut() {
                *score = softcap * tanh::<FMA>(*score / softcap);
            }
        }
        if sees.len() < BLOCK_TOKENS {
            scores[..sees.start].fill(f32::NEG_INFINITY);
            scores[sees.end..].fill(f32::NEG_INFINITY);
        }
        let tiles = scores.as_chunks_mut::<TILE>().0;
        // SAFETY: the caller's; a tile has 16 floats.
        unsafe {
            let mut most = I::all_floats(self.highest);
            for scores in tiles.iter() {
                most = I::most(I::load_floats(scores.as_ptr()), most);
            }
            let mut lanes = [0.0; TILE];
            I::store_floats(lanes.as_mut_ptr(), most);
            self.raise::<FMA>(highest(lanes), gathered);
            // Nothing seen so far: all scores are −∞, and −∞ − −∞ is not a number.
            let base = if self.highest == f32::NEG_INFINITY { 0.0 } else { self.highest };
            let minus_base = I::all_floats(-base);
            let mut mass = I::load_floats(self.mass.as_ptr());
            for scores in tiles {
                let score = I::plus(I::load_floats(scores.as_ptr()), minus_base);
                let weight = I::exp(score);
                I::store_floats(scores.as_mut_ptr(), weight);
                mass = I::plus(mass, weight);
            }
            I::store_floats(self.mass.as_mut_ptr(), mass);
        }
    }

    /// Takes a larger score as the one that others are measured by.
    #[inline(always)]
    fn raise<const FMA: bool>(&mut self, highest: f32, gathered: &mut [f32]) {
        if highest > self.highest {
            let shrink = exp::<FMA>(self.highest - highest);
            self.mass.iter_mut().for_each(|mass| *mass *= shrink);
            gathered.iter_mut().for_each(|value| *value *= shrink);
            self.highest = highest;
        }
    }
}

/// The largest of 16 numbers.
#[inline(always)]
fn highest(mut lanes: [f32; TILE]) -> f32 {
    let mut width = TILE / 2;
    while width > 0 {
        for lane in 0..width {
            let other = lanes[lane + width];
            lanes[lane] = if other > lanes[lane] { other } else { lanes[lane] };
        }
        width /= 2;
    }
    lanes[0]
}
