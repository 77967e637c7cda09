//! So many a minute: a bucket that fills evenly.

use std::time::{Duration, Instant};

const MINUTE_S: f64 = 60.0;

/// How much was taken of late.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    /// What is taken and not yet given back.
    taken: f64,
    since: Option<Instant>,
}

impl Limiter {
    /// When something may be taken again, if not now. What is told only afterwards, such as
    /// tokens, may go over the limit once.
    pub(super) fn full_until(&mut self, per_minute: Option<u32>, now: Instant) -> Option<Instant> {
        let most = f64::from(per_minute?);
        self.fill(most, now);
        // One is needed, whatever its size.
        let over = self.taken + 1.0 - most;
        (over > 0.0).then(|| now + Duration::from_secs_f64(over * MINUTE_S / most))
    }

    pub(super) fn take(&mut self, per_minute: Option<u32>, amount: u32, now: Instant) {
        let Some(most) = per_minute else { return };
        self.fill(f64::from(most), now);
        self.taken += f64::from(amount);
    }

    fn fill(&mut self, most: f64, now: Instant) {
        let since = self.since.replace(now).unwrap_or(now);
        let passed_s = now.saturating_duration_since(since).as_secs_f64();
        self.taken = (self.taken - passed_s * most / MINUTE_S).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_go_through_at_once_and_then_evenly() {
        let (mut limiter, mut now) = (Limiter::default(), Instant::now());
        for _ in 0..60 {
            assert_eq!(limiter.full_until(Some(60), now), None);
            limiter.take(Some(60), 1, now);
        }
        let until = limiter.full_until(Some(60), now).unwrap();
        assert!((until - now).as_secs_f64() > 0.9 && (until - now).as_secs_f64() < 1.1);
        now = until + Duration::from_millis(1);
        assert_eq!(limiter.full_until(Some(60), now), None);
        assert_eq!(limiter.full_until(None, now), None, "no limit");
    }

    #[test]
    fn what_goes_over_the_limit_is_paid_back_before_the_next() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        limiter.take(Some(1000), 3000, now);
        let until = limiter.full_until(Some(1000), now).unwrap();
        assert!((until - now).as_secs_f64() > 119.0, "two minutes for 2,000 too many");
    }
}
