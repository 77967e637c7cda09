//! Figures of what a channel did since the start.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use super::Used;

/// Measured times that are kept.
const KEPT_TIMES: usize = 256;
/// Times without which nothing is called slow.
const ENOUGH_TIMES: usize = 20;
/// Most models of a channel with figures of their own.
const MAX_MODELS: usize = 1_000;
/// Longest problem that is kept, in characters.
const MAX_PROBLEM_CHARS: usize = 300;

#[derive(Debug, Default)]
pub(super) struct Stats {
    all: Counts,
    by_model: HashMap<String, Counts>,
    last_problem: Option<String>,
}

#[derive(Debug, Default)]
struct Counts {
    answers: u64,
    refusals: u64,
    failures: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    /// Of answers that came in pieces: how long they took after their first token, and how many
    /// tokens they had.
    answering: Duration,
    timed_tokens: u64,
    first_ms: VecDeque<u64>,
}

/// What a channel did since the start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelStats {
    /// Whether the breaker keeps requests away.
    pub is_broken: bool,
    pub in_flight: u32,
    #[serde(flatten)]
    pub all: ModelStats,
    /// Why it failed last.
    pub last_problem: Option<String>,
    pub models: Vec<(String, ModelStats)>,
}

/// What was done with one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ModelStats {
    /// Answers that began.
    pub answers: u64,
    /// Requests that the provider did not take.
    pub refusals: u64,
    /// Times that the provider failed.
    pub failures: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Median of the last times until the first token, of answers that came in pieces.
    pub first_token_p50_ms: Option<u64>,
    pub first_token_p95_ms: Option<u64>,
    /// Of answers that came in pieces, from their first token on.
    pub tokens_per_s: Option<f64>,
}

impl Stats {
    pub(super) fn note_first(&mut self, model: &str, took: Option<Duration>) {
        let took_ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        self.each(model, |counts| {
            counts.answers += 1;
            let Some(took_ms) = took_ms else { return };
            if counts.first_ms.len() == KEPT_TIMES {
                counts.first_ms.pop_front();
            }
            counts.first_ms.push_back(took_ms);
        });
    }

    pub(super) fn note_end(&mut self, model: &str, used: Used) {
        self.each(model, |counts| {
            counts.prompt_tokens += u64::from(used.prompt_tokens);
            counts.completion_tokens += u64::from(used.completion_tokens);
            if let Some(took) = used.took {
                counts.answering += took;
                counts.timed_tokens += u64::from(used.completion_tokens);
            }
        });
    }

    pub(super) fn note_refusal(&mut self, model: &str) {
        self.each(model, |counts| counts.refusals += 1);
    }

    pub(super) fn note_failure(&mut self, model: &str, problem: &str) {
        self.each(model, |counts| counts.failures += 1);
        self.last_problem = Some(problem.chars().take(MAX_PROBLEM_CHARS).collect());
    }

    pub(super) fn first_token_ms(&self, percent: usize) -> Option<u64> {
        percentile(&self.all.first_ms, percent)
    }

    pub(super) fn slow_first_token_ms(&self) -> Option<u64> {
        (self.all.first_ms.len() >= ENOUGH_TIMES).then(|| self.first_token_ms(95)).flatten()
    }

    pub(super) fn show(&self, in_flight: u32, is_broken: bool) -> ChannelStats {
        let mut models: Vec<(String, ModelStats)> =
            self.by_model.iter().map(|(name, counts)| (name.clone(), counts.show())).collect();
        models.sort_by(|one, other| one.0.cmp(&other.0));
        let (all, last_problem) = (self.all.show(), self.last_problem.clone());
        ChannelStats { is_broken, in_flight, all, last_problem, models }
    }

    fn each(&mut self, model: &str, note: impl Fn(&mut Counts)) {
        note(&mut self.all);
        if let Some(counts) = self.by_model.get_mut(model) {
            note(counts);
        } else if self.by_model.len() < MAX_MODELS {
            note(self.by_model.entry(model.to_owned()).or_default());
        }
    }
}

impl Counts {
    fn show(&self) -> ModelStats {
        let answering_s = self.answering.as_secs_f64();
        ModelStats {
            answers: self.answers,
            refusals: self.refusals,
            failures: self.failures,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            first_token_p50_ms: percentile(&self.first_ms, 50),
            first_token_p95_ms: percentile(&self.first_ms, 95),
            tokens_per_s: (answering_s > 0.0).then(|| self.timed_tokens as f64 / answering_s),
        }
    }
}

fn percentile(times: &VecDeque<u64>, percent: usize) -> Option<u64> {
    let mut sorted: Vec<u64> = times.iter().copied().collect();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_last_times() {
        let mut stats = Stats::default();
        assert_eq!(stats.first_token_ms(50), None);
        for ms in 0..1000 {
            stats.note_first("m", Some(Duration::from_millis(ms)));
        }
        // 744 ..= 999 are left.
        assert_eq!(stats.first_token_ms(50), Some(871));
        assert_eq!(stats.slow_first_token_ms(), Some(986));
        assert_eq!(stats.show(0, false).all.answers, 1000);
    }

    #[test]
    fn names_of_models_do_not_fill_the_memory() {
        let mut stats = Stats::default();
        for index in 0..2 * MAX_MODELS {
            stats.note_failure(&format!("m{index}"), &"x".repeat(10_000));
        }
        let shown = stats.show(0, false);
        assert_eq!(shown.models.len(), MAX_MODELS);
        assert_eq!(shown.all.failures, 2 * MAX_MODELS as u64);
        assert!(shown.last_problem.unwrap().len() <= MAX_PROBLEM_CHARS);
    }
}
