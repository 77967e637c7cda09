//! What others hold of a loaded model and of a running sequence.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

use hearth_formats::{EncoderOutput, ModelFormat, ModelShape};
use hearth_text::{ChatTemplate, Tokenizer};
use tokio::sync::{mpsc, oneshot};

use crate::embedder::{Embedding, EmbeddingJob};
use crate::encoder::EncoderText;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::placement::DeviceChoice;
use crate::queue::{Queue, QueuePlace};
use crate::request::{CallerKey, SequenceRequest};
use crate::sequence::ActiveSequence;
use crate::worker::Shared;

/// A loaded model. Cheap to clone; the model goes when the last handle and sequence are gone.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) info: ModelInfo,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) template: ChatTemplate,
    pub(crate) commands: Commands,
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) event_buffer: usize,
    pub(crate) thread: JoinHandle<()>,
}

/// What the model's thread takes.
#[derive(Debug)]
pub(crate) enum Commands {
    /// A decoder's.
    Sequences(SyncSender<ActiveSequence>),
    /// An encoder's.
    Texts(SyncSender<EmbeddingJob>),
}

/// What a model is, and what it takes.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    pub name: String,
    pub format: ModelFormat,
    pub shape: ModelShape,
    pub parameters: u64,
    /// The kind that most weights are stored as, such as `Q8_0`.
    pub quantization: &'static str,
    /// Longest sequence that fits: the model's own limit, the setting's, or the cache's.
    pub context_tokens: u32,
    /// Weights, KV cache and workspace.
    pub memory_bytes: u64,
    pub pages_total: usize,
    pub device: DeviceChoice,
}

/// What a model does now, and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelStats {
    pub running: usize,
    pub waiting: usize,
    /// Held by sequences, shared ones counted once.
    pub pages_used: usize,
    /// Held by nobody, kept for prompts that begin alike.
    pub pages_cached: usize,
    pub pages_total: usize,
    /// Rows computed: prompts, recomputed ones too, and generated tokens.
    pub computed_tokens: u64,
    /// Tokens of prompts that were found computed.
    pub reused_tokens: u64,
    pub completion_tokens: u64,
    pub preemptions: u64,
    pub steps: u64,
    /// How long a sequence would wait that came now, as far as can be said from what others took.
    pub queue_wait: Duration,
    /// How long a sequence runs, on the average of the last ones.
    pub mean_run: Duration,
}

/// The reading end of a sequence. Dropping it cancels the sequence within one step.
#[derive(Debug)]
pub struct Sequence {
    events: mpsc::Receiver<Result<Event>>,
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    position: Arc<AtomicU32>,
    prompt_tokens: u32,
    is_over: bool,
}

impl Model {
    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.inner.info
    }

    /// Turns text into this model's tokens.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.inner.tokenizer
    }

    /// Turns messages into this model's prompt.
    pub fn template(&self) -> &ChatTemplate {
        &self.inner.template
    }

    /// Queues a prompt. Returns at once; an error means that nothing was queued.
    pub fn submit(&self, request: SequenceRequest) -> Result<Sequence> {
        let Inner { info, shared, queue, commands, .. } = &*self.inner;
        let Commands::Sequences(commands) = commands else {
            let problem = "this model makes vectors of texts and writes none";
            return Err(Error::InvalidRequest(problem.into()));
        };
        request.check(info.shape.vocab, info.context_tokens)?;
        if shared.failure.get().is_some() {
            return Err(self.gone());
        }
        let prompt_tokens = request.prompt.len() as u32;
        let ticket = queue.enter(request.caller)?;
        let (queue, position) = (Arc::clone(queue), ticket.position());
        let (sender, events) = mpsc::channel(self.inner.event_buffer);
        let sequence = ActiveSequence::new(request, info.context_tokens, sender, ticket);
        shared.live.fetch_add(1, Relaxed);
        // As many as have tickets fit the channel.
        if commands.try_send(sequence).is_err() {
            shared.live.fetch_sub(1, Relaxed);
            return Err(self.gone());
        }
        let shared = Arc::clone(shared);
        Ok(Sequence { events, shared, queue, position, prompt_tokens, is_over: false })
    }

    /// Whether the model makes vectors of texts, instead of writing texts.
    pub fn is_encoder(&self) -> bool {
        matches!(self.inner.commands, Commands::Texts(_))
    }

    /// Whether the model scores pairs of texts, instead of making vectors.
    pub fn is_cross_encoder(&self) -> bool {
        let encoder = self.inner.info.shape.encoder.as_ref();
        encoder.is_some_and(|encoder| encoder.output == EncoderOutput::Score)
    }

    /// Queues texts, each as this model's tokens, to be made vectors (or scores) of: one place in
    /// the queue for all of them. Returns at once; an error means that nothing was queued.
    pub fn embed(&self, caller: CallerKey, texts: Vec<EncoderText>) -> Result<Embedding> {
        let Inner { info, shared, queue, commands, .. } = &*self.inner;
        let Commands::Texts(commands) = commands else {
            let problem = "this model writes texts and makes no vectors of them";
            return Err(Error::InvalidRequest(problem.into()));
        };
        check_texts(&texts, info)?;
        if shared.failure.get().is_some() {
            return Err(self.gone());
        }
        let tokens = texts.iter().map(|text| text.tokens.len() as u32);
        let tokens = tokens.fold(0, u32::saturating_add);
        let ticket = queue.enter(caller)?;
        let (sender, answer) = oneshot::channel();
        shared.live.fetch_add(1, Relaxed);
        // As many as have tickets fit the channel.
        if commands.try_send(EmbeddingJob { texts, answer: sender, ticket }).is_err() {
            shared.live.fetch_sub(1, Relaxed);
            return Err(self.gone());
        }
        Ok(Embedding { answer, tokens, shared: Arc::clone(shared) })
    }

    /// What the model does now.
    pub fn stats(&self) -> ModelStats {
        let shared = &self.inner.shared;
        let (live, running) = (shared.live.load(Relaxed), shared.running.load(Relaxed));
        ModelStats {
            running,
            waiting: live.saturating_sub(running),
            pages_used: shared.pages_used.load(Relaxed),
            pages_cached: shared.pages_cached.load(Relaxed),
            pages_total: self.inner.info.pages_total,
            computed_tokens: shared.computed_tokens.load(Relaxed),
            reused_tokens: shared.reused_tokens.load(Relaxed),
            completion_tokens: shared.completion_tokens.load(Relaxed),
            preemptions: shared.preemptions.load(Relaxed),
            steps: shared.steps.load(Relaxed),
            queue_wait: self.inner.queue.wait_of_next(),
            mean_run: Duration::from_micros(shared.mean_run_us.load(Relaxed)),
        }
    }

    /// Whether the model's thread still works.
    pub(crate) fn is_alive(&self) -> bool {
        self.inner.shared.failure.get().is_none() && !self.inner.thread.is_finished()
    }

    /// Whether nothing runs or waits and nobody else holds the model.
    pub(crate) fn is_idle(&self) -> bool {
        Arc::strong_count(&self.inner) == 1 && self.inner.shared.live.load(Relaxed) == 0
    }

    /// Gives up this handle. If it was the last one and nothing runs, waits until the model's
    /// memory is free.
    pub(crate) fn close(self) {
        let shared = Arc::clone(&self.inner.shared);
        let Ok(inner) = Arc::try_unwrap(self.inner) else { return };
        drop(inner.commands);
        if shared.live.load(Relaxed) == 0 && inner.thread.join().is_err() {
            tracing::error!(model.name = %inner.info.name, "the model's thread panicked");
        }
    }

    fn gone(&self) -> Error {
        match self.inner.shared.failure.get() {
            Some(failure) => Error::ModelFailed(failure.clone()),
            None => Error::Unloaded,
        }
    }
}

fn check_texts(texts: &[EncoderText], info: &ModelInfo) -> Result<()> {
    if texts.is_empty() || texts.iter().any(|text| text.tokens.is_empty()) {
        return Err(Error::InvalidRequest("a text without tokens has no vector".into()));
    }
    for EncoderText { tokens: text, .. } in texts {
        let (prompt_tokens, context_tokens) = (text.len() as u32, info.context_tokens);
        if prompt_tokens > context_tokens {
            return Err(Error::ContextFull { prompt_tokens, context_tokens });
        }
        if let Some(id) = text.iter().find(|&&id| id as usize >= info.shape.vocab) {
            let problem = format!("the token id {id} is beyond the vocabulary");
            return Err(Error::InvalidRequest(problem));
        }
    }
    Ok(())
}

impl Sequence {
    /// Tokens of the prompt.
    pub fn prompt_tokens(&self) -> u32 {
        self.prompt_tokens
    }

    /// Where the sequence stands in the queue; `None` once it runs, and before it is known.
    pub fn place(&self) -> Option<QueuePlace> {
        let position = self.position.load(Relaxed);
        let wait = self.queue.wait(position as usize);
        (position > 0).then_some(QueuePlace { position, wait })
    }

    /// The next event; `None` after the last one, which is `Finished` or an error.
    pub async fn recv(&mut self) -> Option<Result<Event>> {
        let event = self.events.recv().await;
        self.note(event)
    }

    /// Like [`Sequence::recv`], for threads that may block.
    pub fn blocking_recv(&mut self) -> Option<Result<Event>> {
        let event = self.events.blocking_recv();
        self.note(event)
    }

    fn note(&mut self, event: Option<Result<Event>>) -> Option<Result<Event>> {
        let was_over = self.is_over;
        self.is_over |= !matches!(event, Some(Ok(Event::Text { .. })));
        match event {
            None if was_over => None,
            // The thread went without a word to this sequence.
            None => Some(Err(match self.shared.failure.get() {
                Some(failure) => Error::ModelFailed(failure.clone()),
                None => Error::Unloaded,
            })),
            some => some,
        }
    }
}
