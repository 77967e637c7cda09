//! Writes down what each request used, once, however it ended.

use std::sync::atomic::{AtomicU64, Ordering};

use hearth_store::{MicroDollars, Outcome, Store, UsageRow};

use crate::caller::Caller;
use crate::clock::Clock;
use crate::embedding::EmbedRequest;
use crate::event::Usage;
use crate::request::GenerateRequest;

/// On whose account a request runs.
#[derive(Clone, Debug)]
pub(super) struct Account {
    request_id: String,
    caller: Caller,
    model: String,
    /// Choices whose first text repeats the prompt, which nobody generated.
    pub(super) echoes: u16,
}

impl Account {
    pub(super) fn new(caller: &Caller, request: &GenerateRequest) -> Account {
        Account {
            request_id: request.id.0.clone(),
            caller: caller.clone(),
            model: request.model.clone(),
            echoes: if request.echo { request.choices } else { 0 },
        }
    }

    pub(super) fn of_embedding(caller: &Caller, request: &EmbedRequest) -> Account {
        Account {
            request_id: request.id.0.clone(),
            caller: caller.clone(),
            model: request.model.clone(),
            echoes: 0,
        }
    }
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

/// The books: a row per request in the store, and sums in memory.
pub(super) struct Books {
    store: Store,
    clock: Clock,
    complete: AtomicU64,
    stopped: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
}

impl Books {
    pub(super) fn new(store: Store, clock: Clock) -> Books {
        Books {
            store,
            clock,
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

    /// Writes down a request that has ended; returns when it is on the disk.
    pub(super) async fn record(&self, account: Account, usage: Usage, outcome: Outcome) {
        self.count(&usage, outcome);
        let row = UsageRow {
            request_id: account.request_id,
            user_id: account.caller.user_id,
            token_id: account.caller.token_id(),
            model: account.model,
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            cached_tokens: usage.cached_tokens,
            queue_ms: usage.queue_ms,
            first_token_ms: usage.first_token_ms,
            total_ms: usage.total_ms,
            // No request has a price yet.
            cost: MicroDollars::ZERO,
            outcome,
            created_at: self.clock.now(),
        };
        let table = self.store.usage();
        let recorded = match table.record(row.clone()).await {
            // The id was used before. Whoever repeats ids must not escape the books.
            Ok(false) => {
                let request_id = format!("{}+{}", row.request_id, uuid::Uuid::now_v7());
                table.record(UsageRow { request_id, ..row }).await
            }
            other => other,
        };
        if let Err(error) = recorded {
            // The answer is given all the same: the client is not to blame.
            tracing::error!(%error, "what a request used could not be written down");
        }
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
