//! Which prompts want tokens in a step, by urgency and caller, by lane, in the order of arrival.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::fair::Payer;
use super::{Entry, SequenceId};
use crate::request::{CallerKey, LaneKey};

/// Of one lane: those that run, then those that wait. Never empty.
type Queue = (LaneKey, VecDeque<SequenceId>);

/// Sequences that could go on with their prompts.
#[derive(Debug)]
pub(super) struct Wants {
    /// Urgency and caller → the queues of the caller's lanes, at least one.
    queues: BTreeMap<(u64, CallerKey), Vec<Queue>>,
}

impl Wants {
    pub(super) fn of(
        running: &[Entry],
        waiting: &[Entry],
        urgency: impl Fn(&Entry) -> u64,
    ) -> Wants {
        let mut queues: BTreeMap<_, Vec<Queue>> = BTreeMap::new();
        for entry in running.iter().chain(waiting) {
            if !entry.paused && entry.left() > 0 {
                let Payer { caller, lane } = entry.payer;
                let lanes = queues.entry((urgency(entry), caller)).or_default();
                match lanes.iter_mut().find(|(key, _)| *key == lane) {
                    Some((_, queue)) => queue.push_back(entry.id),
                    None => lanes.push((lane, VecDeque::from([entry.id]))),
                }
            }
        }
        Wants { queues }
    }

    pub(super) fn most_urgent(&self) -> Option<u64> {
        self.queues.keys().next().map(|(urgency, _)| *urgency)
    }

    pub(super) fn has(&self, urgency: u64, caller: CallerKey) -> bool {
        self.queues.contains_key(&(urgency, caller))
    }

    /// The first of the caller's lane that has `used` least.
    pub(super) fn front(
        &self,
        urgency: u64,
        caller: CallerKey,
        used: impl Fn(Payer) -> i64,
    ) -> Option<SequenceId> {
        let lanes = self.queues.get(&(urgency, caller))?;
        let lane = lanes.iter().min_by_key(|(lane, _)| used(Payer { caller, lane: *lane }))?;
        lane.1.front().copied()
    }

    /// Takes one out.
    pub(super) fn pop(&mut self, urgency: u64, caller: CallerKey, id: SequenceId) {
        if let Some(lanes) = self.queues.get_mut(&(urgency, caller)) {
            retain(lanes, |other| other != id);
            if lanes.is_empty() {
                self.queues.remove(&(urgency, caller));
            }
        }
    }

    /// Takes one out, with all that wait behind it in its lane.
    pub(super) fn pop_lane(&mut self, urgency: u64, caller: CallerKey, first: SequenceId) {
        if let Some(lanes) = self.queues.get_mut(&(urgency, caller)) {
            lanes.retain(|(_, queue)| queue.front() != Some(&first));
            if lanes.is_empty() {
                self.queues.remove(&(urgency, caller));
            }
        }
    }

    /// Takes all out that are not like this.
    pub(super) fn retain(&mut self, is_like: impl Fn(SequenceId) -> bool) {
        self.queues.values_mut().for_each(|lanes| retain(lanes, &is_like));
        self.queues.retain(|_, lanes| !lanes.is_empty());
    }
}

fn retain(lanes: &mut Vec<Queue>, is_like: impl Fn(SequenceId) -> bool) {
    lanes.iter_mut().for_each(|(_, queue)| queue.retain(|&id| is_like(id)));
    lanes.retain(|(_, queue)| !queue.is_empty());
}

/// Waiting sequences by urgency, then everyone's first, everyone's second and so on; of one caller
/// every lane's first, every lane's second and so on.
pub(super) fn queue(waiting: &[Entry], urgency: impl Fn(&Entry) -> u64) -> Vec<SequenceId> {
    let mut of_lane: HashMap<(u64, CallerKey, LaneKey), usize> = HashMap::new();
    let mut own_order: Vec<(u64, usize, SequenceId, CallerKey)> = waiting
        .iter()
        .map(|entry| {
            let (urgency, Payer { caller, lane }) = (urgency(entry), entry.payer);
            (urgency, next(&mut of_lane, (urgency, caller, lane)), entry.id, caller)
        })
        .collect();
    own_order.sort_unstable_by_key(|&(urgency, nth, id, _)| (urgency, nth, id));
    let mut of_caller: HashMap<(u64, CallerKey), usize> = HashMap::new();
    let mut order: Vec<(u64, usize, SequenceId)> = own_order
        .into_iter()
        .map(|(urgency, _, id, caller)| (urgency, next(&mut of_caller, (urgency, caller)), id))
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, _, id)| id).collect()
}

/// Counts one more under this key.
fn next<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) -> usize {
    let count = counts.entry(key).or_default();
    *count += 1;
    *count
}
