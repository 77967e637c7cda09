//! Requests that pass through: from the caller to the backend, recorded once however they end.

use std::sync::Arc;
use std::time::Duration;

use hearth_store::{MicroDollars, Outcome, Price};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::books::{Account, Books, Ending};
use super::held::Wish;
use super::running::Slot;
use super::{Backend, Gateway};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::event::Usage;
use crate::passage::{PassRequest, Passage, Piece};
use crate::quota::price::ModelPrice;

/// Pieces that may wait for a client that reads slowly; then the backend waits.
const PIECES: usize = 8;
/// How long the end of a request waits for a client that does not read.
const FAREWELL_LIMIT: Duration = Duration::from_secs(10);

/// One accepted request.
struct Run {
    inner: mpsc::Receiver<Result<Piece>>,
    outer: mpsc::Sender<Result<Piece>>,
    account: Account,
    books: Arc<Books>,
    slot: Arc<Slot>,
    started: Instant,
    limit: Duration,
    cut_off: CancellationToken,
    /// What it costs if it is not told.
    guess: Usage,
}

/// How it ended.
enum End {
    Complete(Usage),
    Stopped,
    Failed(Error),
}

impl Gateway {
    /// Lets a request through. What was used is recorded before the end is told; dropping the
    /// answer ends the request, which is recorded all the same.
    pub async fn pass(&self, caller: &Caller, mut request: PassRequest) -> Result<Passage> {
        let slot = self.admit(caller, 1)?;
        let (model, prompt_tokens) = (request.model.clone(), request.prompt_tokens());
        let slot = self.pace(caller, slot, &model, || prompt_tokens).await?;
        let started = Instant::now();
        let limit = Duration::from_secs(u64::from(self.inner.config.request_timeout_s));
        let accepted = async {
            let (backend, model) = self.find(caller, &request.model)?;
            request.model = model.name;
            let mut account = Account::new(caller, &request.id, &request.model);
            let accepting = self.accept_passage(&mut account, caller, backend, request);
            let passage = tokio::time::timeout(limit, accepting)
                .await
                .map_err(|_| Error::TimedOut { limit })??;
            account.served_by(passage.channel);
            Ok::<_, Error>((passage, account))
        };
        let (passage, account) =
            accepted.await.inspect_err(|_| self.inner.books.count_refusal())?;
        slot.begin();
        let (outer, pieces) = mpsc::channel(PIECES);
        let guess = Usage { prompt_tokens, is_estimated: true, ..Usage::default() };
        let run = Run {
            inner: passage.pieces,
            outer,
            account,
            books: Arc::clone(&self.inner.books),
            slot,
            started,
            limit,
            cut_off: self.inner.cut_off.clone(),
            guess,
        };
        self.inner.tasks.spawn(run.carry());
        Ok(Passage { pieces, ..passage })
    }

    /// Sets aside what the request may cost, and has it begin.
    async fn accept_passage(
        &self,
        account: &mut Account,
        caller: &Caller,
        backend: &Arc<dyn Backend>,
        request: PassRequest,
    ) -> Result<Passage> {
        if let Some(prices) = self.inner.books.terms(caller, &request.model).await? {
            let prices = Arc::new(of_all(&prices, request.pictures()));
            let prompt_tokens = u64::from(request.prompt_tokens());
            // Nobody can end an answer where the money does: what it may cost must be there.
            let most_tokens = request.answer_tokens();
            let wish = Wish {
                prices,
                prompt_tokens,
                least_tokens: most_tokens,
                most_tokens,
                ..Wish::default()
            };
            self.inner.books.hold(account, wish).await?;
        }
        backend.pass(caller.user_id, request).await
    }
}

/// The price of a request for so many pictures: what a call costs is for one of them.
fn of_all(prices: &ModelPrice, pictures: u64) -> ModelPrice {
    let of_one = |price: Price| {
        let micros = price.call_micros.micros().saturating_mul(pictures.max(1));
        let call_micros = MicroDollars::new(micros).unwrap_or(MicroDollars::MAX);
        Price { call_micros, ..price }
    };
    let channels = prices.channels.iter().map(|(id, price)| (*id, of_one(*price)));
    ModelPrice { own: of_one(prices.own), channels: channels.collect() }
}

impl Run {
    async fn carry(mut self) {
        let end = self.pump().await;
        // The backend stops first; the client hears of the end when the books are closed.
        drop(self.inner);
        let total_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (usage, outcome, reason, farewell) = match end {
            End::Complete(usage) => {
                let usage = Usage { total_ms, ..usage };
                (usage, Outcome::Complete, None, Some(Ok(Piece::Done(usage))))
            }
            End::Stopped => {
                let usage = Usage { total_ms, ..self.guess };
                (usage, Outcome::Stopped, Some("client_gone"), None)
            }
            End::Failed(error) => {
                let usage = Usage { total_ms, ..self.guess };
                (usage, Outcome::Failed, Some(error.code()), Some(Err(error)))
            }
        };
        self.slot.used(&usage);
        self.books.record(self.account, usage, Ending { outcome, reason }).await;
        drop(self.slot);
        if let Some(farewell) = farewell {
            let _ = self.outer.send_timeout(farewell, FAREWELL_LIMIT).await;
        }
    }

    async fn pump(&mut self) -> End {
        let deadline = tokio::time::sleep_until(self.started + self.limit);
        tokio::pin!(deadline);
        let time_out = || End::Failed(Error::TimedOut { limit: self.limit });
        loop {
            let piece = tokio::select! {
                biased;
                () = self.outer.closed() => return End::Stopped,
                () = self.cut_off.cancelled() => return End::Failed(Error::Draining),
                () = &mut deadline => return time_out(),
                piece = self.inner.recv() => piece,
            };
            let bytes = match piece {
                Some(Ok(Piece::Done(usage))) => return End::Complete(usage),
                Some(Ok(bytes)) => bytes,
                Some(Err(error)) => return End::Failed(error),
                None => {
                    let message = "the backend ended an answer without its end".to_owned();
                    return End::Failed(Error::Internal(message));
                }
            };
            tokio::select! {
                biased;
                sent = self.outer.send(Ok(bytes)) => if sent.is_err() { return End::Stopped },
                () = self.cut_off.cancelled() => return End::Failed(Error::Draining),
                () = &mut deadline => return time_out(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hearth_store::ChannelId;

    use super::*;

    #[test]
    fn a_call_for_several_pictures_costs_as_many_calls() {
        let of = |call_micros| Price { call_micros, ..Price::default() };
        let price = |micros| of(MicroDollars::new(micros).unwrap());
        let prices = ModelPrice { own: price(40), channels: vec![(ChannelId(3), price(50))] };
        assert_eq!(of_all(&prices, 3).own, price(120));
        assert_eq!(of_all(&prices, 3).channels, [(ChannelId(3), price(150))]);
        assert_eq!(of_all(&prices, 0), prices);
        let dearest = ModelPrice { own: of(MicroDollars::MAX), channels: Vec::new() };
        assert_eq!(of_all(&dearest, u64::MAX).own.call_micros, MicroDollars::MAX);
    }
}
