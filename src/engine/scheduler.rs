//! Decides what each step runs. Integers only: it knows token counts and pages, no tensors.
//!
//! Sequences run in the order in which they came. A step takes the next token of every running
//! sequence first, then chunks of prompts, up to a budget of tokens. A sequence is admitted when
//! all tokens it has fit in pages; later pages are taken one by one. When there is none, the
//! youngest sequence gives up its pages and waits to be computed again. The oldest never does, and
//! every sequence fits the pages alone, so each one ends.
//!
//! Full pages outlive their sequence: one that begins like it, or is it, computes only the rest.

use std::collections::VecDeque;

use crate::config::EngineConfig;
use crate::pages::{Lease, PageId, Pages};
use crate::prefix::Chain;

/// Names a sequence within its model; ids grow in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SequenceId(pub(crate) u64);

/// What bounds a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) page_tokens: usize,
    pub(crate) budget_tokens: usize,
    pub(crate) max_sequences: usize,
    /// Whether pages outlive their sequence for others that begin alike.
    pub(crate) prefix_reuse: bool,
}

/// Tokens `start .. start + count` of a sequence, to be run in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) sequence: SequenceId,
    pub(crate) start: usize,
    pub(crate) count: usize,
    /// Whether the last of these is the sequence's last known token, so that one can be drawn.
    pub(crate) samples: bool,
}

/// Owns the order of sequences and their leases.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Limits,
    pages: Pages,
    // Both in order of arrival.
    waiting: VecDeque<Entry>,
    running: Vec<Entry>,
    preemptions: u64,
}

#[derive(Debug)]
struct Entry {
    id: SequenceId,
    /// Prompt and generated tokens.
    chain: Chain,
    /// Leading tokens whose keys and values are in the pages.
    computed: usize,
    lease: Lease,
    /// The reader lags: keep, but do not run.
    paused: bool,
}

impl Limits {
    pub(crate) fn of(config: &EngineConfig) -> Limits {
        Limits {
            page_tokens: config.page_tokens,
            budget_tokens: config.budget_tokens,
            max_sequences: config.max_sequences,
            prefix_reuse: config.prefix_reuse,
        }
    }
}

impl Scheduler {
    pub(crate) fn new(limits: Limits, total_pages: usize) -> Scheduler {
        Scheduler {
            limits,
            pages: Pages::new(total_pages),
            waiting: VecDeque::new(),
            running: Vec::new(),
            preemptions: 0,
        }
    }

    /// Adds a sequence behind all others. Its longest form must fit the pages alone.
    pub(crate) fn add(&mut self, id: SequenceId, prompt: Chain) {
        let tokens = prompt.tokens();
        debug_assert!(tokens > 0 && self.pages_for(tokens) <= self.pages.total());
        debug_assert!(self.waiting.back().is_none_or(|last| last.id < id), "ids grow");
        let lease = self.pages.lease();
        self.waiting.push_back(Entry { id, chain: prompt, computed: 0, lease, paused: false });
    }

    /// Chooses the work of the next step and takes the pages it needs.
    pub(crate) fn schedule(&mut self) -> Vec<Work> {
        let mut work = Vec::new();
        let mut budget = self.limits.budget_tokens;
        let running: Vec<SequenceId> = self.running.iter().map(|entry| entry.id).collect();
        for &id in &running {
            // An earlier sequence may have taken this one's pages.
            let Some(entry) = self.runnable(id) else { continue };
            if entry.left() == 1 && budget > 0 && self.make_room(id) {
                work.push(self.take(id, &mut budget));
            }
        }
        for id in running {
            let Some(entry) = self.runnable(id) else { continue };
            if entry.left() > 1 && budget > 0 {
                work.push(self.take(id, &mut budget));
            }
        }
        while budget > 0 && self.has_place() {
            let Some(id) = self.admit() else { break };
            work.push(self.take(id, &mut budget));
        }
        work
    }

    /// Notes that a step has run. Pages that it filled may serve others from now on.
    pub(crate) fn advance(&mut self, work: &[Work]) {
        let Limits { page_tokens, prefix_reuse, .. } = self.limits;
        for work in work {
            let Some(entry) = self.find(work.sequence) else { continue };
            debug_assert_eq!(entry.computed, work.start, "work runs once");
            entry.computed += work.count;
            if prefix_reuse {
                let filled = work.start / page_tokens..entry.computed / page_tokens;
                filled.for_each(|page| entry.lease.name(page, entry.chain.full()[page]));
            }
        }
    }

    /// Notes that this token was drawn for this sequence.
    pub(crate) fn push_token(&mut self, id: SequenceId, token: u32) {
        if let Some(entry) = self.find(id) {
            entry.chain.push(token);
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
        self.running.retain(|entry| entry.id != id);
        self.waiting.retain(|entry| entry.id != id);
    }

    /// Keeps others from what this sequence has computed, because it came to nothing good.
    pub(crate) fn distrust(&mut self, id: SequenceId) {
        if let Some(entry) = self.find(id) {
            entry.lease.forget();
        }
    }

    /// The pages of a running sequence, in the order of its tokens.
    pub(crate) fn pages_of(&self, id: SequenceId) -> &[PageId] {
        self.running.iter().find(|entry| entry.id == id).map_or(&[], |entry| entry.lease.pages())
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
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

    fn pages_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.limits.page_tokens)
    }

    fn find(&mut self, id: SequenceId) -> Option<&mut Entry> {
        self.running.iter_mut().chain(&mut self.waiting).find(|entry| entry.id == id)
    }

    fn runnable(&self, id: SequenceId) -> Option<&Entry> {
        self.running.iter().find(|entry| entry.id == id && !entry.paused)
    }

    fn take(&mut self, id: SequenceId, budget: &mut usize) -> Work {
        let entry = self.find(id).expect("only running sequences are taken");
        let count = entry.left().min(*budget);
        *budget -= count;
        let samples = count == entry.left();
        Work { sequence: id, start: entry.computed, count, samples }
    }

    /// Gives a running sequence the pages its tokens need, from others if it must be.
    /// `false` if the sequence itself had to go.
    fn make_room(&mut self, id: SequenceId) -> bool {
        loop {
            let page_tokens = self.limits.page_tokens;
            let Some(entry) = self.find(id) else { return false };
            let pages = entry.chain.tokens().div_ceil(page_tokens);
            if entry.lease.grow(pages) {
                return true;
            }
            let victim = self.youngest(true).or_else(|| self.youngest(false));
            self.preempt(victim.expect("the asking sequence runs"));
            if victim == Some(id) {
                return false;
            }
        }
    }

    /// Whether one more sequence may run. Of those that wait for their readers the youngest gives
    /// its place up, if somebody else could use it: who does not read must not keep others out.
    fn has_place(&mut self) -> bool {
        if self.running.len() < self.limits.max_sequences {
            return true;
        }
        match self.youngest(true) {
            Some(paused) if self.waiting.iter().any(|entry| !entry.paused) => {
                self.preempt(paused);
                true
            }
            _ => false,
        }
    }

    /// Admits the first waiting sequence that may run, if it can have its pages.
    fn admit(&mut self) -> Option<SequenceId> {
        let mut waiting = self.waiting.iter();
        let index = waiting.position(|entry| !entry.paused && !self.is_coming(entry))?;
        let chain = &self.waiting[index].chain;
        // One token more than it has: else its first own token could push it out again.
        let wanted = self.pages_for(chain.tokens() + 1).min(self.pages.total());
        let Some(lease) = self.pages.lease_after(chain.reusable(), wanted) else {
            // A reader that does not read must not keep others out. The victim moves among the
            // waiting, so look again; it is paused, so it is not found.
            let victim = self.youngest(true)?;
            self.preempt(victim);
            return self.admit();
        };
        let mut entry = self.waiting.remove(index).expect("found above");
        entry.computed = self.pages.known(entry.chain.reusable()) * self.limits.page_tokens;
        entry.lease = lease;
        let id = entry.id;
        let place = self.running.partition_point(|other| other.id < id);
        self.running.insert(place, entry);
        Some(id)
    }

    /// Whether a running sequence is computing the very page that this one needs next: it waits
    /// for that instead of computing the same beside it.
    fn is_coming(&self, waiting: &Entry) -> bool {
        let wanted = waiting.chain.reusable();
        let page = self.pages.known(wanted);
        let computes = |entry: &Entry| {
            let has_it = entry.computed / self.limits.page_tokens > page;
            !entry.paused && !has_it && entry.chain.full().get(page) == wanted.get(page)
        };
        self.limits.prefix_reuse && page < wanted.len() && self.running.iter().any(computes)
    }

    fn youngest(&self, paused: bool) -> Option<SequenceId> {
        self.running.iter().rev().find(|entry| entry.paused == paused).map(|entry| entry.id)
    }

    fn preempt(&mut self, id: SequenceId) {
        let index =
            self.running.iter().position(|entry| entry.id == id).expect("victims are running");
        let mut entry = self.running.remove(index);
        entry.computed = 0;
        entry.lease = self.pages.lease();
        self.preemptions += 1;
        let place = self.waiting.partition_point(|other| other.id < id);
        self.waiting.insert(place, entry);
    }
}

impl Entry {
    /// Tokens that are known but not computed.
    fn left(&self) -> usize {
        self.chain.tokens() - self.computed
    }
}

#[cfg(test)]
mod tests;
