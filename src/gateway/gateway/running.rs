//! Counts the calls that run and, per user, the answers that they ask for, and refuses what is
//! too much.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hearth_store::UserId;
use tokio::sync::watch;

use super::pacer::Pace;
use crate::error::{Error, Result};
use crate::event::Usage;

/// Shortest and longest time after which a user who has too many answers under way is told to ask
/// again.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// The calls that run.
pub(super) struct Running {
    max_per_user: u32,
    /// The counts; there is an entry for each user with at least one answer under way.
    answers: Mutex<Answers>,
    /// How many calls in all, for whoever waits until there is none.
    total: watch::Sender<usize>,
}

#[derive(Default)]
struct Answers {
    is_draining: bool,
    // The operator has no user, and shares one entry.
    by_user: HashMap<Option<UserId>, u32>,
    /// How long a call takes, on the average of the last ones.
    mean_call: Duration,
}

/// The right to run one call; given back when it is dropped.
pub(super) struct Slot {
    running: Arc<Running>,
    user: Option<UserId>,
    answers: u32,
    since: Instant,
    /// Whether a backend has accepted it: what is refused says nothing of how long calls take.
    has_begun: AtomicBool,
    /// The rate limits that it counts against.
    pub(super) pace: Option<Pace>,
}

impl Running {
    pub(super) fn new(max_per_user: u32) -> Arc<Running> {
        Arc::new(Running { max_per_user, answers: Mutex::default(), total: watch::Sender::new(0) })
    }

    /// A slot for a call of this user that asks for so many answers. What could never fit is
    /// [`Error::Invalid`], what does not fit now is [`Error::Busy`].
    pub(super) fn admit(self: &Arc<Running>, user: Option<UserId>, answers: u32) -> Result<Slot> {
        let mut counts = self.lock();
        if counts.is_draining {
            return Err(Error::Draining);
        }
        let max = self.max_per_user;
        if answers > max {
            let message = format!(
                "This call asks for {answers} answers, but a user may have at most {max} at once; \
                 lower 'n' or send fewer prompts."
            );
            return Err(Error::Invalid { param: None, message });
        }
        let known = counts.by_user.get(&user).copied().unwrap_or(0);
        if answers > max - known {
            return Err(Error::Busy { retry_after: counts.retry_after(known) });
        }
        counts.by_user.insert(user, known + answers);
        self.total.send_modify(|total| *total += 1);
        let (running, since) = (Arc::clone(self), Instant::now());
        Ok(Slot { running, user, answers, since, has_begun: AtomicBool::new(false), pace: None })
    }

    /// Refuses all calls from now on.
    pub(super) fn drain(&self) {
        self.lock().is_draining = true;
    }

    pub(super) fn is_draining(&self) -> bool {
        self.lock().is_draining
    }

    pub(super) fn count(&self) -> usize {
        *self.total.borrow()
    }

    /// Returns when no call runs.
    pub(super) async fn wait_until_idle(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.total.subscribe().wait_for(|total| *total == 0).await;
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    /// In the time that one call takes, all that a user has under way end.
    fn retry_after(&self, under_way: u32) -> Duration {
        (self.mean_call / under_way.max(1)).clamp(RETRY_AFTER.0, RETRY_AFTER.1)
    }

    fn note_call(&mut self, took: Duration) {
        self.mean_call = match self.mean_call {
            Duration::ZERO => took,
            mean => (mean * 7 + took) / 8,
        };
    }
}

impl Slot {
    /// Notes that a backend has accepted the call.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
    }

    /// Counts what one of its requests has used.
    pub(super) fn used(&self, usage: &Usage) {
        if let Some(pace) = &self.pace {
            pace.used(usage.prompt_tokens.saturating_add(usage.completion_tokens));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.running.lock();
        if self.has_begun.load(Ordering::Relaxed) {
            counts.note_call(self.since.elapsed());
        }
        if let Some(count) = counts.by_user.get_mut(&self.user) {
            *count -= self.answers;
            if *count == 0 {
                counts.by_user.remove(&self.user);
            }
        }
        self.running.total.send_modify(|total| *total -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_when_by_how_long_calls_take() {
        let mut answers = Answers::default();
        assert_eq!(answers.retry_after(4), Duration::from_secs(1), "nothing is known yet");
        answers.note_call(Duration::from_secs(80));
        assert_eq!(answers.retry_after(4), Duration::from_secs(20));
        answers.note_call(Duration::from_secs(160));
        assert_eq!(answers.retry_after(1), Duration::from_secs(90));
        answers.note_call(Duration::from_secs(1_000_000));
        assert_eq!(answers.retry_after(1), Duration::from_secs(600));
    }

    #[test]
    fn each_user_has_so_many_answers_and_gets_them_back() {
        let running = Running::new(4);
        let (ann, bob) = (Some(UserId(1)), Some(UserId(2)));
        let first = running.admit(ann, 3).unwrap();
        assert!(matches!(running.admit(ann, 2), Err(Error::Busy { .. })));
        let _second = running.admit(ann, 1).unwrap();
        assert!(matches!(running.admit(ann, 1), Err(Error::Busy { .. })));
        let bobs = running.admit(bob, 4).unwrap();
        drop(first);
        let _third = running.admit(ann, 3).unwrap();
        assert_eq!(running.count(), 3, "calls, not answers");
        drop(bobs);
        assert!(matches!(running.admit(bob, 5), Err(Error::Invalid { .. })), "never fits");
        assert_eq!(running.lock().by_user.len(), 1, "no entry without an answer");
        running.drain();
        assert!(matches!(running.admit(bob, 1), Err(Error::Draining)));
    }
}
