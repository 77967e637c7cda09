//! Draws a sequence's next token from its logits.
//!
//! Each sequence has its own generator, so what it draws does not depend on its company.

use std::collections::HashMap;

use hearth_text::Mask;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::error::{Error, Result};
use crate::event::TokenLogprob;
use crate::request::Sampling;

/// One sequence's way of choosing.
#[derive(Debug)]
pub(crate) struct Sampler {
    sampling: Sampling,
    logprobs: Option<usize>,
    random: ChaCha8Rng,
    /// Tokens of prompt and answer, with how often the answer has them. Empty without penalties.
    seen: HashMap<u32, u32>,
    /// Reused from token to token: the changed logits, and who is still in the draw.
    logits: Vec<f32>,
    candidates: Vec<u32>,
}

/// Candidates that are sorted at first when a mass is to be reached; doubled until it is.
const FIRST_SORTED: usize = 64;

impl Sampler {
    pub(crate) fn new(sampling: Sampling, logprobs: Option<u8>, prompt: &[u32]) -> Sampler {
        let random = match sampling.seed {
            Some(seed) => ChaCha8Rng::seed_from_u64(seed),
            None => ChaCha8Rng::seed_from_u64(rand::random()),
        };
        let mut seen = HashMap::new();
        if has_penalties(&sampling) {
            seen.extend(prompt.iter().map(|&token| (token, 0)));
        }
        let logprobs = logprobs.map(usize::from);
        Sampler { sampling, logprobs, random, seen, logits: Vec::new(), candidates: Vec::new() }
    }

    /// The next token, among those that a mask allows, and its log probabilities if they were asked
    /// for.
    pub(crate) fn sample(
        &mut self,
        logits: &[f32],
        mask: Option<&Mask>,
    ) -> Result<(u32, Option<TokenLogprob>)> {
        // A sum meets every NaN; +∞ cannot be compared with, −∞ everywhere leaves nothing.
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if !highest.is_finite() || logits.iter().any(|logit| logit.is_nan()) {
            return Err(Error::NotANumber);
        }
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        self.change_logits();
        if let Some(mask) = mask {
            self.hide(mask)?;
        }
        let token = match self.sampling.temperature {
            0.0 => likeliest(&self.logits),
            temperature => self.draw(temperature),
        };
        if has_penalties(&self.sampling) {
            *self.seen.entry(token).or_default() += 1;
        }
        let report = self.logprobs.map(|count| report(logits, highest, token, count));
        Ok((token, report))
    }

    /// Takes what a mask forbids out of the draw.
    fn hide(&mut self, mask: &Mask) -> Result<()> {
        let mut highest = f32::NEG_INFINITY;
        for (id, logit) in (0u32..).zip(&mut self.logits) {
            if mask.allows(id) {
                highest = highest.max(*logit);
            } else {
                *logit = f32::NEG_INFINITY;
            }
        }
        if highest.is_finite() { Ok(()) } else { Err(Error::GrammarStuck) }
    }

    fn change_logits(&mut self) {
        let sampling = &self.sampling;
        for &(token, bias) in &sampling.logit_bias {
            self.logits[token as usize] += bias;
        }
        for (&token, &count) in &self.seen {
            let logit = &mut self.logits[token as usize];
            let factor = sampling.repetition_penalty;
            *logit = if *logit > 0.0 { *logit / factor } else { *logit * factor };
            if count > 0 {
                *logit -= sampling.presence_penalty + sampling.frequency_penalty * count as f32;
            }
        }
    }

    /// Draws by probability among the tokens that `top_k`, `top_p` and `min_p` leave.
    fn draw(&mut self, temperature: f32) -> u32 {
        let highest = self.logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // A difference of 104 is e^-104: below the smallest f32.
        let scale = 1.0 / temperature.max(1e-6);
        for logit in &mut self.logits {
            *logit = ((*logit - highest) * scale).exp();
        }
        let weights = &self.logits;
        let candidates = &mut self.candidates;
        candidates.clear();
        candidates
            .extend((0u32..).zip(weights).filter(|(_, weight)| **weight > 0.0).map(|(id, _)| id));
        let by_weight =
            |a: &u32, b: &u32| weights[*b as usize].total_cmp(&weights[*a as usize]).then(a.cmp(b));
        let top_k = self.sampling.top_k as usize;
        if top_k > 0 && top_k < candidates.len() {
            candidates.select_nth_unstable_by(top_k - 1, by_weight);
            candidates.truncate(top_k);
        }
        if self.sampling.top_p < 1.0 {
            let kept = reach_mass(candidates, weights, self.sampling.top_p);
            candidates.truncate(kept);
        }
        if self.sampling.min_p > 0.0 {
            // The likeliest candidate weighs 1, and stays.
            let least = self.sampling.min_p;
            candidates.retain(|&id| weights[id as usize] >= least);
        }
        let mass: f64 = candidates.iter().map(|&id| f64::from(weights[id as usize])).sum();
        let mut point = self.random.random::<f64>() * mass;
        for &id in candidates.iter() {
            point -= f64::from(weights[id as usize]);
            if point < 0.0 {
                return id;
            }
        }
        // Rounding left a trace of the mass: it belongs to the last.
        candidates.last().copied().unwrap_or_else(|| likeliest(weights))
    }
}

/// Brings the likeliest candidates to the front, in order, until they reach `share` of the whole
/// mass; returns how many these are. Sorts only as many as it looks at, up to twice.
fn reach_mass(candidates: &mut [u32], weights: &[f32], share: f32) -> usize {
    let by_weight =
        |a: &u32, b: &u32| weights[*b as usize].total_cmp(&weights[*a as usize]).then(a.cmp(b));
    let weight = |id: u32| f64::from(weights[id as usize]);
    let wanted = f64::from(share) * candidates.iter().map(|&id| weight(id)).sum::<f64>();
    let (mut sorted, mut reached) = (0, 0.0);
    let mut size = FIRST_SORTED;
    while sorted < candidates.len() {
        let end = size.min(candidates.len());
        let rest = &mut candidates[sorted..];
        if sorted + rest.len() > end {
            rest.select_nth_unstable_by(end - sorted, by_weight);
        }
        rest[..end - sorted].sort_unstable_by(by_weight);
        for (index, &id) in candidates.iter().enumerate().take(end).skip(sorted) {
            reached += weight(id);
            if reached >= wanted {
                return index + 1;
            }
        }
        sorted = end;
        size *= 2;
    }
    candidates.len()
}

fn has_penalties(sampling: &Sampling) -> bool {
    sampling.repetition_penalty != 1.0
        || sampling.presence_penalty != 0.0
        || sampling.frequency_penalty != 0.0
}

/// The highest value's index, the lowest of equals.
pub(crate) fn likeliest(logits: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, &logit) in (0u32..).zip(logits) {
        if logit > best.1 {
            best = (id, logit);
        }
    }
    best.0
}

/// Log probabilities of a token and of the `count` likeliest, in the model's own distribution.
fn report(logits: &[f32], highest: f32, token: u32, count: usize) -> TokenLogprob {
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - highest).exp()).sum();
    let total = f64::from(highest) + sum.ln();
    let logprob = |id: u32| (f64::from(logits[id as usize]) - total) as f32;
    // Ordered by logit, then id; `count` is small, so inserting is cheaper than selecting.
    let mut top: Vec<u32> = Vec::with_capacity(count + 1);
    for id in 0..logits.len() as u32 {
        let logit = logits[id as usize];
        if top.len() == count && top.last().is_none_or(|&last| logits[last as usize] >= logit) {
            continue;
        }
        let place = top.partition_point(|&other| logits[other as usize] >= logit);
        top.insert(place, id);
        top.truncate(count);
    }
    let top = top.into_iter().map(|id| (id, logprob(id))).collect();
    TokenLogprob { id: token, logprob: logprob(token), top }
}

#[cfg(test)]
mod tests;
