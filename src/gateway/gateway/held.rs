//! What a request holds of its payers' money while it runs: set aside before it works, made more of
//! where its length is open, and given back by itself if nothing settles it.

use std::sync::Arc;

use hearth_store::{
    Amounts, ChannelId, Error as StoreError, MicroDollars, Price, Reservation, Store,
};
use tokio_util::task::TaskTracker;

use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::event::Usage;
use crate::quota::calendar;
use crate::quota::price::{self, Counts, ModelPrice};

/// Seconds beyond the longest request after which a hold counts as forgotten.
const EXPIRY_MARGIN_S: i64 = 600;

/// What a request may spend, by what its model costs.
pub(super) struct Held {
    prices: Arc<ModelPrice>,
    price: Price,
    given: Amounts,
    /// Tokens by which an answer of open length grows, all choices together; `None` has an end.
    step: Option<u64>,
    ticket: Ticket,
}

/// What is asked of the payers.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    pub(super) prices: Arc<ModelPrice>,
    pub(super) prompt_tokens: u64,
    /// Tokens that the prompt may have beyond these, where they are not known exactly.
    pub(super) more_prompt_tokens: u64,
    /// Fewest and most tokens of the answers, all choices together.
    pub(super) least_tokens: u64,
    pub(super) most_tokens: u64,
    pub(super) step: Option<u64>,
}

/// Names a request in the ledger, and takes it back there unless it is settled.
pub(super) struct Ticket {
    id: String,
    store: Store,
    tasks: TaskTracker,
    is_settled: bool,
}

/// Whether a running answer may go on.
#[derive(Debug, PartialEq)]
pub(super) enum Allowance {
    Enough,
    UsedUp(Error),
}

impl Held {
    /// Sets aside what a request may need.
    pub(super) async fn reserve(
        (store, tasks): (&Store, &TaskTracker),
        caller: &Caller,
        id: &str,
        wish: Wish,
        (now, longest_s): (i64, u32),
    ) -> Result<Held> {
        let price = wish.prices.worst();
        let amounts = |prompt: u64, completion: u64| {
            let counts = Counts { prompt, cached: 0, completion };
            let money = price::cost(&price, counts).ok_or_else(|| {
                let message = "This request could cost more than any wallet holds; lower its \
                               'max_tokens'.";
                Error::invalid("max_tokens", message)
            })?;
            Ok::<_, Error>(Amounts { money, tokens: prompt.saturating_add(completion) })
        };
        let most_prompt = wish.prompt_tokens.saturating_add(wish.more_prompt_tokens);
        let reservation = Reservation {
            request_id: id.to_owned(),
            user_id: caller.user_id,
            token_id: caller.token_id(),
            least: amounts(wish.prompt_tokens, wish.least_tokens)?,
            most: amounts(most_prompt, wish.most_tokens)?,
            now,
            expires_at: now + i64::from(longest_s) + EXPIRY_MARGIN_S,
            calendar: calendar::span,
        };
        // Made before the store is asked: whoever stops waiting for it gives back what it gave.
        let ticket = Ticket {
            id: id.to_owned(),
            store: store.clone(),
            tasks: tasks.clone(),
            is_settled: false,
        };
        let given = store.ledger().reserve(reservation).await?;
        Ok(Held { price: wish.prices.own, prices: wish.prices, given, step: wish.step, ticket })
    }

    /// Tokens of the answers that are paid for beside this prompt, all choices together.
    pub(super) fn longest(&self, prompt_tokens: u64) -> u64 {
        let by_money = price::longest(&self.prices.worst(), prompt_tokens, self.given.money);
        let by_tokens = self.given.tokens.saturating_sub(prompt_tokens);
        by_money.unwrap_or(0).min(by_tokens)
    }

    /// Notes who answers: from now on its price counts.
    pub(super) fn served_by(&mut self, channel: ChannelId) {
        self.price = self.prices.of(Some(channel));
    }

    /// What this much costs; what no wallet can hold costs as much as one can.
    pub(super) fn cost(&self, usage: &Usage) -> MicroDollars {
        price::cost(&self.price, counts(usage)).unwrap_or(MicroDollars::MAX)
    }

    /// Whether this much may be used. An answer of open length asks for more.
    pub(super) async fn allow(&mut self, usage: &Usage) -> Result<Allowance> {
        let used = Amounts { money: self.cost(usage), tokens: tokens(usage) };
        if used.money <= self.given.money && used.tokens <= self.given.tokens {
            return Ok(Allowance::Enough);
        }
        let Some(step) = self.step else {
            return Ok(Allowance::UsedUp(used_up()));
        };
        let grown = Usage {
            completion_tokens: usage.completion_tokens.saturating_add(narrow(step)),
            ..*usage
        };
        let wanted = Amounts { money: self.cost(&grown), tokens: tokens(&grown) };
        let beyond = |amounts: Amounts| Amounts {
            money: amounts.money.saturating_sub(self.given.money),
            tokens: amounts.tokens.saturating_sub(self.given.tokens),
        };
        let ledger = self.ticket.store.ledger();
        let more = ledger.extend(self.ticket.id.clone(), beyond(used), beyond(wanted)).await;
        match more {
            Ok(more) => {
                let money = self.given.money.checked_add(more.money);
                self.given.money = money.unwrap_or(MicroDollars::MAX);
                self.given.tokens = self.given.tokens.saturating_add(more.tokens);
                Ok(Allowance::Enough)
            }
            Err(error @ StoreError::Short(_)) => Ok(Allowance::UsedUp(error.into())),
            // It has expired: nothing is held any more, and nothing more is given.
            Err(StoreError::NotFound) => Ok(Allowance::UsedUp(used_up())),
            Err(other) => Err(other.into()),
        }
    }

    /// The ledger takes over: it has been told what was used.
    pub(super) fn settled(mut self) {
        self.ticket.is_settled = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        let (store, id) = (self.store.clone(), std::mem::take(&mut self.id));
        // Without a runtime the process is ending; the next start gives everything back.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        self.tasks.spawn_on(
            async move {
                if let Err(error) = store.ledger().void(id).await {
                    tracing::warn!(%error, "what a request held comes back when it expires");
                }
            },
            &runtime,
        );
    }
}

fn counts(usage: &Usage) -> Counts {
    Counts {
        prompt: u64::from(usage.prompt_tokens),
        cached: u64::from(usage.cached_tokens),
        completion: u64::from(usage.completion_tokens),
    }
}

fn tokens(usage: &Usage) -> u64 {
    u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens)
}

fn narrow(tokens: u64) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

fn used_up() -> Error {
    let message = "You exceeded your current quota, please check your plan and billing details: \
                   what was set aside for this answer is used up.";
    Error::OutOfQuota { message: message.to_owned(), resets_at: None }
}
