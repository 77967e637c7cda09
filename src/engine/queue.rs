//! Who waits for a model: how many may, how far each is, and how long that takes.
//!
//! A [`Ticket`] is a place in the queue, from submission until the first step that runs the
//! sequence. Handles take tickets, the model's thread measures and says who is where.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::EngineConfig;
use crate::error::{Error, Result};
use crate::request::CallerKey;

/// Shortest and longest time after which a refused caller is told to come again.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    pub(crate) sequences: usize,
    pub(crate) sequences_per_caller: usize,
}

/// The queue of one model.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: QueueLimits,
    tickets: Mutex<Tickets>,
    /// Measured: how often a sequence that runs makes place for one that waits.
    interval_us: AtomicU64,
}

/// Entries only for callers with at least one ticket.
#[derive(Debug, Default)]
struct Tickets {
    count: usize,
    by_caller: HashMap<CallerKey, usize>,
}

/// A place in the queue; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    queue: Arc<Queue>,
    caller: CallerKey,
    /// 1 is next; 0 while it is not known and when it has begun.
    position: Arc<AtomicU32>,
}

/// Where a sequence stands that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePlace {
    /// 1 is next.
    pub position: u32,
    /// How long it will wait, as far as can be said from what others took.
    pub wait: Duration,
}

impl QueueLimits {
    pub(crate) fn of(config: &EngineConfig) -> QueueLimits {
        QueueLimits {
            sequences: config.queue_sequences,
            sequences_per_caller: config.queue_sequences_per_caller,
        }
    }
}

impl Queue {
    pub(crate) fn new(limits: QueueLimits) -> Arc<Queue> {
        Arc::new(Queue { limits, tickets: Mutex::default(), interval_us: AtomicU64::new(0) })
    }

    /// A place behind those that wait, unless as many do as may.
    pub(crate) fn enter(self: &Arc<Queue>, caller: CallerKey) -> Result<Ticket> {
        let mut tickets = self.lock();
        let own = tickets.by_caller.get(&caller).copied().unwrap_or(0);
        if own >= self.limits.sequences_per_caller {
            // Everyone's first begins before anyone's second: then the caller has a place again.
            let retry_after = self.retry_after(tickets.by_caller.len());
            return Err(Error::CallerBusy { retry_after });
        }
        if tickets.count >= self.limits.sequences {
            return Err(Error::Busy { retry_after: self.retry_after(tickets.count) });
        }
        tickets.count += 1;
        *tickets.by_caller.entry(caller).or_default() += 1;
        Ok(Ticket { queue: Arc::clone(self), caller, position: Arc::default() })
    }

    /// Notes how often a sequence that runs makes place for one that waits.
    pub(crate) fn set_interval(&self, interval: Duration) {
        self.interval_us.store(u64::try_from(interval.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How long a sequence at this position waits.
    pub(crate) fn wait(&self, position: usize) -> Duration {
        let interval_us = self.interval_us.load(Relaxed);
        Duration::from_micros(interval_us.saturating_mul(position as u64))
    }

    /// How long a sequence would wait that came now, of a caller that has none.
    pub(crate) fn wait_of_next(&self) -> Duration {
        match self.lock().by_caller.len() {
            0 => Duration::ZERO,
            callers => self.wait(callers + 1),
        }
    }

    fn retry_after(&self, position: usize) -> Duration {
        self.wait(position).clamp(RETRY_AFTER.0, RETRY_AFTER.1)
    }

    fn lock(&self) -> MutexGuard<'_, Tickets> {
        // Nothing panics while it holds the lock half-way through a change.
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// What the holder of the sequence reads its place from.
    pub(crate) fn position(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.position)
    }

    pub(crate) fn set_position(&self, position: usize) {
        self.position.store(u32::try_from(position).unwrap_or(u32::MAX), Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.position.store(0, Relaxed);
        let mut tickets = self.queue.lock();
        tickets.count -= 1;
        if let Some(own) = tickets.by_caller.get_mut(&self.caller) {
            *own -= 1;
            if *own == 0 {
                tickets.by_caller.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(sequences: usize, sequences_per_caller: usize) -> Arc<Queue> {
        Queue::new(QueueLimits { sequences, sequences_per_caller })
    }

    #[test]
    fn a_caller_has_so_many_places_and_gets_them_back() {
        let queue = queue(10, 2);
        let (ann, bob) = (CallerKey(1), CallerKey(2));
        let first = queue.enter(ann).expect("has a place");
        let _second = queue.enter(ann).expect("has another");
        assert!(matches!(queue.enter(ann), Err(Error::CallerBusy { .. })));
        let _bobs = queue.enter(bob).expect("is another caller");
        drop(first);
        queue.enter(ann).expect("has a place again");
        assert_eq!(queue.lock().count, 2, "the last ticket was dropped at once");
    }

    #[test]
    fn a_full_queue_refuses_everybody_and_says_how_long_it_takes() {
        let queue = queue(3, 3);
        let tickets: Vec<_> = (0..3).map(|id| queue.enter(CallerKey(id)).expect("fits")).collect();
        queue.set_interval(Duration::from_secs(2));
        let Err(Error::Busy { retry_after }) = queue.enter(CallerKey(9)) else { panic!("full") };
        assert_eq!(retry_after, Duration::from_secs(6), "three begin, one each 2 s");
        drop(tickets);
        assert_eq!(queue.lock().count, 0);
        queue.enter(CallerKey(9)).expect("empty again");
    }

    #[test]
    fn a_caller_waits_for_everyones_first_before_it_may_ask_again() {
        let queue = queue(10, 1);
        queue.set_interval(Duration::from_secs(5));
        let _tickets: Vec<_> = (0..4).map(|id| queue.enter(CallerKey(id)).expect("fits")).collect();
        let refused = queue.enter(CallerKey(0));
        let Err(Error::CallerBusy { retry_after }) = refused else { panic!("{refused:?}") };
        assert_eq!(retry_after, Duration::from_secs(20));
        assert_eq!(queue.wait_of_next(), Duration::from_secs(25));
    }

    #[test]
    fn what_is_not_yet_measured_or_absurd_stays_within_bounds() {
        let queue = queue(1, 1);
        let ticket = queue.enter(CallerKey(1)).expect("fits");
        let retry = || match queue.enter(CallerKey(2)) {
            Err(Error::Busy { retry_after }) => retry_after.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!(retry(), 1);
        queue.set_interval(Duration::MAX);
        assert_eq!(retry(), 600);
        ticket.set_position(7);
        let position = ticket.position();
        assert_eq!(position.load(Relaxed), 7);
        drop(ticket);
        assert_eq!(position.load(Relaxed), 0, "it waits no more");
    }
}
