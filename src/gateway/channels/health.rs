//! How a channel and each of its keys fare: whether they may be asked, and figures of what they
//! did. In memory alone; every time is passed in.

mod breaker;
mod limiter;
mod stats;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use breaker::Breaker;
use limiter::Limiter;
use stats::Stats;
pub use stats::{ChannelStats, ModelStats};

use super::spec::Limits;

/// How long a key rests after a refusal that says no time: doubled each time, up to the second.
const KEY_REST: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// How long a key rests after too many requests, where the provider says no time.
pub(crate) const BUSY_REST: Duration = Duration::from_secs(2);
/// Longest rest that a provider can ask for.
const MAX_REST: Duration = Duration::from_secs(3600);

/// How a channel fares.
#[derive(Default)]
pub(crate) struct Health {
    in_flight: AtomicU32,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    breaker: Breaker,
    requests: Limiter,
    tokens: Limiter,
    stats: Stats,
}

/// How a key fares.
#[derive(Default)]
pub(crate) struct KeyHealth {
    inner: Mutex<KeyInner>,
}

#[derive(Default)]
struct KeyInner {
    rests_until: Option<Instant>,
    /// Refusals in a row.
    refusals: u32,
}

/// Counts one request that a channel answers, until it is dropped.
pub(crate) struct InFlight(Arc<Health>);

impl Health {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether the breaker lets requests through.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.lock().breaker.is_open(now)
    }

    /// When the limits let another request through, if they do not now.
    pub(crate) fn full_until(&self, limits: &Limits, now: Instant) -> Option<Instant> {
        if limits.concurrent.is_some_and(|most| self.in_flight() >= most) {
            // Nobody knows when one ends; soon enough to ask again.
            return Some(now + Duration::from_millis(100));
        }
        let mut inner = self.lock();
        let requests = inner.requests.full_until(limits.requests_per_minute, now);
        let tokens = inner.tokens.full_until(limits.tokens_per_minute, now);
        requests.max(tokens)
    }

    /// A request is sent.
    pub(crate) fn begin(self: &Arc<Health>, limits: &Limits, now: Instant) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let mut inner = self.lock();
        inner.breaker.begin(now);
        inner.requests.take(limits.requests_per_minute, 1, now);
        InFlight(Arc::clone(self))
    }

    /// The answer has begun; `took`: where that is not when it ended.
    pub(crate) fn note_first(&self, model: &str, took: Option<Duration>, now: Instant) {
        let mut inner = self.lock();
        inner.breaker.succeed(now);
        inner.stats.note_first(model, took);
    }

    /// The answer has ended; `took`: since it began.
    pub(crate) fn note_end(&self, model: &str, used: Used, limits: &Limits, now: Instant) {
        let mut inner = self.lock();
        let tokens = used.prompt_tokens.saturating_add(used.completion_tokens);
        inner.tokens.take(limits.tokens_per_minute, tokens, now);
        inner.stats.note_end(model, used);
    }

    /// The provider has refused a request that it does not like, and is well.
    pub(crate) fn note_refusal(&self, model: &str, now: Instant) {
        let mut inner = self.lock();
        inner.breaker.succeed(now);
        inner.stats.note_refusal(model);
    }

    /// The provider has failed.
    pub(crate) fn note_failure(&self, model: &str, problem: &str, now: Instant) {
        let mut inner = self.lock();
        inner.breaker.fail(now);
        inner.stats.note_failure(model, problem);
    }

    pub(crate) fn stats(&self, now: Instant) -> ChannelStats {
        let inner = self.lock();
        inner.stats.show(self.in_flight(), inner.breaker.is_open(now))
    }

    /// The median time until the first token.
    pub(crate) fn first_token_ms(&self) -> Option<u64> {
        self.lock().stats.first_token_ms(50)
    }

    /// The time within which 95 of 100 answers have begun, once enough were measured.
    pub(crate) fn slow_first_token_ms(&self) -> Option<u64> {
        self.lock().stats.slow_first_token_ms()
    }
}

/// What one answer used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
    /// From its first token on; `None` of an answer that came whole.
    pub(crate) took: Option<Duration>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        // If it was a probe that nobody waited for to the end, another may be one.
        self.0.lock().breaker.forget();
    }
}

impl KeyHealth {
    fn lock(&self) -> MutexGuard<'_, KeyInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the key may be used again, if not now.
    pub(crate) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.lock().rests_until.filter(|until| *until > now)
    }

    pub(crate) fn note_success(&self) {
        *self.lock() = KeyInner::default();
    }

    /// The provider does not take the key: it rests, and is tried again by a live request.
    pub(crate) fn note_refusal(&self, now: Instant) {
        let mut inner = self.lock();
        let rest = KEY_REST.0.saturating_mul(1 << inner.refusals.min(10)).min(KEY_REST.1);
        inner.refusals += 1;
        inner.rests_until = Some(now + rest);
    }

    /// The provider wants no more requests for so long.
    pub(crate) fn rest(&self, time: Option<Duration>, now: Instant) {
        let time = time.unwrap_or(BUSY_REST).min(MAX_REST);
        self.lock().rests_until = Some(now + time);
    }
}
