//! Writes down what each request used, once, however it ended, and takes what it cost.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hearth_store::{
    ChannelId, Error as StoreError, MicroDollars, Outcome, Settled, Store, UsageRow,
};
use tokio_util::task::TaskTracker;

use super::held::{Held, Wish};
use crate::caller::Caller;
use crate::clock::Clock;
use crate::error::Result;
use crate::event::Usage;
use crate::quota::TermsCache;
use crate::quota::price::ModelPrice;
use crate::request::RequestId;

/// Rows that wait for a disk that takes them again.
const MAX_UNWRITTEN: usize = 10_000;

/// On whose account a request runs.
pub(super) struct Account {
    /// The ledger's own name: ids of clients may repeat.
    id: String,
    request_id: String,
    pub(super) caller: Caller,
    pub(super) model: String,
    channel: Option<ChannelId>,
    /// `None` costs nothing and is bound by no budget.
    pub(super) held: Option<Held>,
    /// Choices whose first text repeats the prompt, which nobody generated.
    pub(super) echoes: u16,
    /// Answers that it asks for.
    pub(super) choices: u16,
    /// Whether a kept answer is given.
    pub(super) is_kept: bool,
}

/// What was done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that were answered whole.
    pub complete: u64,
    /// Requests whose client went away.
    pub stopped: u64,
    /// Requests that failed after they were accepted.
    pub failed: u64,
    /// Calls and requests that were not accepted.
    pub refused: u64,
    /// Tokens of all accepted prompts.
    pub prompt_tokens: u64,
    /// Tokens of all answers.
    pub completion_tokens: u64,
}

/// How a request ended, for the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    /// Why, in a word, where the outcome alone does not say.
    pub(super) reason: Option<&'static str>,
}

/// The books: a row per request in the store, and sums in memory.
pub(super) struct Books {
    store: Store,
    clock: Clock,
    pub(super) terms: Arc<TermsCache>,
    /// Longest time of a request.
    longest_s: u32,
    tasks: TaskTracker,
    unwritten: Mutex<VecDeque<UsageRow>>,
    complete: AtomicU64,
    stopped: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
}

impl Account {
    /// An account of a request for this model, by its full name, with nothing set aside.
    pub(super) fn new(caller: &Caller, id: &RequestId, model: &str) -> Account {
        Account {
            id: uuid::Uuid::now_v7().simple().to_string(),
            request_id: id.0.clone(),
            caller: caller.clone(),
            model: model.to_owned(),
            channel: None,
            held: None,
            echoes: 0,
            choices: 1,
            is_kept: false,
        }
    }

    /// Notes who answers.
    pub(super) fn served_by(&mut self, channel: ChannelId) {
        self.channel = Some(channel);
        if let Some(held) = &mut self.held {
            held.served_by(channel);
        }
    }

    /// What a request costs that ended so: nothing if we failed before we said anything, nothing if
    /// it left before its prompt was looked at.
    fn cost(&self, usage: &Usage, outcome: Outcome) -> MicroDollars {
        let did_nothing = match outcome {
            Outcome::Complete => false,
            Outcome::Failed => usage.completion_tokens == 0,
            Outcome::Stopped => usage.prompt_tokens == 0 && usage.completion_tokens == 0,
        };
        match &self.held {
            Some(held) if !did_nothing => held.cost(usage),
            _ => MicroDollars::ZERO,
        }
    }
}

impl Books {
    pub(super) fn new(
        store: Store,
        clock: Clock,
        terms: Arc<TermsCache>,
        longest_s: u32,
        tasks: TaskTracker,
    ) -> Books {
        Books {
            store,
            clock,
            terms,
            longest_s,
            tasks,
            unwritten: Mutex::default(),
            complete: AtomicU64::new(0),
            stopped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            prompt_tokens: AtomicU64::new(0),
            completion_tokens: AtomicU64::new(0),
        }
    }

    pub(super) fn count_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            complete: read(&self.complete),
            stopped: read(&self.stopped),
            failed: read(&self.failed),
            refused: read(&self.refused),
            prompt_tokens: read(&self.prompt_tokens),
            completion_tokens: read(&self.completion_tokens),
        }
    }

    /// What a model costs this caller; `None` if nothing need be set aside: it is free, and no
    /// budget counts.
    pub(super) async fn terms(
        &self,
        caller: &Caller,
        model: &str,
    ) -> Result<Option<Arc<ModelPrice>>> {
        if caller.user_id.is_none() {
            // The operator has no wallet.
            return Ok(None);
        }
        let terms = self.terms.get().await?;
        let price = terms.price(model);
        if price.is_none() && !terms.may_bind(caller.user_id, caller.token_id()) {
            return Ok(None);
        }
        Ok(Some(price.unwrap_or_default()))
    }

    /// Sets aside what a request may need.
    pub(super) async fn hold(&self, account: &mut Account, wish: Wish) -> Result<()> {
        let rooms = (&self.store, &self.tasks);
        let when = (self.clock.now(), self.longest_s);
        let held = Held::reserve(rooms, &account.caller, &account.id, wish, when).await?;
        account.held = Some(held);
        Ok(())
    }

    /// Writes down a request that has ended; returns when it is on the disk.
    pub(super) async fn record(&self, account: Account, usage: Usage, ending: Ending) {
        self.count(&usage, ending.outcome);
        let cost = account.cost(&usage, ending.outcome);
        let row = UsageRow {
            request_id: account.id,
            client_request_id: Some(account.request_id),
            user_id: account.caller.user_id,
            token_id: account.caller.token_id(),
            model: account.model,
            channel_id: account.channel,
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            cached_tokens: usage.cached_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            is_estimated: usage.is_estimated,
            queue_ms: usage.queue_ms,
            first_token_ms: usage.first_token_ms,
            total_ms: usage.total_ms,
            cost,
            outcome: ending.outcome,
            reason: ending.reason.map(str::to_owned),
            created_at: self.clock.now(),
        };
        if let Some(held) = account.held {
            // From here on the row is all there is: should it not be written now, it is later.
            held.settled();
        }
        if let Err(error) = self.settle(row.clone()).await {
            // The answer is given all the same: the client is not to blame.
            tracing::error!(%error, "what a request used could not be written down");
            let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
            if passes(&error) && unwritten.len() < MAX_UNWRITTEN {
                unwritten.push_back(row);
            }
        }
    }

    /// Gives back what has been held for too long, and writes what could not be written before; to
    /// be called every minute or so.
    pub(super) async fn keep_up(&self) -> Result<()> {
        loop {
            let row = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(row) = row else { break };
            match self.settle(row.clone()).await {
                Err(error) if passes(&error) => {
                    self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).push_front(row);
                    return Err(error.into());
                }
                Err(error) => tracing::error!(%error, "what a request used is written nowhere"),
                Ok(()) => {}
            }
        }
        let expired = self.store.ledger().expire(self.clock.now()).await?;
        if expired > 0 {
            tracing::warn!(ledger.holds = expired, "gave back what requests held for too long");
        }
        Ok(())
    }

    async fn settle(&self, row: UsageRow) -> hearth_store::Result<()> {
        let id = row.request_id.clone();
        match self.store.ledger().settle(row).await? {
            Settled::Now { unpaid } if unpaid > MicroDollars::ZERO => {
                tracing::warn!(ledger.request = id, %unpaid, "a request cost more than was left");
            }
            Settled::Now { .. } | Settled::Before => {}
            Settled::Void => {
                tracing::error!(ledger.request = id, "a request ended that was taken back before");
            }
        }
        Ok(())
    }

    fn count(&self, usage: &Usage, outcome: Outcome) {
        let ended = match outcome {
            Outcome::Complete => &self.complete,
            Outcome::Stopped => &self.stopped,
            Outcome::Failed => &self.failed,
        };
        ended.fetch_add(1, Ordering::Relaxed);
        self.prompt_tokens.fetch_add(u64::from(usage.prompt_tokens), Ordering::Relaxed);
        self.completion_tokens.fetch_add(u64::from(usage.completion_tokens), Ordering::Relaxed);
    }
}

/// Whether what failed may be done later.
fn passes(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Busy | StoreError::DiskFull | StoreError::DiskFailed | StoreError::Closed
    )
}
