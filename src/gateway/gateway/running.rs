//! Counts the calls that run, per user and in all, and refuses those that are too many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearth_store::UserId;
use tokio::sync::watch;

use crate::error::{Error, Result};

/// When a user whose calls are too many should ask again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The calls that run.
pub(super) struct Running {
    max_per_user: u32,
    /// The counts; there is an entry for each user with at least one call.
    calls: Mutex<Calls>,
    /// How many in all, for whoever waits until there is none.
    total: watch::Sender<usize>,
}

#[derive(Default)]
struct Calls {
    is_draining: bool,
    // The operator has no user, and shares one entry.
    by_user: HashMap<Option<UserId>, u32>,
}

/// The right to run one call; given back when it is dropped.
pub(super) struct Slot {
    running: Arc<Running>,
    user: Option<UserId>,
}

impl Running {
    pub(super) fn new(max_per_user: u32) -> Arc<Running> {
        Arc::new(Running { max_per_user, calls: Mutex::default(), total: watch::Sender::new(0) })
    }

    /// A slot for a call of this user, if there is one.
    pub(super) fn admit(self: &Arc<Running>, user: Option<UserId>) -> Result<Slot> {
        let mut calls = self.lock();
        if calls.is_draining {
            return Err(Error::Draining);
        }
        let count = calls.by_user.entry(user).or_default();
        if *count >= self.max_per_user {
            return Err(Error::Busy { retry_after: RETRY_AFTER });
        }
        *count += 1;
        self.total.send_modify(|total| *total += 1);
        Ok(Slot { running: Arc::clone(self), user })
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

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut calls = self.running.lock();
        if let Some(count) = calls.by_user.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                calls.by_user.remove(&self.user);
            }
        }
        self.running.total.send_modify(|total| *total -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_so_many_slots_and_gets_them_back() {
        let running = Running::new(2);
        let (ann, bob) = (Some(UserId(1)), Some(UserId(2)));
        let first = running.admit(ann).unwrap();
        let _second = running.admit(ann).unwrap();
        assert!(matches!(running.admit(ann), Err(Error::Busy { .. })));
        let bobs = running.admit(bob).unwrap();
        drop(first);
        let _third = running.admit(ann).unwrap();
        assert_eq!(running.count(), 3);
        drop(bobs);
        assert_eq!(running.lock().by_user.len(), 1, "no entry without a call");
        running.drain();
        assert!(matches!(running.admit(bob), Err(Error::Draining)));
    }
}
