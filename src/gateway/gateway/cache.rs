//! Answers that are kept for whoever asks the very same again.
//!
//! Off until an admin makes a rule. Two requests are the same if all that can change the answer is,
//! whatever dialects they came in; what is kept for one user or group is nobody else's, for the key
//! is salted with them. In memory alone, bounded in bytes and in age.

mod kept;

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hearth_store::Store;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::Gateway;
use super::rulebook::{Audience, Rulebook, Rules};
use crate::call::CacheWish;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::event::{Event, EventStream, FinishReason, Usage};
use crate::request::{Delivery, GenerateRequest, Priority, RequestId};

use kept::{Entry, Kept};

/// Longest answer that is kept, in bytes.
const MAX_ENTRY_BYTES: usize = 1 << 20;
/// Most rules.
const MAX_RULES: usize = 100;
/// Longest time that an answer is kept.
const MAX_AGE_S: u32 = 30 * 24 * 60 * 60;

/// Whose answers are kept, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheRule {
    #[serde(default)]
    pub audience: Audience,
    #[serde(default = "an_hour")]
    pub max_age_s: u32,
    /// Whether members of the group get each other's answers; otherwise each user has their own.
    #[serde(default)]
    pub shared: bool,
    /// Whether answers are kept that would be drawn anew each time: those without temperature 0.
    #[serde(default)]
    pub sampled: bool,
    /// Whether a kept answer costs what a new one would.
    #[serde(default)]
    pub bills: bool,
}

fn an_hour() -> u32 {
    60 * 60
}

/// What is kept now, and what it was good for since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheStats {
    pub entries: u64,
    pub bytes: u64,
    pub hits: u64,
    pub misses: u64,
}

/// The rules, the first that concerns a request counts.
struct CacheRules(Vec<CacheRule>);

impl Rules for CacheRules {
    const KEY: &'static str = "response_cache";
    type Kept = Vec<CacheRule>;

    fn of(kept: Vec<CacheRule>) -> Result<CacheRules> {
        Ok(CacheRules(kept))
    }
}

/// The answers that are kept.
pub(super) struct Cache {
    rules: Rulebook<CacheRules>,
    /// Nobody outside can tell from a key what was asked.
    salt: [u8; 32],
    kept: Mutex<Kept>,
}

/// What is known of a request before it is answered.
pub(super) enum Look {
    /// No rule keeps such answers.
    Off,
    Hit(Hit),
    Miss(Recording),
}

/// A kept answer.
pub(super) struct Hit {
    entry: Arc<Entry>,
    /// Whether it costs what a new one would.
    pub(super) bills: bool,
}

/// An answer under way that may be kept.
pub(super) struct Recording {
    cache: Arc<Cache>,
    key: [u8; 32],
    max_age: Duration,
    events: Vec<Event>,
    bytes: usize,
    is_worth_it: bool,
}

impl Cache {
    pub(super) fn new(store: Store, max_bytes: u64) -> Cache {
        let kept = Mutex::new(Kept::new(usize::try_from(max_bytes).unwrap_or(usize::MAX)));
        Cache { rules: Rulebook::new(store), salt: rand::random(), kept }
    }

    /// Whether the answer to this request is kept, or may be. `request`: with the model's full name.
    pub(super) async fn look(
        self: &Arc<Cache>,
        caller: &Caller,
        request: &GenerateRequest,
    ) -> Result<Look> {
        let rules = self.rules.get().await?;
        let covers = |rule: &&CacheRule| rule.audience.covers(caller, &request.model);
        let Some(rule) = rules.0.iter().find(covers) else { return Ok(Look::Off) };
        let wish = caller.scope.notes.cache;
        let is_drawn_anew = request.sampling.temperature != Some(0.0);
        let is_allowed = !is_drawn_anew || rule.sampled || wish == CacheWish::Use;
        // What is at an address may change, and so may what a provider's own tools find.
        let is_of_its_time =
            request.urls().next().is_some() || !request.rules.foreign_tools.is_empty();
        if wish == CacheWish::Skip || !is_allowed || is_of_its_time || self.lock().is_off() {
            return Ok(Look::Off);
        }
        let key = self.key(caller, rule, request);
        let max_age = Duration::from_secs(rule.max_age_s.into());
        let found = self.lock().find(&key, max_age, Instant::now());
        caller.scope.notes.mark.set(found.is_some());
        Ok(match found {
            Some(entry) => Look::Hit(Hit { entry, bills: rule.bills }),
            None => Look::Miss(Recording {
                cache: Arc::clone(self),
                key,
                max_age,
                events: Vec::new(),
                bytes: 0,
                is_worth_it: true,
            }),
        })
    }

    /// All that can change the answer, and whose it is.
    fn key(&self, caller: &Caller, rule: &CacheRule, request: &GenerateRequest) -> [u8; 32] {
        let mut hash = Hashing(Sha256::new_with_prefix(self.salt));
        let (user, group) = (caller.user_id, caller.scope.group_id);
        let owner = if rule.shared { (None, group) } else { (user, group) };
        let mut asked = GenerateRequest { id: RequestId(String::new()), ..request.clone() };
        asked.priority = Priority::default();
        asked.rules.delivery = Delivery::default();
        // Every field stands in it, quoted where it is a text: what differs anywhere differs here.
        let _ = write!(hash, "{owner:?} {asked:?}");
        hash.0.finalize().into()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hashes what is written.
struct Hashing(Sha256);

impl Write for Hashing {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

impl Hit {
    /// The answer, as it was told the first time.
    pub(super) fn stream(&self) -> EventStream {
        let events = &self.entry.events;
        let (sender, stream) = mpsc::channel(events.len().max(1));
        for event in events {
            // There is room for all of them, and the receiver stands above.
            let _ = sender.try_send(Ok(event.clone()));
        }
        stream
    }
}

impl Recording {
    pub(super) fn note(&mut self, event: &Event) {
        if !self.is_worth_it {
            return;
        }
        self.bytes += kept::bytes_of(event);
        let is_whole = match event {
            Event::Finished { reason, .. } => matches!(
                reason,
                FinishReason::Stop
                    | FinishReason::StopText(_)
                    | FinishReason::Length
                    | FinishReason::ToolCalls
            ),
            _ => true,
        };
        if self.bytes > MAX_ENTRY_BYTES || !is_whole {
            self.is_worth_it = false;
            self.events = Vec::new();
            return;
        }
        self.events.push(event.clone());
    }

    /// The answer has ended by itself.
    pub(super) fn keep(mut self, usage: Usage) {
        // Times are of the first time.
        let usage = Usage {
            queue_ms: 0,
            first_token_ms: 0,
            total_ms: 0,
            load_ns: 0,
            prompt_ns: 0,
            answer_ns: 0,
            ..usage
        };
        self.note(&Event::Done(usage));
        if self.is_worth_it {
            let Recording { cache, key, max_age, events, bytes, .. } = self;
            let entry = Entry { events, bytes, until: Instant::now() + max_age };
            cache.lock().put(key, entry, Instant::now());
        }
    }
}

impl Gateway {
    /// The rules by which answers are kept, and what is kept. For admins.
    pub async fn cache(&self, caller: &Caller) -> Result<(Vec<CacheRule>, CacheStats)> {
        caller.require_admin()?;
        let rules = self.inner.cache.rules.read().await?;
        Ok((rules, self.inner.cache.lock().stats()))
    }

    /// Replaces those rules and forgets what was kept. For admins.
    pub async fn set_cache_rules(&self, caller: &Caller, mut rules: Vec<CacheRule>) -> Result<()> {
        caller.require_admin()?;
        let cache = &self.inner.cache;
        if rules.len() > MAX_RULES {
            let message = format!("There may be {MAX_RULES} rules at most.");
            return Err(Error::invalid("rules", message));
        }
        for rule in &mut rules {
            if !(1..=MAX_AGE_S).contains(&rule.max_age_s) {
                let message = format!("`max_age_s` must be 1 to {MAX_AGE_S}.");
                return Err(Error::invalid("max_age_s", message));
            }
            rule.audience.check(cache.rules.store()).await?;
        }
        let store = acting(caller, cache.rules.store(), &self.inner.clock, json!(rules));
        cache.rules.set(&store, rules).await?;
        cache.lock().clear();
        Ok(())
    }

    /// Forgets all kept answers; says how many there were. For admins.
    pub fn clear_cache(&self, caller: &Caller) -> Result<u64> {
        caller.require_admin()?;
        Ok(self.inner.cache.lock().clear())
    }

    /// What is kept now, for the metrics.
    pub fn cache_stats(&self) -> CacheStats {
        self.inner.cache.lock().stats()
    }
}

fn acting(caller: &Caller, store: &Store, clock: &Clock, detail: serde_json::Value) -> Store {
    store.audited(caller.act(clock.now(), "cache.set", "response cache".to_owned(), detail))
}
