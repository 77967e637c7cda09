//! How many guessed tokens a step verifies beside those that it must run.
//!
//! A step that writes few tokens spends its time on reading weights, and guesses share that reading:
//! each one that turns out right is a step saved. Whether that pays depends on how often a sequence's
//! guesses are right and on what rows cost here, so both are measured all the time. Integers only;
//! who guesses is `lookup.rs` or a draft model, who verifies `worker.rs`.
//!
//! The number of guesses is the one that makes the most expected tokens per time, where the n-th
//! guess of a sequence is right with the n-th power of its rate (Leviathan et al., "Fast Inference
//! from Transformers via Speculative Decoding", 2023, eq. 1).

use crate::config::Speculation;

use super::{Limits, Scheduler, SequenceId, Work};

/// Most rows of a step that verifies guesses.
const MOST_ROWS: usize = 64;
/// A measurement counts for so many steps: contexts grow, and other programs come and go.
const FRESH_STEPS: u64 = 512;
/// Gain below which guesses are not worth it, in percent.
const LEAST_GAIN: u64 = 4;
/// A guess less likely to be right is not made, per mille.
const LEAST_CHANCE: u64 = 100;
/// What is believed of a sequence whose guesses were never verified, per mille.
const FIRST_RATE: u64 = 700;
/// Tokens that a sequence writes without guesses after `n` times in a row without a right one:
/// 2 to the power of n, at most this.
const LONGEST_REST: u32 = 256;

/// What a sequence's guesses have been worth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trust {
    /// How many of 1,000 guesses that followed right ones were right too, the last ones most.
    rate: u64,
    /// Verifications in a row without a right guess.
    failures: u32,
    /// Tokens to write before the next guess.
    rest: u32,
}

impl Default for Trust {
    fn default() -> Trust {
        Trust { rate: FIRST_RATE, failures: 0, rest: 0 }
    }
}

impl Trust {
    pub(super) fn is_resting(&self) -> bool {
        self.rest > 0
    }

    /// Notes a token that was written.
    pub(super) fn note_token(&mut self) {
        self.rest = self.rest.saturating_sub(1);
    }

    /// Notes that of so many guesses this many were right, up to the first wrong one.
    pub(super) fn note(&mut self, guesses: usize, right: usize) {
        for index in 0..guesses.min(right + 1) {
            let worth = if index < right { 1000 } else { 0 };
            self.rate = (7 * self.rate + worth) / 8;
        }
        if right > 0 {
            self.failures = 0;
        } else if guesses > 0 {
            self.failures = (self.failures + 1).min(LONGEST_REST.ilog2());
            self.rest = 1 << self.failures;
        }
    }
}

/// What one sequence could have verified.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    /// Guesses that there are.
    pub(super) guesses: usize,
    pub(super) trust: Trust,
}

/// What steps without prompts have taken, by their rows.
#[derive(Debug)]
pub(super) struct Costs {
    /// Of 1 row and so on.
    rows: Vec<Cost>,
    steps: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// 0 until it was measured.
    took_us: u64,
    step: u64,
}

impl Default for Costs {
    fn default() -> Costs {
        Costs { rows: vec![Cost::default(); MOST_ROWS], steps: 0 }
    }
}

impl Costs {
    /// Notes what a step of so many rows took, guesses among them.
    pub(super) fn note(&mut self, rows: usize, took_us: u64) {
        self.steps += 1;
        let step = self.steps;
        let known = self.fresh(rows);
        if let Some(cost) = rows.checked_sub(1).and_then(|index| self.rows.get_mut(index)) {
            let took_us = known.map_or(took_us, |old| (3 * old + took_us) / 4);
            *cost = Cost { took_us: took_us.max(1), step };
        }
    }

    /// How many guesses of each offer to verify in a step in which `writing` sequences write.
    pub(super) fn plan(&self, writing: usize, offers: &[Offer]) -> Vec<usize> {
        let mut planned = vec![0; offers.len()];
        // What is not known is measured first.
        let Some(alone_us) = self.fresh(writing) else { return planned };
        let has_bystanders = offers.iter().filter(|offer| offer.guesses > 0).count() < writing;
        let chances = chances(offers);
        let mut expected = 1000 * writing as u64;
        // Tokens, time and count of the best plan so far: no guesses, with what they must gain.
        let mut best = (expected * (100 + LEAST_GAIN) / 100, alone_us, 0);
        for (index, (chance, _)) in chances.iter().enumerate() {
            let Some(took_us) = self.estimate(writing + index + 1) else { break };
            if has_bystanders && took_us > 2 * alone_us {
                break;
            }
            expected += chance;
            if u128::from(expected) * u128::from(best.1) > u128::from(best.0) * u128::from(took_us)
            {
                best = (expected, took_us, index + 1);
            }
        }
        chances[..best.2].iter().for_each(|(_, offer)| planned[*offer] += 1);
        planned
    }

    fn fresh(&self, rows: usize) -> Option<u64> {
        let cost = self.rows.get(rows.checked_sub(1)?)?;
        (cost.took_us > 0 && cost.step + FRESH_STEPS > self.steps).then_some(cost.took_us)
    }

    /// What a step of so many rows takes: measured, or between what fewer and more rows took. Up to
    /// twice as many as were measured are taken to cost no more, so that they are tried.
    fn estimate(&self, rows: usize) -> Option<u64> {
        if rows > MOST_ROWS {
            return None;
        }
        let fresh = |rows: usize| self.fresh(rows).map(|took_us| (rows as u64, took_us));
        let below = (1..=rows).rev().find_map(fresh)?;
        if below.0 == rows as u64 {
            return Some(below.1);
        }
        match (rows + 1..=MOST_ROWS).find_map(fresh) {
            Some(above) => {
                let (span, part) = (above.0 - below.0, rows as u64 - below.0);
                Some(below.1 + above.1.saturating_sub(below.1) * part / span)
            }
            None => (rows as u64 <= 2 * below.0).then_some(below.1),
        }
    }
}

impl Scheduler {
    /// Adds guesses to the step that was chosen last, where verifying them pays. `offered` says how
    /// many guesses there are for a sequence. Nothing is guessed while a prompt wants to go on:
    /// that fills the step as well, and more surely; and no other sequence gives pages up for it.
    pub(crate) fn speculate(
        &mut self,
        work: &mut [Work],
        mut offered: impl FnMut(SequenceId) -> usize,
    ) {
        let Limits { speculation, guess_tokens, budget_tokens, .. } = self.limits;
        let others = self.running.iter().chain(&self.waiting);
        let is_wanted = others.clone().any(|entry| !entry.paused && entry.left() > 0);
        if speculation == Speculation::Off || self.mix.prompt_tokens > 0 || is_wanted {
            return;
        }
        let mut offers = Vec::with_capacity(work.len());
        for work in work.iter() {
            let Some(trust) = self.find_running(work.sequence).map(|entry| entry.trust) else {
                return;
            };
            let rests = speculation == Speculation::Auto && trust.is_resting();
            let guesses = if rests { 0 } else { offered(work.sequence) };
            offers.push(Offer { guesses: guesses.min(guess_tokens), trust });
        }
        let mut left = budget_tokens.saturating_sub(work.len());
        let planned = match speculation {
            Speculation::Auto => self.costs.plan(work.len(), &offers),
            _ => offers.iter().map(|offer| offer.guesses).collect(),
        };
        for (work, planned) in work.iter_mut().zip(planned) {
            work.guesses = self.room_for(work, planned.min(left));
            left -= work.guesses;
            self.guesses += work.guesses;
        }
    }

    /// Takes guesses out of a step of which fewer were made than planned.
    pub(crate) fn trim_guesses(&mut self, work: &mut [Work], made: impl Fn(SequenceId) -> usize) {
        for work in work.iter_mut().filter(|work| work.guesses > 0) {
            work.guesses = work.guesses.min(made(work.sequence));
        }
        self.guesses = work.iter().map(|work| work.guesses).sum();
    }

    /// Notes that the token that was drawn last had been guessed: it is computed already.
    pub(crate) fn confirm_guess(&mut self, id: SequenceId) {
        let limits = self.limits;
        let Some(entry) = self.find(id) else { return };
        entry.compute(1, &limits);
        let payer = entry.payer;
        self.shares.charge(payer, 1);
    }

    /// Notes how many of a step's guesses for a sequence were right.
    pub(crate) fn note_guesses(&mut self, id: SequenceId, guesses: usize, right: usize) {
        if let Some(entry) = self.find(id) {
            entry.trust.note(guesses, right);
        }
    }

    /// How many of so many guesses fit the pages that the sequence has or that nobody holds.
    fn room_for(&mut self, work: &Work, guesses: usize) -> usize {
        let (page_tokens, tokens) = (self.limits.page_tokens, work.start + work.count);
        let Some(entry) = self.find(work.sequence) else { return 0 };
        entry.lease.grow((tokens + guesses).div_ceil(page_tokens));
        guesses.min((entry.lease.pages().len() * page_tokens).saturating_sub(tokens))
    }
}

/// How likely each guess is to be right, per mille, with the offer it belongs to; the likeliest
/// first, so that each offer's first guesses come before its later ones.
fn chances(offers: &[Offer]) -> Vec<(u64, usize)> {
    let mut chances = Vec::new();
    for (index, offer) in offers.iter().enumerate() {
        let mut chance = 1000;
        for _ in 0..offer.guesses.min(MOST_ROWS) {
            chance = chance * offer.trust.rate / 1000;
            if chance < LEAST_CHANCE {
                break;
            }
            chances.push((chance, index));
        }
    }
    chances.sort_by_key(|(chance, _)| std::cmp::Reverse(*chance));
    chances
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that reads its weights in 30 ms and computes a row in 5.
    fn step_us(rows: usize) -> u64 {
        30_000.max(5_000 * rows as u64)
    }

    /// Writes steps of `writing` sequences whose guesses are right as `is_right` says; tokens and
    /// time of the last `steps` of twice as many.
    fn run(writing: usize, steps: usize, is_right: impl Fn(usize) -> bool) -> (usize, u64) {
        let (mut costs, mut trusts) = (Costs::default(), vec![Trust::default(); writing]);
        let (mut tokens, mut took_us, mut drawn) = (0, 0, 0);
        for step in 0..2 * steps {
            if step == steps {
                (tokens, took_us) = (0, 0);
            }
            let offer = |trust: &Trust| Offer {
                guesses: if trust.is_resting() { 0 } else { 15 },
                trust: *trust,
            };
            let offers: Vec<Offer> = trusts.iter().map(offer).collect();
            let plan = costs.plan(writing, &offers);
            let rows = writing + plan.iter().sum::<usize>();
            costs.note(rows, step_us(rows));
            took_us += step_us(rows);
            for (trust, &guesses) in trusts.iter_mut().zip(&plan) {
                let right = (0..guesses).take_while(|_| {
                    drawn += 1;
                    is_right(drawn)
                });
                let right = right.count();
                trust.note(guesses, right);
                (0..=right).for_each(|_| trust.note_token());
                tokens += 1 + right;
            }
        }
        (tokens, took_us)
    }

    #[test]
    fn guesses_that_are_right_are_made_as_long_as_rows_cost_little() {
        let (tokens, took_us) = run(1, 200, |_| true);
        // 6 rows cost as much as 1, and 200 tokens per second are the most that rows allow.
        assert!(tokens as u64 * 1_000_000 / took_us > 190, "{tokens} tokens in {took_us} us");
    }

    #[test]
    fn guesses_that_are_never_right_cost_next_to_nothing() {
        let (tokens, took_us) = run(1, 400, |_| false);
        assert_eq!(tokens, 400);
        assert!(took_us < 400 * step_us(1) * 102 / 100, "{took_us} us");
    }

    #[test]
    fn guesses_that_are_right_by_halves_gain() {
        let (tokens, took_us) = run(1, 400, |drawn| drawn % 2 == 0);
        let plain = 1_000_000 / step_us(1);
        assert!(tokens as u64 * 1_000_000 / took_us > plain * 13 / 10, "{tokens} in {took_us} us");
    }

    #[test]
    fn where_rows_are_what_costs_nothing_is_guessed() {
        let (tokens, took_us) = run(32, 100, |drawn| drawn % 3 > 0);
        let plain = 32 * 1_000_000 / step_us(32);
        assert!(tokens as u64 * 1_000_000 / took_us >= plain * 97 / 100, "{tokens} in {took_us}");
    }

    #[test]
    fn who_makes_no_guesses_waits_no_more_than_twice_as_long() {
        let mut costs = Costs::default();
        (1..=MOST_ROWS).for_each(|rows| costs.note(rows, 10_000 * rows as u64));
        let sure = Trust { rate: 1000, ..Trust::default() };
        let offers = [15, 0].map(|guesses| Offer { guesses, trust: sure });
        assert!(costs.plan(2, &offers)[0] <= 2);
    }

    #[test]
    fn the_likelier_guesser_is_given_the_rows() {
        let mut costs = Costs::default();
        (1..=MOST_ROWS).for_each(|rows| costs.note(rows, step_us(rows)));
        let offer = |rate| Offer { guesses: 15, trust: Trust { rate, ..Trust::default() } };
        let plan = costs.plan(2, &[offer(950), offer(300)]);
        assert!(plan[0] > 2 * plan[1], "{plan:?}");
    }

    #[test]
    fn what_was_measured_long_ago_is_measured_again() {
        let mut costs = Costs::default();
        costs.note(1, 10_000);
        (0..FRESH_STEPS).for_each(|_| costs.note(5, 20_000));
        let offer = Offer { guesses: 15, trust: Trust { rate: 1000, ..Trust::default() } };
        assert_eq!(costs.plan(1, &[offer]), [0]);
    }
}
