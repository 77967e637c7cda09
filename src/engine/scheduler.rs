//! Decides what each step runs. Integers only: it knows token counts and pages, no tensors.
//!
//! A step takes the next token of every sequence that writes first, then pieces of prompts up to a
//! budget of tokens; beside sequences that write, no more than keeps them going (`pace.rs`). Whose
//! prompt that is, is decided by priority, then by fair share between callers (`fair.rs`), then by
//! order of arrival. Who has waited long counts as more urgent, so that nobody waits for ever.
//!
//! A sequence is admitted when all tokens it has fit in pages; later pages are taken one by one.
//! When there is none, the last in rank (the least urgent, of those the youngest) gives up its
//! pages and waits to be computed again. The first in rank never does, and every sequence fits
//! the pages alone, so each one ends.
//!
//! Full pages outlive their sequence: one that begins like it, or is it, computes only the rest.

mod admission;
mod fair;
mod pace;
mod speculation;
mod wants;

use crate::config::{EngineConfig, Speculation};
use crate::pages::{Lease, PageId, Pages};
use crate::prefix::Chain;
use crate::request::{CallerKey, LaneKey, Priority};

use fair::{Payer, Shares};
use pace::{Mix, Pace};
use speculation::{Costs, Trust};
use wants::Wants;

/// Names a sequence within its model; ids grow in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SequenceId(pub(crate) u64);

/// What bounds a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) page_tokens: usize,
    pub(crate) budget_tokens: usize,
    pub(crate) max_sequences: usize,
    pub(crate) speculation: Speculation,
    /// Guesses of one sequence that a step may verify.
    pub(crate) guess_tokens: usize,
    /// Whether pages outlive their sequence for others that begin alike.
    pub(crate) prefix_reuse: bool,
    /// After so long a sequence counts as one priority higher.
    pub(crate) priority_age_ms: u64,
}

/// A sequence that comes to wait.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) id: SequenceId,
    pub(crate) caller: CallerKey,
    pub(crate) lane: LaneKey,
    /// The caller's part of what is shared, against other callers' weights.
    pub(crate) weight: u16,
    pub(crate) priority: Priority,
    pub(crate) prompt: Chain,
}

/// Tokens `start .. start + count` of a sequence, to be run in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) sequence: SequenceId,
    pub(crate) start: usize,
    pub(crate) count: usize,
    /// Whether the last of these is the sequence's last known token, so that one can be drawn.
    pub(crate) samples: bool,
    /// Guesses that are verified behind these.
    pub(crate) guesses: usize,
}

/// Owns the order of sequences and their leases.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Limits,
    pages: Pages,
    shares: Shares,
    pace: Pace,
    costs: Costs,
    /// What the step that was chosen last runs.
    mix: Mix,
    /// Guesses that this step verifies.
    guesses: usize,
    // Both in order of arrival.
    waiting: Vec<Entry>,
    running: Vec<Entry>,
    /// Of the step that is being chosen.
    now_ms: u64,
    preemptions: u64,
}

#[derive(Debug)]
struct Entry {
    id: SequenceId,
    payer: Payer,
    priority: Priority,
    arrived_ms: u64,
    /// Prompt and generated tokens.
    chain: Chain,
    /// Leading tokens whose keys and values are in the pages.
    computed: usize,
    /// Tokens behind these that the step which is being chosen will compute.
    granted: usize,
    /// Most tokens that were computed when it last had to go.
    reached: usize,
    lease: Lease,
    /// The reader lags: keep, but do not run.
    paused: bool,
    trust: Trust,
}

/// The order in which sequences keep their pages: urgency, then arrival.
type Rank = (u64, SequenceId);

impl Limits {
    pub(crate) fn of(config: &EngineConfig) -> Limits {
        Limits {
            page_tokens: config.page_tokens,
            budget_tokens: config.budget_tokens,
            max_sequences: config.max_sequences,
            speculation: config.speculation,
            guess_tokens: config.speculative_tokens,
            prefix_reuse: config.prefix_reuse,
            priority_age_ms: config.priority_age_s * 1000,
        }
    }
}

impl Scheduler {
    pub(crate) fn new(limits: Limits, total_pages: usize) -> Scheduler {
        Scheduler {
            limits,
            pages: Pages::new(total_pages),
            shares: Shares::new(limits.budget_tokens),
            pace: Pace::default(),
            costs: Costs::default(),
            mix: Mix::default(),
            guesses: 0,
            waiting: Vec::new(),
            running: Vec::new(),
            now_ms: 0,
            preemptions: 0,
        }
    }

    /// Adds a sequence that arrives now. Its longest form must fit the pages alone.
    pub(crate) fn add(&mut self, arrival: Arrival, now_ms: u64) {
        let Arrival { id, caller, lane, weight, priority, prompt: chain } = arrival;
        let payer = Payer { caller, lane };
        let tokens = chain.tokens();
        debug_assert!(tokens > 0 && self.pages_for(tokens) <= self.pages.total());
        debug_assert!(self.waiting.last().is_none_or(|last| last.id < id), "ids grow");
        self.shares.join(payer, weight);
        self.waiting.push(Entry {
            id,
            payer,
            priority,
            arrived_ms: now_ms,
            chain,
            computed: 0,
            granted: 0,
            reached: 0,
            lease: self.pages.lease(),
            paused: false,
            trust: Trust::default(),
        });
    }

    /// Chooses the work of the next step and takes the pages it needs.
    pub(crate) fn schedule(&mut self, now_ms: u64) -> Vec<Work> {
        self.now_ms = now_ms;
        self.running.iter_mut().for_each(|entry| entry.granted = 0);
        if self.waiting.iter().all(|entry| entry.paused) {
            self.shares.forgive(self.limits.budget_tokens);
        }
        let writing = self.grant_writing(self.limits.budget_tokens);
        let left = self.limits.budget_tokens - writing;
        // Beside sequences that write no more than they can bear, twice that where more wait to
        // begin than write; alone as much as may be.
        let crowd = if self.waiting.len() > writing { 2 } else { 1 };
        let beside = self.pace.beside(writing).saturating_mul(crowd);
        self.grant_prompts(if writing > 0 { left.min(beside) } else { left });
        let work = self.work();
        let tokens: usize = work.iter().map(|work| work.count).sum();
        // Who wrote may have had to give its place up for a prompt.
        let writing = work.iter().filter(|work| work.samples && work.count == 1).count();
        self.mix = Mix { writing, prompt_tokens: tokens - writing };
        self.guesses = 0;
        work
    }

    /// Notes how long the step took that was chosen last.
    pub(crate) fn note_cost(&mut self, took_us: u64) {
        if self.mix.prompt_tokens == 0 {
            self.costs.note(self.mix.writing + self.guesses, took_us);
        }
        if self.guesses == 0 {
            self.pace.note(self.mix, took_us);
        }
    }

    /// Notes that a step has run. Pages that it filled may serve others from now on.
    pub(crate) fn advance(&mut self, work: &[Work]) {
        let limits = self.limits;
        for work in work {
            let Some(entry) = self.find(work.sequence) else { continue };
            debug_assert_eq!(entry.computed, work.start, "work runs once");
            entry.granted = 0;
            entry.compute(work.count, &limits);
        }
    }

    /// Notes that this token was drawn for this sequence.
    pub(crate) fn push_token(&mut self, id: SequenceId, token: u32) {
        if let Some(entry) = self.find(id) {
            entry.chain.push(token);
            entry.trust.note_token();
        }
    }

    /// Stops or resumes running a sequence, without dropping what it has computed.
    pub(crate) fn set_paused(&mut self, id: SequenceId, paused: bool) {
        if let Some(entry) = self.find(id) {
            entry.paused = paused;
        }
    }

    /// Forgets a sequence and lets its pages go.
    pub(crate) fn remove(&mut self, id: SequenceId) {
        for entries in [&mut self.running, &mut self.waiting] {
            if let Ok(index) = entries.binary_search_by_key(&id, |entry| entry.id) {
                self.shares.leave(entries.remove(index).payer);
            }
        }
    }

    /// Keeps others from what this sequence has computed, because it came to nothing good.
    pub(crate) fn distrust(&mut self, id: SequenceId) {
        if let Some(entry) = self.find(id) {
            entry.lease.forget();
        }
    }

    /// The pages of a running sequence, in the order of its tokens.
    pub(crate) fn pages_of(&self, id: SequenceId) -> &[PageId] {
        self.find_running(id).map_or(&[], |entry| entry.lease.pages())
    }

    /// Sequences that wait, in the order in which they may be expected to be admitted: by urgency,
    /// then everyone's first, everyone's second and so on.
    pub(crate) fn queue(&self) -> Vec<SequenceId> {
        wants::queue(&self.waiting, |entry| self.urgency(entry))
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Pages held by sequences, shared ones once.
    pub(crate) fn pages_used(&self) -> usize {
        self.pages.held()
    }

    /// Pages that nobody holds and that wait to serve again.
    pub(crate) fn pages_cached(&self) -> usize {
        self.pages.cached()
    }

    pub(crate) fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// Whether every page is free, cached or held by a running sequence.
    pub(crate) fn check(&self) -> bool {
        self.waiting.iter().all(|entry| entry.lease.pages().is_empty())
            && self.pages.check(self.running.iter().map(|entry| &entry.lease))
    }

    /// Gives every sequence that writes its next token, first in rank first, so that none takes
    /// the pages of one before it. Says how many tokens that are.
    fn grant_writing(&mut self, budget_tokens: usize) -> usize {
        let writes = |entry: &&Entry| !entry.paused && entry.left() == 1;
        let mut ranks: Vec<Rank> =
            self.running.iter().filter(writes).map(|entry| self.rank(entry)).collect();
        ranks.sort_unstable();
        let mut given = 0;
        for (_, id) in ranks {
            if given < budget_tokens && self.make_room(id) {
                self.grant(id, 1);
                given += 1;
            }
        }
        given
    }

    /// Gives tokens to prompts, of those that run and of those that can be admitted.
    fn grant_prompts(&mut self, mut budget_tokens: usize) {
        let mut wants = Wants::of(&self.running, &self.waiting, |entry| self.urgency(entry));
        while budget_tokens > 0
            && let Some(urgency) = wants.most_urgent()
        {
            let is_wanting = |caller| wants.has(urgency, caller);
            let Some((caller, most)) = self.shares.next(is_wanting) else { break };
            let used = |payer| self.shares.used(payer);
            let Some(id) = wants.front(urgency, caller, used) else { break };
            if self.find_running(id).is_none() {
                match self.admit(id) {
                    admission::Outcome::Runs => {}
                    // What it needs is being computed: its lane's others wait behind it.
                    admission::Outcome::IsComing => {
                        wants.pop_lane(urgency, caller, id);
                        continue;
                    }
                    // It comes first for pages that will be free: nobody overtakes it.
                    admission::Outcome::NoRoom => {
                        wants.retain(|id| self.find_running(id).is_some());
                        continue;
                    }
                }
            }
            let left = self.find_running(id).map_or(0, Entry::left);
            let count = left.min(budget_tokens).min(most);
            self.grant(id, count);
            budget_tokens -= count;
            if count == left {
                wants.pop(urgency, caller, id);
            }
        }
    }

    fn grant(&mut self, id: SequenceId, count: usize) {
        if let Some(entry) = self.find(id) {
            entry.granted += count;
            let payer = entry.payer;
            self.shares.charge(payer, count);
        }
    }

    /// What has been granted; who writes comes first.
    fn work(&self) -> Vec<Work> {
        let granted = self.running.iter().filter(|entry| entry.granted > 0);
        let mut work: Vec<Work> = granted
            .map(|entry| Work {
                sequence: entry.id,
                start: entry.computed,
                count: entry.granted,
                samples: entry.left() == 0,
                guesses: 0,
            })
            .collect();
        work.sort_by_key(|work| !(work.samples && work.count == 1));
        work
    }

    fn pages_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.limits.page_tokens)
    }

    fn find(&mut self, id: SequenceId) -> Option<&mut Entry> {
        let entries = match self.find_running(id).is_some() {
            true => &mut self.running,
            false => &mut self.waiting,
        };
        let index = entries.binary_search_by_key(&id, |entry| entry.id).ok()?;
        entries.get_mut(index)
    }

    fn find_running(&self, id: SequenceId) -> Option<&Entry> {
        let index = self.running.binary_search_by_key(&id, |entry| entry.id).ok()?;
        self.running.get(index)
    }

    /// 0 is most urgent.
    fn urgency(&self, entry: &Entry) -> u64 {
        let waited_ms = self.now_ms.saturating_sub(entry.arrived_ms);
        (entry.priority as u64).saturating_sub(waited_ms / self.limits.priority_age_ms.max(1))
    }

    fn rank(&self, entry: &Entry) -> Rank {
        (self.urgency(entry), entry.id)
    }
}

impl Entry {
    /// Tokens that are known and neither computed nor granted.
    fn left(&self) -> usize {
        self.chain.tokens() - self.computed - self.granted
    }

    /// Notes so many more computed tokens; pages that they fill may serve others.
    fn compute(&mut self, count: usize, limits: &Limits) {
        let before = self.computed;
        self.computed += count;
        if limits.prefix_reuse {
            let filled = before / limits.page_tokens..self.computed / limits.page_tokens;
            filled.for_each(|page| self.lease.name(page, self.chain.full()[page]));
        }
    }
}

#[cfg(test)]
mod tests;
