//! Who gets a place and pages, and who gives them up for that.

use super::{Entry, Rank, Scheduler, SequenceId};

/// What came of trying to admit a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Runs,
    /// A running sequence is computing the very page that this one needs next: it waits for that
    /// instead of computing the same beside it.
    IsComing,
    NoRoom,
}

impl Scheduler {
    /// Moves a waiting sequence to the running ones, if there is a place and it can have its
    /// pages, or others give theirs up.
    pub(super) fn admit(&mut self, id: SequenceId) -> Outcome {
        let Ok(index) = self.waiting.binary_search_by_key(&id, |entry| entry.id) else {
            return Outcome::NoRoom;
        };
        if self.is_coming(&self.waiting[index]) {
            return Outcome::IsComing;
        }
        loop {
            if self.running.len() < self.limits.max_sequences && self.take_pages(id) {
                return Outcome::Runs;
            }
            let Some(victim) = self.victim_of(id) else { return Outcome::NoRoom };
            self.preempt(victim);
        }
    }

    /// Gives a running sequence the pages its tokens need, from others if it must be.
    /// `false` if the sequence itself had to go, or had gone.
    pub(super) fn make_room(&mut self, id: SequenceId) -> bool {
        loop {
            let page_tokens = self.limits.page_tokens;
            if self.find_running(id).is_none() {
                return false;
            }
            let Some(entry) = self.find(id) else { return false };
            let pages = entry.chain.tokens().div_ceil(page_tokens);
            if entry.lease.grow(pages) {
                return true;
            }
            let victim = self.last(|entry| entry.paused).or_else(|| self.last(|_| true));
            self.preempt(victim.expect("the asking sequence runs"));
            if victim == Some(id) {
                return false;
            }
        }
    }

    fn is_coming(&self, waiting: &Entry) -> bool {
        let wanted = waiting.chain.reusable();
        let page = self.pages.known(wanted);
        let computes = |entry: &Entry| {
            let has_it = entry.computed / self.limits.page_tokens > page;
            !entry.paused && !has_it && entry.chain.full().get(page) == wanted.get(page)
        };
        self.limits.prefix_reuse && page < wanted.len() && self.running.iter().any(computes)
    }

    /// Starts a waiting sequence behind the tokens whose pages are there.
    fn take_pages(&mut self, id: SequenceId) -> bool {
        let Ok(index) = self.waiting.binary_search_by_key(&id, |entry| entry.id) else {
            return false;
        };
        let chain = &self.waiting[index].chain;
        // One token more than it has: else its first own token could push it out again.
        let wanted = self.pages_for(chain.tokens() + 1).min(self.pages.total());
        let known = self.pages.known(chain.reusable());
        let Some(lease) = self.pages.lease_after(chain.reusable(), wanted) else { return false };
        let mut entry = self.waiting.remove(index);
        entry.lease = lease;
        entry.computed = known * self.limits.page_tokens;
        let place = self.running.partition_point(|other| other.id < id);
        self.running.insert(place, entry);
        true
    }

    /// Who gives way to a sequence that waits: one whose reader does not read, or is less urgent,
    /// or whose caller is more than a step ahead of this one's.
    fn victim_of(&self, id: SequenceId) -> Option<SequenceId> {
        let index = self.waiting.binary_search_by_key(&id, |entry| entry.id).ok()?;
        let waiting = &self.waiting[index];
        let urgency = self.urgency(waiting);
        let lead = |entry: &Entry| self.shares.lead(entry.payer.caller, waiting.payer.caller);
        let most = self.limits.budget_tokens as i64;
        self.last(|entry| entry.paused)
            .or_else(|| self.last(|entry| self.urgency(entry) > urgency))
            .or_else(|| {
                let yields = |entry: &&Entry| lead(entry) > most && self.has_had_its_turn(entry);
                let ahead = self.running.iter().filter(yields);
                ahead.max_by_key(|entry| (lead(entry), entry.id)).map(|entry| entry.id)
            })
    }

    /// Whether a sequence has come so much further since it was admitted that computing it again
    /// costs no more than that. So turns cost at most half of all work.
    fn has_had_its_turn(&self, entry: &Entry) -> bool {
        let further = entry.computed.saturating_sub(entry.reached);
        further >= self.limits.budget_tokens && further * 2 >= entry.computed
    }

    /// The last in rank of the running sequences that are like this.
    fn last(&self, is_like: impl Fn(&Entry) -> bool) -> Option<SequenceId> {
        let ranks = self.running.iter().filter(|entry| is_like(entry));
        ranks.map(|entry| self.rank(entry)).max().map(|(_, id): Rank| id)
    }

    /// Lets a running sequence wait; what its full pages hold stays until they are needed.
    fn preempt(&mut self, id: SequenceId) {
        let Ok(index) = self.running.binary_search_by_key(&id, |entry| entry.id) else { return };
        let mut entry = self.running.remove(index);
        self.shares.refund(entry.payer, entry.granted);
        entry.reached = entry.reached.max(entry.computed);
        (entry.computed, entry.granted) = (0, 0);
        entry.lease = self.pages.lease();
        self.preemptions += 1;
        let place = self.waiting.partition_point(|other| other.id < id);
        self.waiting.insert(place, entry);
    }
}
