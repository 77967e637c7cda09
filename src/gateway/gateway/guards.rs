//! Rules for what may go in and out: secrets, personal data, words. A rule blocks, masks or notes.
//!
//! Off until an admin makes one. What was found is never told or logged, only by which rule, and
//! how often.

mod pattern;
mod prompt;
mod stream;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hearth_store::Store;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::task::TaskTracker;

use super::Gateway;
use super::rulebook::{Audience, Rulebook, Rules};
use crate::caller::Caller;
use crate::channels::check_name;
use crate::clock::Clock;
use crate::error::{Error, Result};

use pattern::Pattern;

pub use pattern::{Find, Known};
pub(super) use stream::Watcher;

/// Most rules.
const MAX_RULES: usize = 100;
/// Most blocks that the audit log notes in a minute; the metrics count all.
const NOTED_PER_MINUTE: u32 = 60;

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardRule {
    /// As refusals, metrics and the audit log call it; unique.
    pub name: String,
    #[serde(default)]
    pub audience: Audience,
    #[serde(default)]
    pub on: Side,
    pub find: Find,
    pub action: Action,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Request,
    Response,
    #[default]
    Both,
}

/// What happens to a request or an answer in which something is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is refused, or ends there.
    Block,
    /// The rule's name stands in its place.
    Mask,
    /// It is counted.
    Note,
}

/// How often a rule found something since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuardStats {
    pub rule: String,
    pub requests: u64,
    pub responses: u64,
}

/// A rule that is ready.
struct Ready {
    rule: GuardRule,
    patterns: Vec<Pattern>,
    requests: AtomicU64,
    responses: AtomicU64,
}

/// All rules.
#[derive(Default)]
struct GuardRules(Vec<Arc<Ready>>);

impl Rules for GuardRules {
    const KEY: &'static str = "guards";
    type Kept = Vec<GuardRule>;

    fn of(kept: Vec<GuardRule>) -> Result<GuardRules> {
        let ready = |rule: GuardRule| {
            let patterns = Pattern::all(&rule.find, &rule.name)?;
            let (requests, responses) = (AtomicU64::new(0), AtomicU64::new(0));
            Ok(Arc::new(Ready { rule, patterns, requests, responses }))
        };
        kept.into_iter().map(ready).collect::<Result<_>>().map(GuardRules)
    }
}

/// The rules that concern one request, on one side or both.
#[derive(Clone, Default)]
pub(super) struct Applied {
    rules: Vec<Arc<Ready>>,
    is_response: bool,
}

/// Something that was found.
struct Match {
    range: Range<usize>,
    /// What is told instead.
    instead: String,
}

/// What was found in a text: what is to be masked, in order and without overlaps.
struct Found {
    matches: Vec<Match>,
    verdict: Verdict,
}

/// Whether a request or an answer may go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    #[default]
    Pass,
    /// This rule blocks it.
    Block(String),
}

impl Verdict {
    /// The first that blocks.
    pub(super) fn or(self, other: Verdict) -> Verdict {
        if self == Verdict::Pass { other } else { self }
    }
}

impl Applied {
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Those of one side.
    pub(super) fn on(&self, side: Side) -> Applied {
        let looks = |ready: &&Arc<Ready>| [side, Side::Both].contains(&ready.rule.on);
        let rules = self.rules.iter().filter(looks).cloned().collect();
        Applied { rules, is_response: side == Side::Response }
    }

    /// Looks at a text from `from` to `until`, and counts what is found.
    fn look(&self, text: &str, from: usize, until: usize) -> Found {
        let mut matches: Vec<Match> = Vec::new();
        let mut verdict = Verdict::Pass;
        for ready in &self.rules {
            let before = matches.len();
            let mut count = 0;
            for pattern in &ready.patterns {
                let found = pattern.find(text, from).filter(|range| range.start < until);
                for range in found {
                    count += 1;
                    let instead = format!("[{}]", pattern.name);
                    matches.push(Match { range, instead });
                }
            }
            if ready.rule.action != Action::Mask {
                matches.truncate(before);
            }
            if count > 0 {
                ready.count(self.is_response, count);
                if ready.rule.action == Action::Block {
                    verdict = verdict.or(Verdict::Block(ready.rule.name.clone()));
                }
            }
        }
        matches.sort_by_key(|found| (found.range.start, std::cmp::Reverse(found.range.end)));
        let mut end = 0;
        matches.retain(|found| {
            let is_free = found.range.start >= end;
            end = end.max(found.range.end);
            is_free
        });
        Found { matches, verdict }
    }

    /// The first place from which on more text could make or change a match of any rule.
    fn undecided_from(&self, text: &str, from: usize) -> usize {
        let patterns = self.rules.iter().flat_map(|ready| &ready.patterns);
        let places = patterns.map(|pattern| pattern.undecided_from(text, from));
        places.min().unwrap_or(text.len())
    }
}

impl Ready {
    fn count(&self, is_response: bool, count: u64) {
        let counter = if is_response { &self.responses } else { &self.requests };
        counter.fetch_add(count, Ordering::Relaxed);
        tracing::info!(guard.rule = %self.rule.name, is_response, count, "a guard found something");
    }
}

/// The rules, and the notes of what they blocked.
pub(super) struct Guards {
    rules: Rulebook<GuardRules>,
    clock: Clock,
    tasks: TaskTracker,
    /// The minute, and how many blocks were noted in it.
    noted: Mutex<(i64, u32)>,
}

impl Guards {
    pub(super) fn new(store: Store, clock: Clock, tasks: TaskTracker) -> Guards {
        Guards { rules: Rulebook::new(store), clock, tasks, noted: Mutex::default() }
    }

    /// The rules for a request of this caller for a model, by its full name.
    pub(super) async fn of(&self, caller: &Caller, model: &str) -> Result<Applied> {
        let rules = self.rules.get().await?;
        let covers = |ready: &&Arc<Ready>| ready.rule.audience.covers(caller, model);
        let rules = rules.0.iter().filter(covers).cloned().collect();
        Ok(Applied { rules, is_response: false })
    }

    /// The error of a request that a rule blocks.
    pub(super) fn allow(&self, verdict: Verdict, caller: &Caller, model: &str) -> Result<()> {
        let Verdict::Block(rule) = verdict else { return Ok(()) };
        self.note_block(&rule, caller, model, "request");
        let message = format!("The rule `{rule}` of this server does not allow this request.");
        Err(Error::Blocked(message))
    }

    /// Notes in the audit log that a rule has blocked something; not what it was.
    pub(super) fn note_block(&self, rule: &str, caller: &Caller, model: &str, side: &str) {
        let now = self.clock.now();
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.0 != now / 60 {
                *noted = (now / 60, 0);
            }
            if noted.1 >= NOTED_PER_MINUTE {
                return;
            }
            noted.1 += 1;
        }
        let detail = json!({ "side": side, "model": model });
        let act = caller.act(now, "guards.block", format!("guard {rule}"), detail);
        let store = self.rules.store().clone();
        self.tasks.spawn(async move {
            if let Err(error) = store.audit().note(act).await {
                tracing::warn!(%error, "a block is not in the audit log");
            }
        });
    }
}

impl Gateway {
    /// The rules for what may go in and out, and what they found. For admins.
    pub async fn guards(&self, caller: &Caller) -> Result<(Vec<GuardRule>, Vec<GuardStats>)> {
        caller.require_admin()?;
        let rules = self.inner.guards.rules.read().await?;
        Ok((rules, self.guard_stats().await))
    }

    /// Replaces them. For admins.
    pub async fn set_guards(&self, caller: &Caller, mut rules: Vec<GuardRule>) -> Result<()> {
        caller.require_admin()?;
        let guards = &self.inner.guards;
        if rules.len() > MAX_RULES {
            let message = format!("There may be {MAX_RULES} rules at most.");
            return Err(Error::invalid("rules", message));
        }
        let mut names = HashMap::new();
        for rule in &mut rules {
            check_name("name", &rule.name)?;
            if names.insert(rule.name.clone(), ()).is_some() {
                let message = format!("There are two rules `{}`.", rule.name);
                return Err(Error::invalid("name", message));
            }
            Pattern::check_length(&rule.find)?;
            rule.audience.check(guards.rules.store()).await?;
        }
        let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
        // What is looked for may itself be what nobody is to know.
        let detail = json!({ "rules": names });
        let act = caller.act(guards.clock.now(), "guards.set", "guards".to_owned(), detail);
        let store = guards.rules.store().audited(act);
        guards.rules.set(&store, rules).await
    }

    /// How often each rule found something.
    pub async fn guard_stats(&self) -> Vec<GuardStats> {
        let Ok(rules) = self.inner.guards.rules.get().await else { return Vec::new() };
        let stats = |ready: &Arc<Ready>| GuardStats {
            rule: ready.rule.name.clone(),
            requests: ready.requests.load(Ordering::Relaxed),
            responses: ready.responses.load(Ordering::Relaxed),
        };
        rules.0.iter().map(stats).collect()
    }
}
