//! Keeps requests away from a channel that fails, and lets one through now and then to see.

use std::time::{Duration, Instant};

/// Parts of the window, and how long each is.
const PARTS: usize = 6;
const PART: Duration = Duration::from_secs(10);
/// Failures in the window without which the breaker stays closed.
const LEAST_FAILURES: u32 = 5;
/// How long it stays open: doubled each time the probe fails, up to the second.
const OPEN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// A probe that has not ended after this long is given up.
const PROBE_LIMIT: Duration = Duration::from_secs(120);

/// Closed, open or half open.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// Successes and failures, the newest part last.
    parts: [(u32, u32); PARTS],
    part_since: Option<Instant>,
    /// While it is open: until when, and how often it was opened in a row.
    open: Option<(Instant, u32)>,
    /// Since when a live request tries whether it is well again.
    probe_since: Option<Instant>,
}

impl Breaker {
    /// Whether requests are kept away. Half open it lets one through.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        let Some((until, _)) = self.open else { return false };
        let is_probed = self.probe_since.is_some_and(|since| now < since + PROBE_LIMIT);
        now < until || is_probed
    }

    /// A request is sent.
    pub(crate) fn begin(&mut self, now: Instant) {
        if self.open.is_some_and(|(until, _)| now >= until) {
            self.probe_since = Some(now);
        }
    }

    pub(crate) fn succeed(&mut self, now: Instant) {
        self.turn(now);
        if self.open.take().is_some() {
            self.parts = Default::default();
        }
        self.probe_since = None;
        self.parts[PARTS - 1].0 += 1;
    }

    pub(crate) fn fail(&mut self, now: Instant) {
        self.turn(now);
        self.parts[PARTS - 1].1 += 1;
        let times = match self.open {
            // What was sent before it opened fails late and says nothing new.
            Some((until, _)) if now < until => return,
            Some((_, times)) => times + 1,
            None if self.has_failed_enough() => 0,
            None => return,
        };
        let time = OPEN.0.saturating_mul(1 << times.min(10)).min(OPEN.1);
        self.open = Some((now + time, times));
        self.probe_since = None;
    }

    /// A request has ended that may have said nothing.
    pub(crate) fn forget(&mut self) {
        self.probe_since = None;
    }

    /// Half of all requests in the window, and not too few.
    fn has_failed_enough(&self) -> bool {
        let (ok, failed) =
            self.parts.iter().fold((0, 0), |(ok, failed), part| (ok + part.0, failed + part.1));
        failed >= LEAST_FAILURES && failed >= ok
    }

    fn turn(&mut self, now: Instant) {
        let since = *self.part_since.get_or_insert(now);
        let passed = now.saturating_duration_since(since).as_secs() / PART.as_secs();
        let passed = usize::try_from(passed).unwrap_or(usize::MAX).min(PARTS);
        if passed == 0 {
            return;
        }
        self.parts.rotate_left(passed.min(PARTS));
        for part in &mut self.parts[PARTS - passed..] {
            *part = (0, 0);
        }
        self.part_since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_opens_when_half_of_enough_requests_fail() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..4 {
            breaker.fail(now);
            assert!(!breaker.is_open(now));
        }
        breaker.fail(now);
        assert!(breaker.is_open(now) && breaker.is_open(now + 9 * SECOND));
        let mut mostly_well = Breaker::default();
        for _ in 0..20 {
            mostly_well.succeed(now);
            mostly_well.succeed(now);
            mostly_well.fail(now);
        }
        assert!(!mostly_well.is_open(now));
    }

    #[test]
    fn half_open_lets_one_request_through_and_goes_by_what_becomes_of_it() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        for _ in 0..5 {
            breaker.fail(now);
        }
        now += 10 * SECOND;
        assert!(!breaker.is_open(now));
        breaker.begin(now);
        assert!(breaker.is_open(now), "the others wait for the probe");
        breaker.fail(now);
        assert!(breaker.is_open(now + 19 * SECOND), "twice as long");
        now += 20 * SECOND;
        breaker.begin(now);
        breaker.forget();
        assert!(!breaker.is_open(now), "a probe that nobody waited for is another's chance");
        breaker.begin(now);
        breaker.succeed(now);
        assert!(!breaker.is_open(now));
        breaker.fail(now);
        assert!(!breaker.is_open(now), "it begins anew");
    }

    #[test]
    fn old_failures_are_forgotten() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for minute in 0..20 {
            breaker.fail(now + 61 * SECOND * minute);
            assert!(!breaker.is_open(now + 61 * SECOND * minute));
        }
    }
}
