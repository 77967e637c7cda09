//! The thread of an encoder model: takes what waits, runs it together, answers.
//!
//! Jobs take turns text by text, so one job of thousands of texts does not hold up a single text
//! that comes later by more than one batch.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::encoder::{Encoder, EncoderText};
use crate::error::{Error, Result};
use crate::queue::{Queue, Ticket};
use crate::worker::Shared;

/// One vector per text, in their order; one of a single number where the model scores pairs.
pub type Vectors = Vec<Vec<f32>>;

/// Texts of one caller to be made vectors of.
#[derive(Debug)]
pub(crate) struct EmbeddingJob {
    /// Never empty; no text is empty or longer than the context.
    pub(crate) texts: Vec<EncoderText>,
    pub(crate) answer: oneshot::Sender<Result<Vectors>>,
    pub(crate) ticket: Ticket,
}

/// Vectors under way. Dropping it cancels the texts that have not run.
#[derive(Debug)]
pub struct Embedding {
    pub(crate) answer: oneshot::Receiver<Result<Vectors>>,
    pub(crate) tokens: u32,
    pub(crate) shared: Arc<Shared>,
}

/// Everything the thread owns.
pub(crate) struct Embedder {
    pub(crate) encoder: Encoder,
    pub(crate) jobs: Receiver<EmbeddingJob>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: Arc<Queue>,
    /// Tokens of one batch; a longer text runs alone.
    pub(crate) budget_tokens: usize,
}

/// A job and what is done of it.
struct Active {
    job: EmbeddingJob,
    vectors: Vectors,
    since: Instant,
}

impl Embedding {
    /// Tokens of all texts.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Waits for the vectors.
    pub async fn vectors(self) -> Result<Vectors> {
        let gone = || match self.shared.failure.get() {
            Some(failure) => Error::ModelFailed(failure.clone()),
            None => Error::Unloaded,
        };
        self.answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Embedder {
    /// Runs until all handles are dropped and all jobs are done, or until a batch fails.
    pub(crate) fn work(self) {
        let mut active = VecDeque::new();
        while self.receive(&mut active) {
            let failure = match catch_unwind(AssertUnwindSafe(|| self.run(&mut active))) {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the encoder panicked".to_owned(),
            };
            tracing::error!(failure, "a batch failed; the model is given up");
            // Whoever waits finds its answer dropped, and here the reason.
            let _ = self.shared.failure.set(failure);
            self.shared.live.store(0, Relaxed);
            return;
        }
    }

    /// Takes new jobs; waits while there is nothing to do. `false` when all is over.
    fn receive(&self, active: &mut VecDeque<Active>) -> bool {
        if active.is_empty() {
            match self.jobs.recv() {
                Ok(job) => active.push_back(Active::new(job)),
                Err(_) => return false,
            }
        }
        while let Ok(job) = self.jobs.try_recv() {
            active.push_back(Active::new(job));
        }
        let before = active.len();
        active.retain(|active| !active.job.answer.is_closed());
        self.shared.live.fetch_sub(before - active.len(), Relaxed);
        true
    }

    /// Runs one batch: a text of each job in turn while the budget lasts.
    fn run(&self, active: &mut VecDeque<Active>) -> Result<()> {
        let lengths: Vec<Vec<usize>> = active.iter().map(Active::lengths).collect();
        let taken = share(&lengths, self.budget_tokens);
        let mut texts: Vec<&EncoderText> = Vec::new();
        for (active, &count) in active.iter().zip(&taken) {
            let done = active.vectors.len();
            texts.extend(&active.job.texts[done..done + count]);
        }
        if texts.is_empty() {
            return Ok(());
        }
        let tokens: usize = texts.iter().map(|text| text.tokens.len()).sum();
        self.shared.running.store(taken.iter().filter(|&&count| count > 0).count(), Relaxed);
        let mut vectors = self.encoder.forward(&texts)?.into_iter();
        self.shared.steps.fetch_add(1, Relaxed);
        self.shared.computed_tokens.fetch_add(tokens as u64, Relaxed);
        for (active, &count) in active.iter_mut().zip(&taken) {
            active.vectors.extend(vectors.by_ref().take(count));
        }
        // Who had a turn goes behind those who had none.
        let turns = taken.iter().filter(|&&count| count > 0).count();
        active.rotate_left(turns.min(active.len()));
        for _ in 0..active.len() {
            let Some(one) = active.pop_front() else { break };
            match one.vectors.len() == one.job.texts.len() {
                true => self.answer(one),
                false => active.push_back(one),
            }
        }
        self.shared.running.store(0, Relaxed);
        Ok(())
    }

    fn answer(&self, active: Active) {
        let took = active.since.elapsed();
        let mean = Duration::from_micros(self.shared.mean_run_us.load(Relaxed));
        let mean = if mean.is_zero() { took } else { (mean * 7 + took) / 8 };
        self.shared.mean_run_us.store(mean.as_micros() as u64, Relaxed);
        self.queue.set_interval(mean);
        self.shared.live.fetch_sub(1, Relaxed);
        let Active { job: EmbeddingJob { answer, ticket, .. }, vectors, .. } = active;
        // The place is free before the caller hears: its next job finds room.
        drop(ticket);
        let is_sound = vectors.iter().flatten().all(|value| value.is_finite());
        // A caller that has gone misses nothing.
        let _ = answer.send(if is_sound { Ok(vectors) } else { Err(Error::NotANumber) });
    }
}

impl Active {
    fn new(job: EmbeddingJob) -> Active {
        Active { vectors: Vec::with_capacity(job.texts.len()), job, since: Instant::now() }
    }

    /// Of the texts that are left.
    fn lengths(&self) -> Vec<usize> {
        let left = &self.job.texts[self.vectors.len()..];
        left.iter().map(|text| text.tokens.len()).collect()
    }
}

/// How many of its next texts each job runs in a batch, given the lengths of all that are left:
/// one of each in turn, until the next one does not fit. The first always does.
fn share(lengths: &[Vec<usize>], budget_tokens: usize) -> Vec<usize> {
    let mut taken = vec![0; lengths.len()];
    let longest = lengths.iter().map(Vec::len).max().unwrap_or(0);
    let (mut tokens, mut is_full) = (0, false);
    for turn in 0..longest {
        for (taken, lengths) in taken.iter_mut().zip(lengths) {
            let Some(length) = lengths.get(turn) else { continue };
            is_full |= tokens > 0 && tokens + length > budget_tokens;
            if is_full {
                break;
            }
            tokens += length;
            *taken += 1;
        }
        if is_full {
            break;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn jobs_take_turns_text_by_text_until_the_budget_is_full() {
        let jobs = [vec![10; 100], vec![5], vec![20, 20]];
        assert_eq!(share(&jobs, 50), [2, 1, 1]);
        assert_eq!(share(&jobs, 30), [1, 1, 0], "what does not fit ends the batch");
        assert_eq!(share(&jobs, 10_000), [100, 1, 2]);
    }

    #[test]
    fn a_text_longer_than_the_budget_runs_alone() {
        assert_eq!(share(&[vec![600, 1], vec![1]], 512), [1, 0]);
        assert_eq!(share(&[], 512), [0; 0]);
    }
}
