//! Rate limits: how many requests and tokens in a minute, and how many requests at once, for users,
//! API tokens, groups and models.
//!
//! Pure arithmetic on whole numbers. The time is passed in and comes from a clock that never goes
//! back. Each limit is a bucket that fills evenly: who was idle for a minute may use a whole
//! minute's share at once.

use std::collections::HashMap;

use hearth_store::{ApiTokenId, GroupId, LimitKind, RateLimit, RateLimitRow, UserId};

/// Milliseconds of a minute: a unit of a bucket is as many parts, so that a limit of `n` in a
/// minute fills `n` parts in each millisecond.
const MINUTE_MS: i64 = 60_000;
/// Most holders whose use is remembered.
const MAX_HOLDERS: usize = 65_536;
/// Stands for each holder of a kind without a limit of its own.
const EACH: &str = "*";

/// Whom a limit binds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    User(UserId),
    Token(ApiTokenId),
    Group(GroupId),
    Model(String),
}

/// What of a limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Requests in a minute.
    Requests,
    /// Tokens in a minute.
    Tokens,
    /// Requests at once.
    Concurrent,
}

/// Why a request must wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooFast {
    pub scope: Scope,
    pub measure: Measure,
    pub limit: u32,
    /// What of it is used now.
    pub used: u32,
    /// What the request asks for.
    pub wanted: u32,
    /// When there is room; of requests at once nobody knows, then it is a guess.
    pub wait_ms: u64,
}

/// What is left of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    pub limit: u32,
    pub remaining: u32,
    /// Until all of it is there again.
    pub reset_ms: u64,
}

/// The limits in force.
#[derive(Debug, Default)]
pub struct Rules {
    own: HashMap<Scope, RateLimit>,
    each_user: Option<RateLimit>,
    each_token: Option<RateLimit>,
    each_group: Option<RateLimit>,
    each_model: Option<RateLimit>,
}

/// Who has used how much of late.
#[derive(Debug, Default)]
pub struct Paces {
    used: HashMap<Scope, Used>,
}

/// What one holder has used.
#[derive(Debug, Default)]
struct Used {
    requests: Bucket,
    tokens: Bucket,
    concurrent: u32,
}

/// What is missing until a bucket is full, in parts; 0 is full.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    missing: i64,
    at_ms: u64,
}

impl Rules {
    /// The limits of these rows; a row whose holder is no id binds nobody.
    pub fn of(rows: &[RateLimitRow]) -> Rules {
        let mut rules = Rules::default();
        for row in rows {
            let limit = row.limit;
            if row.holder == EACH {
                match row.kind {
                    LimitKind::User => rules.each_user = Some(limit),
                    LimitKind::Token => rules.each_token = Some(limit),
                    LimitKind::Group => rules.each_group = Some(limit),
                    LimitKind::Model => rules.each_model = Some(limit),
                }
                continue;
            }
            let id = row.holder.parse();
            let scope = match (row.kind, id) {
                (LimitKind::Model, _) => Scope::Model(row.holder.clone()),
                (LimitKind::User, Ok(id)) => Scope::User(UserId(id)),
                (LimitKind::Token, Ok(id)) => Scope::Token(ApiTokenId(id)),
                (LimitKind::Group, Ok(id)) => Scope::Group(GroupId(id)),
                (_, Err(_)) => continue,
            };
            rules.own.insert(scope, limit);
        }
        rules
    }

    /// Whether nobody is limited.
    pub fn is_empty(&self) -> bool {
        let each = [self.each_user, self.each_token, self.each_group, self.each_model];
        self.own.is_empty() && each.iter().all(Option::is_none)
    }

    /// Whether groups are limited, so that it matters who is in which.
    pub fn has_groups(&self) -> bool {
        self.each_group.is_some() || self.own.keys().any(|scope| matches!(scope, Scope::Group(_)))
    }

    fn limit(&self, scope: &Scope) -> Option<RateLimit> {
        let each = match scope {
            Scope::User(_) => self.each_user,
            Scope::Token(_) => self.each_token,
            Scope::Group(_) => self.each_group,
            Scope::Model(_) => self.each_model,
        };
        self.own.get(scope).copied().or(each)
    }
}

impl Paces {
    /// Counts a call of so many tokens, as far as they are known, for all of these holders, or for
    /// none of them. Returns those who are limited: they are told of its end.
    pub fn begin(
        &mut self,
        rules: &Rules,
        scopes: Vec<Scope>,
        tokens: u32,
        now_ms: u64,
    ) -> Result<Vec<Scope>, TooFast> {
        let limited: Vec<(Scope, RateLimit)> = scopes
            .into_iter()
            .filter_map(|scope| rules.limit(&scope).map(|limit| (scope, limit)))
            .collect();
        for (scope, limit) in &limited {
            if let Some(used) = self.used.get(scope) {
                used.allows(scope, *limit, tokens, now_ms)?;
            }
        }
        let mut counted = Vec::with_capacity(limited.len());
        for (scope, limit) in limited {
            self.make_room(rules, now_ms);
            let used = self.used.entry(scope.clone()).or_default();
            used.concurrent += 1;
            used.requests.take(limit.requests_per_minute, 1, now_ms);
            used.tokens.take(limit.tokens_per_minute, i64::from(tokens), now_ms);
            counted.push(scope);
        }
        Ok(counted)
    }

    /// Ends a call that used so many more tokens than were counted at its begin; what it did not use
    /// comes back.
    pub fn end(&mut self, rules: &Rules, scopes: &[Scope], more_tokens: i64, now_ms: u64) {
        for scope in scopes {
            let Some(used) = self.used.get_mut(scope) else { continue };
            used.concurrent = used.concurrent.saturating_sub(1);
            let limit = rules.limit(scope).and_then(|limit| limit.tokens_per_minute);
            used.tokens.take(limit, more_tokens, now_ms);
        }
    }

    /// What is left of requests and of tokens to the one of these holders who has least of each.
    pub fn left(
        &self,
        rules: &Rules,
        scopes: &[Scope],
        now_ms: u64,
    ) -> (Option<Left>, Option<Left>) {
        let least = |of: fn(RateLimit) -> Option<u32>, bucket: fn(&Used) -> Bucket| {
            scopes
                .iter()
                .filter_map(|scope| {
                    let limit = rules.limit(scope).and_then(of)?;
                    let bucket = self.used.get(scope).map(bucket).unwrap_or_default();
                    Some(bucket.left(limit, now_ms))
                })
                .min_by_key(|left| left.remaining)
        };
        (
            least(|limit| limit.requests_per_minute, |used| used.requests),
            least(|limit| limit.tokens_per_minute, |used| used.tokens),
        )
    }

    /// Holders that are remembered.
    pub fn holders(&self) -> usize {
        self.used.len()
    }

    /// Forgets whoever has nothing under way and all of their limits: as if never seen.
    fn make_room(&mut self, rules: &Rules, now_ms: u64) {
        if self.used.len() < MAX_HOLDERS {
            return;
        }
        self.used.retain(|scope, used| {
            let limit = rules.limit(scope).unwrap_or_default();
            used.concurrent > 0
                || used.requests.missing_at(limit.requests_per_minute, now_ms) > 0
                || used.tokens.missing_at(limit.tokens_per_minute, now_ms) > 0
        });
        if self.used.len() >= MAX_HOLDERS {
            // Everybody is busy: those who have nothing under way begin anew.
            self.used.retain(|_, used| used.concurrent > 0);
        }
    }
}

impl Used {
    fn allows(
        &self,
        scope: &Scope,
        limit: RateLimit,
        tokens: u32,
        now_ms: u64,
    ) -> Result<(), TooFast> {
        let too_fast = |measure, limit, used, wanted, wait_ms| {
            Err(TooFast { scope: scope.clone(), measure, limit, used, wanted, wait_ms })
        };
        if let Some(most) = limit.concurrent
            && self.concurrent >= most
        {
            return too_fast(Measure::Concurrent, most, self.concurrent, 1, 1_000);
        }
        let measures = [
            (Measure::Requests, limit.requests_per_minute, self.requests, 1),
            (Measure::Tokens, limit.tokens_per_minute, self.tokens, tokens),
        ];
        for (measure, most, bucket, wanted) in measures {
            let Some(most) = most else { continue };
            let wait_ms = bucket.wait_ms(most, wanted, now_ms);
            if wait_ms > 0 {
                let used = most - bucket.left(most, now_ms).remaining;
                return too_fast(measure, most, used, wanted, wait_ms);
            }
        }
        Ok(())
    }
}

impl Bucket {
    /// What is missing now, if so much comes back in a minute.
    fn missing_at(&self, limit: Option<u32>, now_ms: u64) -> i64 {
        let Some(limit) = limit else { return 0 };
        let passed = i64::try_from(now_ms.saturating_sub(self.at_ms)).unwrap_or(i64::MAX);
        (self.missing - i64::from(limit).saturating_mul(passed)).max(0)
    }

    fn take(&mut self, limit: Option<u32>, units: i64, now_ms: u64) {
        self.missing = (self.missing_at(limit, now_ms) + units * MINUTE_MS).max(0);
        self.at_ms = self.at_ms.max(now_ms);
        if limit.is_none() {
            self.missing = 0;
        }
    }

    /// Until so many units are there. More than the limit are allowed to a full bucket, which then
    /// needs longer to fill: a large request is late, but not refused for ever.
    fn wait_ms(&self, limit: u32, units: u32, now_ms: u64) -> u64 {
        let most = i64::from(limit) * MINUTE_MS;
        let wanted = i64::from(units.max(1).min(limit)) * MINUTE_MS;
        let short = self.missing_at(Some(limit), now_ms) + wanted - most;
        if short <= 0 {
            return 0;
        }
        short.unsigned_abs().div_ceil(u64::from(limit))
    }

    fn left(&self, limit: u32, now_ms: u64) -> Left {
        let missing = self.missing_at(Some(limit), now_ms).unsigned_abs();
        let gone = u32::try_from(missing.div_ceil(MINUTE_MS as u64)).unwrap_or(u32::MAX);
        Left {
            limit,
            remaining: limit.saturating_sub(gone),
            reset_ms: missing.div_ceil(u64::from(limit)),
        }
    }
}

#[cfg(test)]
mod tests;
