//! The bandwidth that all pulls share.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Lets bytes through at a rate; bytes of all pulls stand in one line.
pub(super) struct Rate {
    /// 0 is no limit.
    bytes_per_second: u64,
    /// When the bytes that were let through have had their time.
    next: Mutex<Instant>,
}

impl Rate {
    pub(super) fn new(bytes_per_second: u64) -> Rate {
        Rate { bytes_per_second, next: Mutex::new(Instant::now()) }
    }

    /// Waits until `bytes` more may come.
    pub(super) async fn take(&self, bytes: usize) {
        if self.bytes_per_second == 0 {
            return;
        }
        let took = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let due = {
            let mut next = self.next.lock().await;
            *next = (*next).max(Instant::now()) + took;
            *next
        };
        sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_of_all_pulls_together_take_their_time() {
        let rate = Rate::new(1000);
        let begin = Instant::now();
        tokio::join!(rate.take(1500), rate.take(500));
        assert_eq!(begin.elapsed().as_millis(), 2000);
        // What was not used is not saved up.
        tokio::time::advance(Duration::from_secs(60)).await;
        let begin = Instant::now();
        rate.take(1000).await;
        assert_eq!(begin.elapsed().as_millis(), 1000);
    }
}
