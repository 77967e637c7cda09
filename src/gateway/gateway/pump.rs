//! Carries the events of one request from its backend to its client and sees to its end.

use std::sync::Arc;
use std::time::Duration;

use hearth_store::Outcome;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::books::{Account, Books, Ending};
use super::cache::Recording;
use super::config::WhenUsedUp;
use super::guards::{Guards, Verdict, Watcher};
use super::held::Allowance;
use super::running::Slot;
use crate::error::{Error, Result};
use crate::event::{Aside, Event, EventStream, Filter, FinishReason, Usage};

/// How long the end of a request waits for a client that does not read.
const FAREWELL_LIMIT: Duration = Duration::from_secs(10);
/// The same once requests are cut off: the process is ending and waits for this.
const CUT_OFF_FAREWELL_LIMIT: Duration = Duration::from_secs(1);

/// One running request.
pub(super) struct Pump {
    pub(super) inner: EventStream,
    pub(super) outer: mpsc::Sender<Result<Event>>,
    /// Kept if the answer ends by itself.
    pub(super) recording: Option<Recording>,
    /// Where rules look at answers.
    pub(super) watcher: Option<Watcher>,
    pub(super) guards: Arc<Guards>,
    pub(super) account: Account,
    pub(super) books: Arc<Books>,
    pub(super) slot: Arc<Slot>,
    pub(super) started: Instant,
    pub(super) limit: Duration,
    pub(super) when_used_up: WhenUsedUp,
    pub(super) cut_off: CancellationToken,
}

/// How a request ended.
enum End {
    Complete(Usage),
    /// What was set aside is used up.
    UsedUp(Error),
    /// A rule of this server allows no more of it.
    Blocked,
    Stopped,
    Failed(Error),
}

/// What is known of a request that has not ended by itself.
#[derive(Default)]
struct Tally {
    usage: Usage,
    /// Pieces of text that are still to repeat the prompt, one per choice.
    echoes: u16,
    /// How long the answer is read on once nobody listens.
    drain: Duration,
    /// A bit for each choice whose end the client was told.
    finished: u32,
}

impl Pump {
    /// Runs until the request has ended and is recorded.
    pub(super) async fn run(mut self) {
        let mut tally = Tally { echoes: self.account.echoes, ..Tally::default() };
        let end = self.carry(&mut tally).await;
        let (end, cut_at) = match end {
            End::UsedUp(_) if self.when_used_up == WhenUsedUp::Length => {
                self.finish(&tally, FinishReason::Length).await;
                (End::Complete(tally.usage), Some("quota"))
            }
            End::Blocked => {
                self.finish(&tally, FinishReason::Filtered(Filter::Blocklist)).await;
                (End::Complete(tally.usage), Some("guard"))
            }
            other => (other, None),
        };
        if matches!(end, End::Stopped) && !tally.drain.is_zero() {
            self.drain(&mut tally).await;
        }
        // The backend stops first; the client hears of the end last, when the books are closed
        // and its slot is free for the next call.
        drop(self.inner);
        tally.usage.total_ms = millis(self.started);
        let (usage, outcome, reason, farewell) = match end {
            End::Complete(usage) => {
                (usage, Outcome::Complete, cut_at, Some(Ok(Event::Done(usage))))
            }
            End::Stopped => (tally.usage, Outcome::Stopped, Some("client_gone"), None),
            End::UsedUp(error) => (tally.usage, Outcome::Failed, Some("quota"), Some(Err(error))),
            // It was turned into a whole answer above.
            End::Blocked => (tally.usage, Outcome::Complete, Some("guard"), None),
            End::Failed(error) => {
                (tally.usage, Outcome::Failed, Some(error.code()), Some(Err(error)))
            }
        };
        let reason = match (reason, self.account.is_kept) {
            (None, true) => Some("cached"),
            (reason, _) => reason,
        };
        if !self.account.is_kept {
            self.slot.used(&usage);
        }
        self.books.record(self.account, usage, Ending { outcome, reason }).await;
        drop(self.slot);
        if let Some(farewell) = farewell {
            // A client that is gone or does not read misses nothing but the end.
            tokio::select! {
                biased;
                _ = self.outer.send_timeout(farewell, FAREWELL_LIMIT) => {}
                () = async {
                    self.cut_off.cancelled().await;
                    tokio::time::sleep(CUT_OFF_FAREWELL_LIMIT).await;
                } => {}
            }
        }
    }

    async fn carry(&mut self, tally: &mut Tally) -> End {
        let deadline = tokio::time::sleep_until(self.started + self.limit);
        // Waited for once and not anew for each event, of which there are thousands a second.
        let (outer, cut_off) = (self.outer.clone(), self.cut_off.clone());
        let (closed, cancelled) = (outer.closed(), cut_off.cancelled());
        tokio::pin!(deadline, closed, cancelled);
        let mut passed = Vec::new();
        loop {
            let event = tokio::select! {
                biased;
                () = &mut closed => return End::Stopped,
                () = &mut cancelled => return End::Failed(Error::Draining),
                () = &mut deadline => return self.time_out(),
                event = self.inner.recv() => event,
            };
            let event = match event {
                Some(Ok(Event::Done(usage))) => {
                    if let Some(recording) = self.recording.take() {
                        recording.keep(usage);
                    }
                    return End::Complete(usage);
                }
                Some(Ok(event)) => event,
                Some(Err(error)) => return End::Failed(error),
                None => {
                    let message = "the backend ended a stream without Done".to_owned();
                    return End::Failed(Error::Internal(message));
                }
            };
            self.note(&event);
            let before = tally.usage;
            tally.note(&event, self.started);
            if tally.usage.completion_tokens > before.completion_tokens
                && let Some(end) = self.check(&tally.usage).await
            {
                // What is not paid for is not said, and not counted.
                tally.usage = before;
                return end;
            }
            let verdict = match &mut self.watcher {
                Some(watcher) => watcher.pass(event, &mut passed),
                None => {
                    passed.push(event);
                    Verdict::Pass
                }
            };
            for event in passed.drain(..) {
                if let Event::Finished { choice, .. } = event {
                    tally.finished |= bit(choice);
                }
                tokio::select! {
                    biased;
                    sent = self.outer.send(Ok(event)) => if sent.is_err() { return End::Stopped },
                    () = &mut cancelled => return End::Failed(Error::Draining),
                    () = &mut deadline => return self.time_out(),
                }
            }
            if let Verdict::Block(rule) = verdict {
                let Account { caller, model, .. } = &self.account;
                self.guards.note_block(&rule, caller, model, "response");
                return End::Blocked;
            }
        }
    }

    /// Reads on though nobody listens, for the counts of a provider that bills all of it anyway.
    async fn drain(&mut self, tally: &mut Tally) {
        let (inner, started, limit) = (&mut self.inner, self.started, tally.drain);
        let rest = async {
            loop {
                match inner.recv().await {
                    Some(Ok(Event::Done(usage))) => {
                        tally.usage = usage;
                        return;
                    }
                    Some(Ok(event)) => tally.note(&event, started),
                    Some(Err(_)) | None => return,
                }
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(limit, rest) => {}
            () = self.cut_off.cancelled() => {}
        }
    }

    /// Takes note of what has come, as it came.
    fn note(&mut self, event: &Event) {
        if let Event::Served { channel, .. } = event
            && !self.account.is_kept
        {
            self.account.served_by(*channel);
        }
        if let Some(recording) = &mut self.recording {
            recording.note(event);
        }
    }

    /// The end of an answer that may not go on.
    async fn check(&mut self, usage: &Usage) -> Option<End> {
        let held = self.account.held.as_mut()?;
        match held.allow(usage).await {
            Ok(Allowance::Enough) => None,
            Ok(Allowance::UsedUp(error)) => Some(End::UsedUp(error)),
            Err(error) => Some(End::Failed(error)),
        }
    }

    /// Tells the client that the choices which have not ended end here, and why.
    async fn finish(&self, tally: &Tally, reason: FinishReason) {
        for choice in 0..self.account.choices {
            if tally.finished & bit(choice) != 0 {
                continue;
            }
            let event = Event::Finished { choice, reason };
            tokio::select! {
                biased;
                sent = self.outer.send_timeout(Ok(event), FAREWELL_LIMIT) => {
                    if sent.is_err() { return }
                }
                () = self.cut_off.cancelled() => return,
            }
        }
    }

    fn time_out(&self) -> End {
        End::Failed(Error::TimedOut { limit: self.limit })
    }
}

impl Tally {
    fn note(&mut self, event: &Event, started: Instant) {
        match event {
            Event::Started { prompt_tokens } => self.usage.prompt_tokens = *prompt_tokens,
            Event::Text { .. } if self.echoes > 0 => self.echoes -= 1,
            // Its token is the one that begins the arguments.
            Event::Aside { aside: Aside::CallStart { .. }, .. } => {}
            Event::Text { tokens, .. } | Event::Aside { tokens, .. } => {
                if self.usage.completion_tokens == 0 {
                    self.usage.first_token_ms = millis(started);
                }
                // Without log probabilities a piece of text stands for the one token that
                // completed it.
                let count = u32::try_from(tokens.len().max(1)).unwrap_or(u32::MAX);
                self.usage.completion_tokens = self.usage.completion_tokens.saturating_add(count);
            }
            Event::Served { drain_s, .. } => self.drain = Duration::from_secs((*drain_s).into()),
            Event::Finished { .. } | Event::Context { .. } | Event::Done(_) => {}
        }
    }
}

fn bit(choice: u16) -> u32 {
    1_u32.checked_shl(u32::from(choice)).unwrap_or(0)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
