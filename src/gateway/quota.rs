//! What requests cost and who may spend what: prices, wallets, budgets and rate limits, and who may
//! change them. Money itself is counted by the store's ledger.

pub mod calendar;
pub mod pace;
pub mod price;
mod terms;

use std::sync::Arc;

use hearth_store::{
    ApiTokenId, Budget, Grant, Holder, LimitKind, MAX_PAGE, NewBudget, Period, PriceRow, RateLimit,
    RateLimitRow, Store, Unit, Wallet,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::clock::Clock;
use crate::error::{Error, Result};

pub(crate) use terms::{Terms, TermsCache};

/// Longest name of a model with a price, in bytes.
const MAX_MODEL_BYTES: usize = 256;
/// Longest reason for a grant, in bytes.
const MAX_REASON_BYTES: usize = 256;

/// The rules and those who may change them. Cheap to clone.
#[derive(Clone)]
pub struct Quota {
    store: Store,
    clock: Clock,
    terms: Arc<TermsCache>,
}

/// What binds one holder.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// `None` counts nothing yet and limits nothing.
    pub wallet: Option<Wallet>,
    pub budgets: Vec<Budget>,
}

/// What a caller may still spend.
#[derive(Clone, Debug, Serialize)]
pub struct Remaining {
    /// Micro-dollars, by the tightest wallet and budget; `None` is without a limit.
    pub money_micros: Option<u64>,
    /// Tokens, by the tightest budget.
    pub tokens: Option<u64>,
    /// Requests, by the tightest budget.
    pub requests: Option<u64>,
    /// Wallets of the caller's user, API token and group.
    pub wallets: Vec<Wallet>,
    /// Budgets of the same.
    pub budgets: Vec<Budget>,
}

/// A budget that an admin wants.
#[derive(Clone, Debug)]
pub struct BudgetWish {
    pub holder: Holder,
    pub period: Period,
    pub unit: Unit,
    pub most: u64,
    /// A name of the IANA database.
    pub time_zone: String,
}

impl Quota {
    pub(crate) fn new(store: Store, clock: Clock, terms: Arc<TermsCache>) -> Quota {
        Quota { store, clock, terms }
    }

    /// Changes what a holder may spend. For admins; owners may do it to their own API tokens, whose
    /// wallets only make them spend less than they may themselves.
    pub async fn grant(
        &self,
        caller: &Caller,
        holder: Holder,
        grant: Grant,
        reason: &str,
    ) -> Result<Wallet> {
        self.require_may_grant(caller, holder).await?;
        self.require_exists(holder).await?;
        if reason.len() > MAX_REASON_BYTES || reason.chars().any(char::is_control) {
            let message = "'reason' may have at most 256 bytes and no control characters.";
            return Err(Error::invalid("reason", message));
        }
        let reference = format!("{}: {reason}", caller.name);
        let detail = json!({ "grant": format!("{grant:?}"), "reason": reason });
        let store = self.acting(caller, "quota.grant", named(holder), detail);
        Ok(store.ledger().grant(holder, grant, reference, self.clock.now()).await?)
    }

    /// What binds a holder. For admins, and for owners of API tokens.
    pub async fn account(&self, caller: &Caller, holder: Holder) -> Result<Account> {
        if caller.require_admin().is_err() {
            self.require_own_token(caller, holder).await?;
        }
        self.require_exists(holder).await?;
        let ledger = self.store.ledger();
        Ok(Account {
            wallet: ledger.wallet(holder).await?,
            budgets: self.as_of_now(ledger.budgets(holder).await?),
        })
    }

    /// Wallets of all holders, after `after`. For admins.
    pub async fn wallets(
        &self,
        caller: &Caller,
        after: Option<Holder>,
        limit: u32,
    ) -> Result<Vec<Wallet>> {
        caller.require_admin()?;
        Ok(self.store.ledger().wallets(after, limit.min(MAX_PAGE)).await?)
    }

    /// What the caller may still spend.
    pub async fn remaining(&self, caller: &Caller) -> Result<Remaining> {
        let user = caller.user_id;
        let group = match user {
            Some(user) => self.store.groups().of_user(user).await?.map(|group| group.id),
            None => None,
        };
        let holders = [
            user.map(Holder::User),
            caller.token_id().map(Holder::Token),
            group.map(Holder::Group),
        ];
        let mut left = Remaining {
            money_micros: None,
            tokens: None,
            requests: None,
            wallets: Vec::new(),
            budgets: Vec::new(),
        };
        let lower = |least: &mut Option<u64>, value: u64| {
            *least = Some(least.map_or(value, |least| least.min(value)));
        };
        for holder in holders.into_iter().flatten() {
            if let Some(wallet) = self.store.ledger().wallet(holder).await? {
                if !wallet.is_unlimited {
                    lower(&mut left.money_micros, wallet.remaining.micros());
                }
                left.wallets.push(wallet);
            }
            for budget in self.as_of_now(self.store.ledger().budgets(holder).await?) {
                let there = budget.most.saturating_sub(budget.held.saturating_add(budget.used));
                match budget.unit {
                    Unit::Money => lower(&mut left.money_micros, there),
                    Unit::Tokens => lower(&mut left.tokens, there),
                    Unit::Requests => lower(&mut left.requests, there),
                }
                left.budgets.push(budget);
            }
        }
        Ok(left)
    }

    /// Sets a budget, or replaces the one of the same holder, period and unit. For admins.
    pub async fn set_budget(&self, caller: &Caller, wish: BudgetWish) -> Result<Budget> {
        caller.require_admin()?;
        self.require_exists(wish.holder).await?;
        let zone = calendar::zone_name(&wish.time_zone);
        let window =
            zone.as_ref().and_then(|zone| calendar::span(zone, wish.period, self.clock.now()));
        let (Some(time_zone), Some(window)) = (zone, window) else {
            let message = "'time_zone' is the name of a time zone, such as Europe/Berlin.";
            return Err(Error::invalid("time_zone", message));
        };
        if i64::try_from(wish.most).is_err() {
            return Err(Error::invalid("most", "'most' is too large."));
        }
        let BudgetWish { holder, period, unit, most, .. } = wish;
        let detail =
            json!({ "period": period, "unit": unit, "time_zone": time_zone, "most": most });
        let new = NewBudget { holder, period, unit, time_zone, most, window };
        let store = self.acting(caller, "budgets.set", named(holder), detail);
        Ok(self.terms.change(async { store.ledger().set_budget(new).await }).await?)
    }

    /// Removes a budget. For admins.
    pub async fn remove_budget(&self, caller: &Caller, id: i64) -> Result<()> {
        caller.require_admin()?;
        let store = self.acting(caller, "budgets.remove", format!("budget {id}"), json!({}));
        Ok(self.terms.change(async { store.ledger().remove_budget(id).await }).await?)
    }

    /// Every budget. For admins.
    pub async fn budgets(&self, caller: &Caller) -> Result<Vec<Budget>> {
        caller.require_admin()?;
        Ok(self.as_of_now(self.store.ledger().all_budgets().await?))
    }

    /// Every price.
    pub async fn prices(&self) -> Result<Vec<PriceRow>> {
        Ok(self.store.prices().list().await?)
    }

    /// Sets a price; it counts for requests that begin later. For admins.
    pub async fn set_price(&self, caller: &Caller, row: PriceRow) -> Result<()> {
        caller.require_admin()?;
        check_model(&row.model)?;
        let target = format!("model {}", row.model);
        let store = self.acting(caller, "prices.set", target, json!(row));
        Ok(self.terms.change(async { store.prices().set(row).await }).await?)
    }

    /// Looks at the rules anew, after they were changed by another hand than this.
    pub async fn refresh(&self) {
        let nothing = async { Ok::<(), Error>(()) };
        // It cannot fail: nothing is asked.
        let _ = self.terms.change(nothing).await;
    }

    /// Removes a price. For admins.
    pub async fn remove_price(
        &self,
        caller: &Caller,
        model: String,
        channel: Option<hearth_store::ChannelId>,
    ) -> Result<()> {
        caller.require_admin()?;
        let target = format!("model {model}");
        let store = self.acting(caller, "prices.remove", target, json!({ "channel_id": channel }));
        Ok(self.terms.change(async { store.prices().remove(model, channel).await }).await?)
    }

    /// Every rate limit. For admins.
    pub async fn rate_limits(&self, caller: &Caller) -> Result<Vec<RateLimitRow>> {
        caller.require_admin()?;
        Ok(self.store.rate_limits().list().await?)
    }

    /// Sets a rate limit. For admins.
    pub async fn set_rate_limit(&self, caller: &Caller, row: RateLimitRow) -> Result<()> {
        caller.require_admin()?;
        let is_id = row.holder.parse::<i64>().is_ok_and(|id| id > 0);
        if row.holder != "*" && row.kind != LimitKind::Model && !is_id {
            let message = "'holder' is an id, or * for each without a limit of its own.";
            return Err(Error::invalid("holder", message));
        }
        if row.kind == LimitKind::Model {
            check_model(&row.holder)?;
        }
        let RateLimit { requests_per_minute, tokens_per_minute, concurrent } = row.limit;
        let all = [requests_per_minute, tokens_per_minute, concurrent];
        if all.iter().all(Option::is_none) || all.contains(&Some(0)) {
            let message = "Give at least one limit, and none of 0; remove the row to allow all.";
            return Err(Error::Invalid { param: None, message: message.to_owned() });
        }
        let target = format!("limit of {:?} {}", row.kind, row.holder);
        let store = self.acting(caller, "limits.set", target, json!(row));
        Ok(self.terms.change(async { store.rate_limits().set(row).await }).await?)
    }

    /// Removes a rate limit. For admins.
    pub async fn remove_rate_limit(
        &self,
        caller: &Caller,
        kind: LimitKind,
        holder: String,
    ) -> Result<()> {
        caller.require_admin()?;
        let target = format!("limit of {kind:?} {holder}");
        let store = self.acting(caller, "limits.remove", target, json!({}));
        Ok(self.terms.change(async { store.rate_limits().remove(kind, holder).await }).await?)
    }

    /// The store, through a handle that notes this act with what it writes.
    fn acting(
        &self,
        caller: &Caller,
        action: &'static str,
        target: String,
        detail: Value,
    ) -> Store {
        self.store.audited(caller.act(self.clock.now(), action, target, detail))
    }

    /// Budgets as they stand now: those whose period has ended have nothing used yet.
    fn as_of_now(&self, budgets: Vec<Budget>) -> Vec<Budget> {
        let now = self.clock.now();
        let renewed = |budget: Budget| match calendar::span(&budget.time_zone, budget.period, now) {
            Some(window) if window.start >= budget.window_end => Budget {
                window_start: window.start,
                window_end: window.end,
                held: 0,
                used: 0,
                ..budget
            },
            _ => budget,
        };
        budgets.into_iter().map(renewed).collect()
    }

    async fn require_may_grant(&self, caller: &Caller, holder: Holder) -> Result<()> {
        caller.require_unrestricted()?;
        match caller.require_admin() {
            Ok(()) => Ok(()),
            Err(_) => self.require_own_token(caller, holder).await,
        }
    }

    /// A foreign API token is not found, as an absent one; others' wallets are for admins.
    async fn require_own_token(&self, caller: &Caller, holder: Holder) -> Result<()> {
        let Holder::Token(id) = holder else { return caller.require_admin() };
        let before = Some(ApiTokenId(id.0.saturating_sub(1)));
        let found = self.store.api_tokens().list_of(caller.owner()?, before, 1).await?;
        match found.first() {
            Some(token) if token.id == id => Ok(()),
            _ => Err(Error::NotFound),
        }
    }

    async fn require_exists(&self, holder: Holder) -> Result<()> {
        let exists = match holder {
            Holder::User(id) => self.store.users().by_id(id).await?.is_some(),
            Holder::Group(id) => {
                self.store.groups().list().await?.iter().any(|group| group.id == id)
            }
            Holder::Token(id) => {
                let before = Some(ApiTokenId(id.0.saturating_sub(1)));
                let found = self.store.api_tokens().list_all(before, 1).await?;
                found.first().is_some_and(|token| token.id == id)
            }
        };
        if exists { Ok(()) } else { Err(Error::NotFound) }
    }
}

fn check_model(model: &str) -> Result<()> {
    let is_plain = (1..=MAX_MODEL_BYTES).contains(&model.len())
        && !model.chars().any(|letter| letter.is_control() || letter.is_whitespace());
    if is_plain {
        return Ok(());
    }
    Err(Error::invalid("model", "A model's name has 1 to 256 bytes and no blanks."))
}

/// A holder, for the audit log.
fn named(holder: Holder) -> String {
    format!("{} {}", holder.kind(), holder.id())
}
