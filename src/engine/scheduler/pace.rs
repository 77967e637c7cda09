//! How many tokens of prompts run beside sequences that write, so that these do not stall.
//!
//! It is told what steps took and keeps a step with prompts at less than twice one without. What a
//! token adds depends on model, machine and contexts, so nothing is assumed: it is measured all
//! the time. Integers only; who measures is `worker.rs`.

/// Prompts always go on, by so many tokens in a step: on a machine without fast products of
/// matrices a token of a prompt takes half as long as a whole step.
const LEAST_TOKENS: u64 = 1;
/// After so many steps with prompts, one without measures again what that takes.
const MEASURE_EVERY: u32 = 32;
/// As soon as this many have gone by if the sequences that write are far more or far fewer.
const MEASURE_SOON: u32 = 4;

/// Hundredths of a step without prompts that prompts may add to it. Under 100, so that also the
/// longest of a hundred steps is near twice a quiet one, on a machine that does other things too.
const ADDED: u64 = 60;

/// What steps have taken.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// A step without prompts; 0 until one was measured.
    quiet_us: u64,
    /// Sequences that wrote in it.
    quiet_rows: usize,
    /// What each token of a prompt adds; 0 until it was measured.
    token_ns: u64,
    /// Tokens that may run beside.
    chunk: u64,
    /// Steps with prompts since the last one without.
    mixed: u32,
}

/// What a step ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mix {
    /// Sequences that wrote a token.
    pub(crate) writing: usize,
    pub(crate) prompt_tokens: usize,
}

impl Pace {
    /// Most tokens of prompts beside so many sequences that write; 0 if the step is to measure.
    pub(crate) fn beside(&self, writing: usize) -> usize {
        let is_far = writing > 2 * self.quiet_rows || 2 * writing < self.quiet_rows;
        let is_due = self.mixed >= MEASURE_EVERY || (is_far && self.mixed >= MEASURE_SOON);
        match self.quiet_us == 0 || is_due {
            true => 0,
            false => usize::try_from(self.chunk.max(LEAST_TOKENS)).unwrap_or(usize::MAX),
        }
    }

    /// Notes what a step has taken.
    pub(crate) fn note(&mut self, mix: Mix, took_us: u64) {
        match (mix.writing, mix.prompt_tokens as u64) {
            (0, 0) => {}
            // A first guess, too high: beside others a token shares their reading of the weights.
            (0, tokens) if self.token_ns == 0 => self.token_ns = (took_us * 1000 / tokens).max(1),
            (0, _) => {}
            (rows, 0) => {
                let is_alike = self.quiet_us > 0 && rows == self.quiet_rows;
                let smooth = if is_alike { (3 * self.quiet_us + took_us) / 4 } else { took_us };
                (self.quiet_us, self.quiet_rows, self.mixed) = (smooth.max(1), rows, 0);
                if self.chunk == 0 && self.token_ns > 0 {
                    self.chunk = self.wanted().max(LEAST_TOKENS);
                }
            }
            (_, tokens) => {
                self.mixed += 1;
                self.chunk = self.chunk.max(LEAST_TOKENS);
                // A few tokens say little about what as many as may be would take.
                if self.quiet_us > 0 && tokens * 2 >= self.chunk {
                    self.learn(took_us.saturating_sub(self.quiet_us) * 1000 / tokens);
                }
            }
        }
    }

    /// Goes down at once and up slowly: a stall is worse than a prompt that takes a little longer.
    /// No single step halves it more than once, for a machine that did something else meanwhile
    /// says nothing about prompts.
    fn learn(&mut self, added_ns: u64) {
        self.token_ns = match self.token_ns {
            0 => added_ns,
            old if added_ns > old => (old + added_ns.min(3 * old)) / 2,
            old => (7 * old + added_ns) / 8,
        };
        self.token_ns = self.token_ns.max(1);
        self.chunk = self.wanted().clamp(LEAST_TOKENS, 2 * self.chunk);
    }

    /// Tokens of prompts that add what they may.
    fn wanted(&self) -> u64 {
        self.quiet_us * 10 * ADDED / self.token_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Microseconds of a step on a machine that reads weights for a while and then computes each
    /// row: the first rows beside those that write are nearly free.
    fn step_us(mix: Mix) -> u64 {
        let rows = (mix.writing + mix.prompt_tokens) as u64;
        30_000.max(5_000 * rows) + 100 * rows
    }

    /// Runs steps beside a prompt that never ends; the time of each.
    fn run(pace: &mut Pace, writing: usize, steps: usize) -> Vec<(Mix, u64)> {
        (0..steps)
            .map(|_| {
                let mix = Mix { writing, prompt_tokens: pace.beside(writing) };
                pace.note(mix, step_us(mix));
                (mix, step_us(mix))
            })
            .collect()
    }

    #[test]
    fn a_step_with_prompts_comes_to_take_nearly_twice_one_without() {
        let mut pace = Pace::default();
        pace.note(Mix { writing: 0, prompt_tokens: 512 }, 2_600_000);
        let steps = run(&mut pace, 1, 200);
        let quiet = step_us(Mix { writing: 1, prompt_tokens: 0 });
        for (mix, us) in &steps {
            assert!(*us * 10 <= quiet * 20, "{mix:?} took {us} us, without prompts {quiet} us");
        }
        let most = steps[150..].iter().map(|(_, us)| *us).max().unwrap_or(0);
        assert!(most * 10 >= quiet * 15, "the room is used: {most} us beside {quiet} us");
    }

    #[test]
    fn one_interrupted_step_costs_no_more_than_half_of_the_room() {
        let mut pace = Pace::default();
        run(&mut pace, 16, 100);
        let before = pace.beside(16);
        let mix = Mix { writing: 16, prompt_tokens: before };
        pace.note(mix, 100 * step_us(mix));
        assert!(pace.beside(16) * 2 + 1 >= before, "{} of {before}", pace.beside(16));
        assert!(pace.beside(16) < before, "it is heard");
    }

    #[test]
    fn every_so_often_a_step_measures_without_prompts() {
        let mut pace = Pace::default();
        let steps = run(&mut pace, 2, 100);
        let quiet = steps.iter().filter(|(mix, _)| mix.prompt_tokens == 0).count();
        assert_eq!(quiet, 4, "the first, and one after each 32");
    }

    #[test]
    fn many_more_writers_are_measured_soon() {
        let mut pace = Pace::default();
        run(&mut pace, 1, 10);
        let steps = run(&mut pace, 16, 6);
        assert!(steps.iter().any(|(mix, _)| mix.prompt_tokens == 0));
    }

    #[test]
    fn prompts_go_on_however_slow_they_are() {
        let mut pace = Pace::default();
        for _ in 0..20 {
            let mix = Mix { writing: 1, prompt_tokens: pace.beside(1) };
            pace.note(mix, 1_000 + 1_000_000 * mix.prompt_tokens as u64);
        }
        assert_eq!(pace.beside(1) as u64, LEAST_TOKENS);
    }

    #[test]
    fn a_machine_to_which_prompts_cost_nothing_is_given_all_of_them() {
        let mut pace = Pace::default();
        for _ in 0..30 {
            let mix = Mix { writing: 1, prompt_tokens: pace.beside(1) };
            pace.note(mix, 10_000);
        }
        assert!(pace.beside(1) > 10_000, "{}", pace.beside(1));
    }
}
