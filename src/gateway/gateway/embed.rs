//! Requests for vectors: from the caller to the backend, recorded once however they end.

use std::sync::Arc;
use std::time::Duration;

use hearth_store::Outcome;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::books::{Account, Books, Ending};
use super::guards::Side;
use super::held::{Allowance, Wish};
use super::running::Slot;
use super::{Backend, pacer};
use crate::caller::Caller;
use crate::embedding::{EmbedRequest, Embedded, Embedding};
use crate::error::{Error, Result};
use crate::event::Usage;

/// One accepted request.
struct Run {
    embedding: Embedding,
    account: Account,
    books: Arc<Books>,
    slot: Arc<Slot>,
    started: Instant,
    limit: Duration,
    cut_off: CancellationToken,
}

impl Gateway {
    /// Makes vectors. What was used is recorded before they are given; dropping the future
    /// cancels the request, which is recorded all the same.
    pub async fn embed(&self, caller: &Caller, mut request: EmbedRequest) -> Result<Embedded> {
        request.path = self.path(caller)?;
        let slot = self.admit(caller, 1)?;
        let model = request.model.clone();
        let tokens = || pacer::estimate_of_texts(&request).0;
        let slot = self.pace(caller, slot, &model, tokens).await?;
        let started = Instant::now();
        let limit = Duration::from_secs(u64::from(self.inner.config.request_timeout_s));
        let accepted = async {
            let (backend, model) = self.find(caller, &request.model)?;
            request.model = model.name;
            let rules = self.inner.guards.of(caller, &request.model).await?;
            let verdict = rules.on(Side::Request).check_texts(&mut request);
            self.inner.guards.allow(verdict, caller, &request.model)?;
            let mut account = Account::new(caller, &request.id, &request.model);
            // A model that loads for long is part of the request's time.
            let accepting = self.accept_texts(&mut account, caller, backend, request);
            let embedding = tokio::time::timeout(limit, accepting)
                .await
                .map_err(|_| Error::TimedOut { limit })??;
            Ok::<_, Error>((embedding, account))
        };
        let (embedding, account) =
            accepted.await.inspect_err(|_| self.inner.books.count_refusal())?;
        slot.begin();
        let (sender, answer) = oneshot::channel();
        let books = Arc::clone(&self.inner.books);
        let cut_off = self.inner.cut_off.clone();
        let run = Run { embedding, account, books, slot, started, limit, cut_off };
        // A task of its own: it closes the books also for a client that goes away.
        self.inner.tasks.spawn(run.carry(sender));
        answer.await.unwrap_or(Err(Error::Draining))
    }

    /// Sets aside what the texts may cost, and has them accepted. Only the backend knows their
    /// tokens: if they cost more than was there, nothing of them is computed.
    async fn accept_texts(
        &self,
        account: &mut Account,
        caller: &Caller,
        backend: &Arc<dyn Backend>,
        request: EmbedRequest,
    ) -> Result<Embedding> {
        let Some(prices) = self.inner.books.terms(caller, &request.model).await? else {
            let embedding = backend.embed(caller.user_id, request).await?;
            served_by(account, &embedding);
            return Ok(embedding);
        };
        let (about, most) = pacer::estimate_of_texts(&request);
        // What counts here are tokens of prompts alone: the wish has no answer.
        let prompt_tokens = u64::from(about);
        let more_prompt_tokens = most.saturating_sub(prompt_tokens);
        let wish = Wish { prices, prompt_tokens, more_prompt_tokens, ..Wish::default() };
        self.inner.books.hold(account, wish).await?;
        let embedding = backend.embed(caller.user_id, request).await?;
        served_by(account, &embedding);
        let usage = Usage { prompt_tokens: embedding.prompt_tokens, ..Usage::default() };
        if let Some(held) = &mut account.held
            && let Allowance::UsedUp(error) = held.allow(&usage).await?
        {
            return Err(error);
        }
        Ok(embedding)
    }
}

/// Notes who makes the vectors: the channel's own price counts.
fn served_by(account: &mut Account, embedding: &Embedding) {
    if let Some(channel) = embedding.channel {
        account.served_by(channel);
    }
}

impl Run {
    async fn carry(self, mut answer: oneshot::Sender<Result<Embedded>>) {
        let Embedding { prompt_tokens, dropped_tokens, is_estimated, .. } = self.embedding;
        let mut vectors = self.embedding.vectors;
        let ended = tokio::select! {
            biased;
            () = answer.closed() => None,
            () = self.cut_off.cancelled() => Some(Err(Error::Draining)),
            () = tokio::time::sleep_until(self.started + self.limit) => {
                Some(Err(Error::TimedOut { limit: self.limit }))
            }
            ended = &mut vectors => Some(ended.unwrap_or_else(|_| {
                Err(Error::Internal("the backend dropped a request for vectors".to_owned()))
            })),
        };
        drop(vectors);
        let total_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let usage =
            Usage { prompt_tokens, dropped_tokens, is_estimated, total_ms, ..Usage::default() };
        let (outcome, reason) = match &ended {
            None => (Outcome::Stopped, Some("client_gone")),
            Some(Ok(_)) => (Outcome::Complete, None),
            Some(Err(error)) => (Outcome::Failed, Some(error.code())),
        };
        self.slot.used(&usage);
        self.books.record(self.account, usage, Ending { outcome, reason }).await;
        drop(self.slot);
        if let Some(ended) = ended {
            // A client that has gone misses nothing.
            let _ = answer.send(ended.map(|vectors| Embedded { vectors, usage }));
        }
    }
}
