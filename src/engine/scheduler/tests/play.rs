//! Random plays: arrivals, ends, cancels, readers that lag and too few pages, for ten thousand
//! steps each.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{ProptestConfig, any, proptest};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::{Arrival, LIMITS, LaneKey, Limits, Scheduler, SequenceId, Work, arrival};
use crate::request::{CallerKey, Priority};

const STEPS: u64 = 10_000;
const STEP_MS: u64 = 20;
const CALLERS: u64 = 4;
/// Sequences that live at once at the most.
const LIVE: usize = 14;
/// Steps within which everybody whose reader reads must end. All that live want less than 1,200
/// tokens, and a step runs 4 or more; the rest is for what is computed again.
const PATIENCE: u64 = 2_500;
/// Of so many steps nobody arrives in so many, so that those who are there have room for guesses.
const QUIET_STEPS: (u64, u64) = (400, 150);

/// A sequence as the play knows it.
struct Live {
    left: usize,
    /// Since when it could have run all the time.
    unhindered: u64,
}

struct Play {
    random: ChaCha8Rng,
    limits: Limits,
    total: usize,
    scheduler: Scheduler,
    live: BTreeMap<SequenceId, Live>,
    next_id: u64,
    step: u64,
    priorities: &'static [Priority],
    slowest: u64,
    guessed: usize,
}

impl Play {
    fn new(seed: u64, priorities: &'static [Priority]) -> Play {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let total = random.random_range(4..20);
        let budget_tokens = random.random_range(4..24);
        let limits = Limits { budget_tokens, ..LIMITS };
        let scheduler = Scheduler::new(limits, total);
        let live = BTreeMap::new();
        Play {
            random,
            limits,
            total,
            scheduler,
            live,
            next_id: 0,
            step: 0,
            priorities,
            slowest: 0,
            guessed: 0,
        }
    }

    fn now_ms(&self) -> u64 {
        self.step * STEP_MS
    }

    /// One in three prompts begins like others of its caller.
    fn arrive(&mut self) {
        let (id, caller) = (self.next_id, self.random.random_range(1..=CALLERS));
        self.next_id += 1;
        let length = self.random.random_range(1..self.total * 4);
        let first = if self.random.random_bool(0.3) { 0 } else { 1 + id as u32 % 1000 };
        let tokens: Vec<u32> = (0..length as u32).map(|token| first * 1000 + token).collect();
        let priority = self.priorities[self.random.random_range(0..self.priorities.len())];
        let weight = 1 + (caller % 3) as u16;
        let lane = LaneKey(id % 2);
        let arrival = Arrival { lane, weight, priority, ..arrival(id, caller, &tokens) };
        self.scheduler.add(arrival, self.now_ms());
        let left = self.random.random_range(1..=self.total * 4 - length);
        self.live.insert(SequenceId(id), Live { left, unhindered: self.step });
    }

    fn disturb(&mut self) {
        let is_quiet = self.step % QUIET_STEPS.0 < QUIET_STEPS.1;
        if self.live.len() < LIVE && !is_quiet && self.random.random_bool(0.3) {
            self.arrive();
        }
        for id in self.live.keys().copied().collect::<Vec<_>>() {
            if self.random.random_bool(0.01) {
                self.scheduler.remove(id);
                self.live.remove(&id);
            } else if self.random.random_bool(0.05) {
                let paused = self.random.random_bool(0.3);
                self.scheduler.set_paused(id, paused);
            }
        }
    }

    /// Runs a step and checks what holds for each.
    fn run(&mut self) -> Vec<Work> {
        let mut work = self.scheduler.schedule(self.now_ms());
        let (live, random) = (&self.live, &mut self.random);
        self.scheduler.speculate(&mut work, |id| random.random_range(0..live[&id].left.min(9)));
        let tokens: usize = work.iter().map(|work| work.count + work.guesses).sum();
        assert!(tokens <= self.limits.budget_tokens, "the budget is kept");
        let ids: BTreeSet<_> = work.iter().map(|work| work.sequence).collect();
        assert_eq!(ids.len(), work.len(), "one piece of work each");
        assert!(self.scheduler.running() <= self.limits.max_sequences);
        for work in &work {
            let held = self.scheduler.pages_of(work.sequence).len() * self.limits.page_tokens;
            let end = work.start + work.count + work.guesses;
            assert!(work.count > 0 && held >= end, "work lies in its pages");
            assert!(work.guesses == 0 || (work.samples && work.count == 1), "who writes guesses");
            self.guessed += work.guesses;
        }
        for entry in &self.scheduler.running {
            let writes = entry.chain.tokens() - entry.computed == 1;
            assert!(
                !writes || entry.paused || ids.contains(&entry.id),
                "who writes is not stalled"
            );
        }
        self.scheduler.advance(&work);
        self.scheduler.note_cost(1_000 + 100 * tokens as u64);
        for work in work.iter().filter(|work| work.samples) {
            self.write(work);
        }
        assert!(self.scheduler.check(), "free + held + cached = total");
        let entries = self.scheduler.running.iter().chain(&self.scheduler.waiting);
        for entry in entries.clone() {
            let live = self.live.get_mut(&entry.id).expect("nothing is forgotten");
            live.unhindered = if entry.paused { self.step + 1 } else { live.unhindered };
            self.slowest = self.slowest.max(self.step.saturating_sub(live.unhindered));
        }
        assert_eq!(entries.count(), self.live.len());
        assert!(self.slowest < PATIENCE, "somebody starves");
        self.step += 1;
        work
    }

    /// Draws a sequence's next token, and another one for each guess that was right.
    fn write(&mut self, work: &Work) {
        let id = work.sequence;
        let right = self.random.random_range(0..=work.guesses);
        for index in 0..=right {
            let live = self.live.get_mut(&id).expect("only live ones run");
            live.left -= 1;
            if live.left == 0 {
                self.scheduler.remove(id);
                self.live.remove(&id);
                return;
            }
            self.scheduler.push_token(id, self.random.random_range(0..3));
            if index < right {
                self.scheduler.confirm_guess(id);
            }
        }
        self.scheduler.note_guesses(id, work.guesses, right);
    }

    /// No more arrivals and no pauses: everyone ends, and nothing is left.
    fn drain(mut self) {
        for id in self.live.keys() {
            self.scheduler.set_paused(*id, false);
        }
        while !self.live.is_empty() {
            self.run();
        }
        assert_eq!(self.scheduler.pages_used(), 0);
        assert_eq!(self.scheduler.queue(), []);
    }
}

/// By how much, per weight, each caller has had more than each other while both had prompts
/// running, reckoned from what the steps ran alone.
struct Excess {
    wanting: BTreeSet<CallerKey>,
    tokens: BTreeMap<(CallerKey, CallerKey), f64>,
}

impl Excess {
    /// Callers with a prompt that runs and is not done.
    fn wanting(scheduler: &Scheduler) -> BTreeSet<CallerKey> {
        let wants = |entry: &&super::super::Entry| !entry.paused && entry.left() > 1;
        scheduler.running.iter().filter(wants).map(|entry| entry.payer.caller).collect()
    }

    fn pairs(&self) -> impl Iterator<Item = (CallerKey, CallerKey)> {
        let all = || self.wanting.iter().copied();
        all().flat_map(move |one| all().map(move |other| (one, other)))
    }

    /// Before a step: who has come to want begins with what is on the books; so does everybody
    /// when nobody waits, because debts are forgiven then.
    fn begin(&mut self, scheduler: &mut Scheduler) {
        let nobody_waits = scheduler.waiting.iter().all(|entry| entry.paused);
        if nobody_waits {
            scheduler.shares.forgive(scheduler.limits.budget_tokens);
        }
        let known = std::mem::replace(&mut self.wanting, Excess::wanting(scheduler));
        let pairs: Vec<_> = self.pairs().collect();
        let was_known = |pair: &(CallerKey, CallerKey)| {
            !nobody_waits && known.contains(&pair.0) && known.contains(&pair.1)
        };
        let lead = |pair: (CallerKey, CallerKey)| scheduler.shares.lead(pair.0, pair.1) as f64;
        self.tokens = pairs
            .into_iter()
            .map(|pair| match self.tokens.get(&pair) {
                Some(tokens) if was_known(&pair) => (pair, *tokens),
                _ => (pair, lead(pair)),
            })
            .collect();
    }

    /// After a step: whoever got tokens for a prompt is no more than a step ahead of anybody who
    /// wants more.
    fn end(&mut self, scheduler: &Scheduler, got: &BTreeMap<CallerKey, (usize, bool)>) {
        self.wanting = Excess::wanting(scheduler);
        let most = scheduler.limits.budget_tokens as f64 + 2.0;
        let share = |caller: CallerKey| {
            let tokens = got.get(&caller).map_or(0, |(tokens, _)| *tokens);
            tokens as f64 / (1 + caller.0 % 3) as f64
        };
        for ((one, other), tokens) in &mut self.tokens {
            *tokens += share(*one) - share(*other);
            let got_prompt = got.get(one).is_some_and(|(_, prompt)| *prompt);
            let is_fair = !got_prompt || !self.wanting.contains(other) || *tokens <= most;
            assert!(is_fair, "{one:?} is {tokens} ahead of {other:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn nothing_leaks_and_nobody_starves(seed in any::<u64>()) {
        const ALL: [Priority; 3] =
            [Priority::Interactive, Priority::Default, Priority::Background];
        let mut play = Play::new(seed, &ALL);
        for _ in 0..STEPS {
            play.disturb();
            play.run();
        }
        assert!(play.guessed > 100, "guesses were part of the play");
        play.drain();
    }

    #[test]
    fn nobodys_share_is_exceeded_by_more_than_a_step(seed in any::<u64>()) {
        // Of one priority, because between two of them there is no share.
        let mut play = Play::new(seed, &[Priority::Interactive]);
        let mut excess = Excess { wanting: BTreeSet::new(), tokens: BTreeMap::new() };
        for _ in 0..STEPS {
            play.disturb();
            excess.begin(&mut play.scheduler);
            let callers: BTreeMap<_, _> = play.scheduler.running.iter()
                .chain(&play.scheduler.waiting)
                .map(|entry| (entry.id, entry.payer.caller))
                .collect();
            let mut got: BTreeMap<CallerKey, (usize, bool)> = BTreeMap::new();
            for work in play.run() {
                let (tokens, prompt) = got.entry(callers[&work.sequence]).or_default();
                *tokens += work.count;
                *prompt |= work.count > 1 || !work.samples;
            }
            excess.end(&play.scheduler, &got);
        }
        play.drain();
    }
}
