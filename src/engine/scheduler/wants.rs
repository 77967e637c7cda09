//! Which prompts want tokens in a step, by urgency and caller, in the order of arrival.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{Entry, SequenceId};
use crate::request::CallerKey;

/// Sequences that could go on with their prompts.
#[derive(Debug)]
pub(super) struct Wants {
    /// Urgency and caller → those that run, then those that wait. No queue is empty.
    queues: BTreeMap<(u64, CallerKey), VecDeque<SequenceId>>,
}

impl Wants {
    pub(super) fn of(
        running: &[Entry],
        waiting: &[Entry],
        urgency: impl Fn(&Entry) -> u64,
    ) -> Wants {
        let mut queues: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
        for entry in running.iter().chain(waiting) {
            if !entry.paused && entry.left() > 0 {
                queues.entry((urgency(entry), entry.caller)).or_default().push_back(entry.id);
            }
        }
        Wants { queues }
    }

    pub(super) fn most_urgent(&self) -> Option<u64> {
        self.queues.keys().next().map(|(urgency, _)| *urgency)
    }

    pub(super) fn front(&self, urgency: u64, caller: CallerKey) -> Option<SequenceId> {
        self.queues.get(&(urgency, caller))?.front().copied()
    }

    /// Takes the first one out.
    pub(super) fn pop(&mut self, urgency: u64, caller: CallerKey) {
        if let Some(queue) = self.queues.get_mut(&(urgency, caller)) {
            queue.pop_front();
            if queue.is_empty() {
                self.remove(urgency, caller);
            }
        }
    }

    /// Takes all of one caller out.
    pub(super) fn remove(&mut self, urgency: u64, caller: CallerKey) {
        self.queues.remove(&(urgency, caller));
    }

    /// Takes all out that are not like this.
    pub(super) fn retain(&mut self, is_like: impl Fn(SequenceId) -> bool) {
        for queue in self.queues.values_mut() {
            queue.retain(|&id| is_like(id));
        }
        self.queues.retain(|_, queue| !queue.is_empty());
    }
}

/// Waiting sequences by urgency, then everyone's first, everyone's second and so on.
pub(super) fn queue(waiting: &[Entry], urgency: impl Fn(&Entry) -> u64) -> Vec<SequenceId> {
    let mut before: HashMap<(u64, CallerKey), usize> = HashMap::new();
    let mut order: Vec<(u64, usize, SequenceId)> = waiting
        .iter()
        .map(|entry| {
            let urgency = urgency(entry);
            let own = before.entry((urgency, entry.caller)).or_default();
            *own += 1;
            (urgency, *own, entry.id)
        })
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, _, id)| id).collect()
}
