//! The thread of one model: schedule → run → postprocess, until nobody needs the model.
//!
//! It alone touches the model's weights, pages and sequences. Others hold a [`crate::Model`], which
//! is a channel to this thread and the numbers it publishes.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use candle_core::Tensor;
use hearth_text::Tokenizer;

use crate::batch::Batch;
use crate::decoder::Decoder;
use crate::draft::{Draft, Wish};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::kv::KvCache;
use crate::prefix::Chain;
use crate::queue::Queue;
use crate::scheduler::{Arrival, Limits, Scheduler, SequenceId, Work};
use crate::sequence::{ActiveSequence, Reader};
use crate::tensors::with_values;

/// How often a thread whose sequences all wait for their readers looks whether they have read.
const PAUSED_POLL: Duration = Duration::from_millis(5);

/// What computes a step.
pub(crate) trait Runner: Send {
    /// Logits of the rows that want them, `[logit_rows, vocab]` in host memory.
    fn run(&mut self, batch: &Batch) -> Result<Option<Tensor>>;
}

/// A decoder with the keys and values of its sequences.
pub(crate) struct LoadedDecoder {
    pub(crate) decoder: Decoder,
    pub(crate) kv: Box<dyn KvCache>,
}

impl Runner for LoadedDecoder {
    fn run(&mut self, batch: &Batch) -> Result<Option<Tensor>> {
        self.decoder.forward(batch, self.kv.as_mut())
    }
}

/// What the thread publishes and its handles read.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Submitted and not ended.
    pub(crate) live: AtomicUsize,
    pub(crate) running: AtomicUsize,
    pub(crate) pages_used: AtomicUsize,
    pub(crate) pages_cached: AtomicUsize,
    pub(crate) computed_tokens: AtomicU64,
    pub(crate) reused_tokens: AtomicU64,
    pub(crate) completion_tokens: AtomicU64,
    pub(crate) guessed_tokens: AtomicU64,
    pub(crate) confirmed_tokens: AtomicU64,
    pub(crate) preemptions: AtomicU64,
    pub(crate) steps: AtomicU64,
    /// How long a sequence runs; 0 until one has ended.
    pub(crate) mean_run_us: AtomicU64,
    /// Why the thread has given up, if it has.
    pub(crate) failure: OnceLock<String>,
}

/// Everything the thread owns.
pub(crate) struct Worker {
    pub(crate) runner: Box<dyn Runner>,
    /// Guesses for it, where the text itself gives no hint.
    pub(crate) draft: Option<Draft>,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) commands: Receiver<ActiveSequence>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) limits: Limits,
    pub(crate) pages: usize,
    pub(crate) reader_timeout: Duration,
}

/// The parts that change from step to step.
struct Run {
    worker: Worker,
    scheduler: Scheduler,
    sequences: BTreeMap<SequenceId, ActiveSequence>,
    next_id: u64,
    begun: Instant,
    /// The last step had nothing to do although there are sequences.
    is_stuck: bool,
}

impl Worker {
    /// Runs until all handles are dropped and all sequences have ended, or until a step fails.
    pub(crate) fn work(self) {
        let scheduler = Scheduler::new(self.limits, self.pages);
        let sequences = BTreeMap::new();
        let begun = Instant::now();
        let mut run =
            Run { worker: self, scheduler, sequences, next_id: 0, begun, is_stuck: false };
        while run.receive() {
            let step = catch_unwind(AssertUnwindSafe(|| run.step()));
            let failure = match step {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => panic_text(panic.as_ref()),
            };
            tracing::error!(failure, "a step failed; the model is given up");
            run.give_up(failure);
            return;
        }
    }
}

impl Run {
    /// Takes new sequences; waits while there is nothing to do. `false` when all is over.
    fn receive(&mut self) -> bool {
        if self.sequences.is_empty() {
            match self.worker.commands.recv() {
                Ok(sequence) => self.add(sequence),
                Err(_) => return false,
            }
        } else if self.is_stuck {
            match self.worker.commands.recv_timeout(PAUSED_POLL) {
                Ok(sequence) => self.add(sequence),
                Err(RecvTimeoutError::Timeout) => {}
                // No more handles: the remaining sequences still wait for their readers.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(PAUSED_POLL),
            }
        }
        loop {
            match self.worker.commands.try_recv() {
                Ok(sequence) => self.add(sequence),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn add(&mut self, sequence: ActiveSequence) {
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        let ActiveSequence { caller, lane, weight, priority, .. } = sequence;
        let prompt = Chain::new(caller, self.worker.limits.page_tokens, &sequence.tokens);
        let now_ms = self.now_ms();
        self.scheduler.add(Arrival { id, caller, lane, weight, priority, prompt }, now_ms);
        self.sequences.insert(id, sequence);
    }

    /// Time as the scheduler counts it.
    fn now_ms(&self) -> u64 {
        // Half a billion years fit.
        self.begun.elapsed().as_millis() as u64
    }

    fn step(&mut self) -> Result<()> {
        self.look_at_readers();
        let begun = Instant::now();
        let mut work = self.scheduler.schedule(self.now_ms());
        self.speculate(&mut work);
        self.is_stuck = work.is_empty();
        if !work.is_empty() {
            let batch = self.batch(&work);
            let known: usize = work.iter().map(|work| work.count).sum();
            self.publish();
            let logits = self.worker.runner.run(&batch)?;
            self.scheduler.advance(&work);
            self.worker.shared.computed_tokens.fetch_add(known as u64, Relaxed);
            self.worker.shared.steps.fetch_add(1, Relaxed);
            if let Some(logits) = logits {
                self.postprocess(&work, &logits)?;
            }
            // Steps of centuries do not come.
            self.scheduler.note_cost(begun.elapsed().as_micros() as u64);
        }
        debug_assert!(self.scheduler.check(), "free + held + cached = total");
        Ok(())
    }

    /// Ends what nobody reads any more, pauses what is read too slowly.
    fn look_at_readers(&mut self) {
        let timeout = self.worker.reader_timeout;
        let mut ended = Vec::new();
        for (&id, sequence) in &mut self.sequences {
            match sequence.reader() {
                Reader::Listens => self.scheduler.set_paused(id, false),
                Reader::Lags(since) if since < timeout => self.scheduler.set_paused(id, true),
                Reader::Lags(_) => {
                    ended.push((id, Err(Error::ReaderStalled { seconds: timeout.as_secs() })));
                }
                Reader::Gone => ended.push((id, Err(Error::Unloaded))),
            }
        }
        ended.into_iter().for_each(|(id, last)| self.end(id, last));
    }

    /// Adds guesses to a step where that pays.
    fn speculate(&mut self, work: &mut [Work]) {
        let (sequences, most) = (&mut self.sequences, self.worker.limits.guess_tokens);
        let has_draft = self.worker.draft.is_some();
        self.scheduler.speculate(work, |id| {
            let Some(sequence) = sequences.get_mut(&id) else { return 0 };
            match sequence.look_ahead(most) {
                0 if has_draft => sequence.most_guesses(most),
                guesses => guesses,
            }
        });
        let Some(draft) = &mut self.worker.draft else { return };
        let is_wish = |work: &&Work| {
            work.guesses > 0
                && self.sequences.get(&work.sequence).is_some_and(|s| s.guesses().is_empty())
        };
        let wishes: Vec<Wish> = work
            .iter()
            .filter(is_wish)
            .filter_map(|work| {
                let pages = self.scheduler.pages_of(work.sequence);
                let (id, guesses) = (work.sequence, work.guesses);
                let tokens = self.sequences.get(&id)?.tokens.as_slice();
                Some(Wish { id, tokens, pages: pages.iter().map(|page| page.0).collect(), guesses })
            })
            .collect();
        let ids: Vec<SequenceId> = wishes.iter().map(|wish| wish.id).collect();
        let guessed = match draft.guess(&wishes) {
            Ok(guessed) => guessed,
            Err(error) => {
                // Answers do without it; the next load may do better.
                tracing::warn!(%error, "the draft model failed and guesses no more");
                self.worker.draft = None;
                Vec::new()
            }
        };
        for (id, guesses) in ids.iter().zip(guessed) {
            if let Some(sequence) = self.sequences.get_mut(id) {
                sequence.set_guesses(guesses);
            }
        }
        let made = |id| self.sequences.get(&id).map_or(0, |sequence| sequence.guesses().len());
        self.scheduler.trim_guesses(work, made);
    }

    fn batch(&mut self, work: &[Work]) -> Batch {
        let mut batch = Batch::new(self.worker.limits.page_tokens);
        for work in work {
            let sequence = self.sequences.get_mut(&work.sequence).expect("scheduled ones live");
            if sequence.start(work.start) {
                self.worker.shared.reused_tokens.fetch_add(work.start as u64, Relaxed);
            }
            let tokens = &sequence.tokens[work.start..work.start + work.count];
            let pages = self.scheduler.pages_of(work.sequence);
            let pages = pages.iter().map(|page| page.0).collect();
            batch.push(tokens, work.start, pages, work.samples);
            batch.guess(&sequence.guesses()[..work.guesses]);
        }
        batch
    }

    /// Draws tokens for every sequence whose logits were computed.
    fn postprocess(&mut self, work: &[Work], logits: &Tensor) -> Result<()> {
        let (_, vocab) = logits.dims2()?;
        let mut ended = Vec::new();
        with_values(logits, |logits| {
            let mut rest = logits;
            for work in work.iter().filter(|work| work.samples) {
                let (own, others) = rest.split_at((1 + work.guesses) * vocab);
                let last = self.draw(work, own.chunks_exact(vocab));
                ended.extend(last.map(|last| (work.sequence, last)));
                rest = others;
            }
        })?;
        ended.into_iter().for_each(|(id, last)| self.end(id, last));
        Ok(())
    }

    /// Draws from the first row, and from each next one as long as the token that was drawn is the
    /// one that had been guessed: the rows behind it were computed for that. What is drawn is what
    /// would be drawn without guesses. Gives the sequence's last event, if it has ended.
    fn draw<'a>(
        &mut self,
        work: &Work,
        rows: impl Iterator<Item = &'a [f32]>,
    ) -> Option<Result<Event>> {
        let (id, shared) = (work.sequence, &self.worker.shared);
        let sequence = self.sequences.get_mut(&id).expect("scheduled ones live");
        let mut right = 0;
        for logits in rows {
            let (token, logprob) = match sequence.draw(logits) {
                Ok(drawn) => drawn,
                Err(error) => {
                    self.scheduler.distrust(id);
                    return Some(Err(error));
                }
            };
            self.scheduler.push_token(id, token);
            shared.completion_tokens.fetch_add(1, Relaxed);
            let guess = sequence.guesses().get(right).filter(|_| right < work.guesses);
            let is_right = guess == Some(&token);
            if let Some(last) = sequence.push(token, logprob, &self.worker.tokenizer) {
                return Some(Ok(last));
            }
            if !is_right {
                break;
            }
            right += 1;
            self.scheduler.confirm_guess(id);
        }
        self.scheduler.note_guesses(id, work.guesses, right);
        if let Some(draft) = &mut self.worker.draft {
            draft.note(id, work.guesses, right);
        }
        shared.guessed_tokens.fetch_add(work.guesses as u64, Relaxed);
        shared.confirmed_tokens.fetch_add(right as u64, Relaxed);
        // Each was computed as a guess, and is not computed again.
        shared.computed_tokens.fetch_add(right as u64, Relaxed);
        None
    }

    /// Forgets a sequence, then tells its reader: who sees the end sees the pages free.
    fn end(&mut self, id: SequenceId, last: Result<Event>) {
        self.scheduler.remove(id);
        if let Some(draft) = &mut self.worker.draft {
            draft.forget(id);
        }
        let Some(sequence) = self.sequences.remove(&id) else { return };
        if let Some(ran) = sequence.running_for() {
            self.note_run(ran);
        }
        self.publish();
        self.worker.shared.live.fetch_sub(1, Relaxed);
        sequence.tell(last);
    }

    fn publish(&self) {
        let shared = &self.worker.shared;
        shared.running.store(self.scheduler.running(), Relaxed);
        shared.pages_used.store(self.scheduler.pages_used(), Relaxed);
        shared.pages_cached.store(self.scheduler.pages_cached(), Relaxed);
        shared.preemptions.store(self.scheduler.preemptions(), Relaxed);
        self.publish_queue();
    }

    /// Says who is where in the queue, and how fast it moves: as many as run end in the time that
    /// one runs.
    fn publish_queue(&self) {
        let queue = self.scheduler.queue();
        for (index, id) in queue.iter().enumerate() {
            if let Some(sequence) = self.sequences.get(id) {
                sequence.set_position(index + 1);
            }
        }
        let known = match self.worker.shared.mean_run_us.load(Relaxed) {
            // None has ended yet: it takes longer than those that run have run so far.
            0 => self.sequences.values().filter_map(ActiveSequence::running_for).max(),
            mean => Some(Duration::from_micros(mean)),
        };
        let running = u32::try_from(self.scheduler.running().max(1)).unwrap_or(u32::MAX);
        self.worker.queue.set_interval(known.unwrap_or_default() / running);
    }

    fn note_run(&self, ran: Duration) {
        let ran_us = u64::try_from(ran.as_micros()).unwrap_or(u64::MAX).max(1);
        let mean_us = match self.worker.shared.mean_run_us.load(Relaxed) {
            0 => ran_us,
            mean_us => mean_us - mean_us / 8 + ran_us / 8,
        };
        self.worker.shared.mean_run_us.store(mean_us.max(1), Relaxed);
    }

    /// Tells everyone; what is still in the channel hears it when the channel is dropped.
    fn give_up(mut self, failure: String) {
        let _ = self.worker.shared.failure.set(failure.clone());
        for id in self.sequences.keys().copied().collect::<Vec<_>>() {
            self.end(id, Err(Error::ModelFailed(failure.clone())));
        }
        self.worker.shared.live.store(0, Relaxed);
    }
}

/// What a panic said, without where: messages may end in answers to callers.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("without a message"))
}
