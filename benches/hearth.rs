//! Hearth's engine, in this process, through its public interface.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use hearth_engine::measure::{self, DecodeRate};
use hearth_engine::{
    CallerKey, EngineConfig, Event, Machine, Model, Pool, Sequence, SequenceRequest, Source,
};

/// Tokens of a stream while nothing else runs.
const QUIET_TOKENS: usize = 80;
/// A prompt that takes longer beside a stream is given up.
const LONGEST_PROMPT: Duration = Duration::from_secs(600);

/// A loaded model.
pub struct Hearth {
    pub model: Model,
    // Keeps the model loaded.
    _pool: Pool,
}

impl Hearth {
    pub fn load(path: &Path, config: EngineConfig) -> Result<Hearth> {
        let pool = Pool::new(config, Machine::detect())?;
        let model = pool.get("bench", &Source::Path(path.to_path_buf()))?;
        Ok(Hearth { model, _pool: pool })
    }

    /// Answers all prompts at once.
    pub fn decode(&self, prompts: &[Vec<u32>], tokens: u32) -> Result<DecodeRate> {
        let request = |prompt: &Vec<u32>| measure::request(&self.model, prompt.clone(), tokens);
        Ok(measure::decode(&self.model, prompts.iter().map(request).collect())?)
    }

    /// One stream for each of as many users, all at once: how long until all have begun, and how
    /// many tokens each gets in a time after that.
    pub fn shares(&self, prompts: &[Vec<u32>], time: Duration) -> Result<(Duration, Vec<usize>)> {
        let submit = |(user, prompt): (usize, &Vec<u32>)| {
            // One event per token, whatever its text.
            let (caller, logprobs) = (CallerKey(user as u64), Some(0));
            let request = measure::request(&self.model, prompt.clone(), u32::MAX);
            self.model.submit(SequenceRequest { caller, logprobs, ..request })
        };
        let submitted = Instant::now();
        let sequences = prompts.iter().enumerate().map(submit);
        let sequences = sequences.collect::<hearth_engine::Result<Vec<_>>>()?;
        let is_over = AtomicBool::new(false);
        let (begun, beginnings) = mpsc::channel();
        let times = thread::scope(|scope| {
            let read = |sequence| {
                let (begun, is_over) = (begun.clone(), &is_over);
                scope.spawn(move || token_times(sequence, &begun, is_over))
            };
            let readers: Vec<_> = sequences.into_iter().map(read).collect();
            drop(begun);
            // One that fails ends its channel, and is found below.
            readers.iter().for_each(|_| beginnings.recv().unwrap_or_default());
            thread::sleep(time);
            is_over.store(true, Ordering::Relaxed);
            let panicked = |_| anyhow::anyhow!("a reader panicked");
            let times = readers.into_iter().map(|reader| reader.join().map_err(panicked)?);
            times.collect::<Result<Vec<Vec<Instant>>>>()
        })?;
        let all_begun = times.iter().filter_map(|times| times.first()).max().copied();
        let all_begun = all_begun.unwrap_or(submitted);
        let counted = all_begun..all_begun + time;
        let count = |times: &Vec<Instant>| times.iter().filter(|at| counted.contains(at)).count();
        Ok((all_begun - submitted, times.iter().map(count).collect()))
    }

    /// Milliseconds between the tokens of one stream: while nothing else runs, and beside a long
    /// prompt.
    pub fn gaps(&self, prompt: Vec<u32>, long: Vec<u32>) -> Result<[Vec<f64>; 2]> {
        let request = measure::request(&self.model, prompt, u32::MAX);
        let logprobs = Some(0);
        let mut stream = self.model.submit(SequenceRequest { logprobs, ..request })?;
        let mut next = || match stream.blocking_recv() {
            Some(Ok(Event::Text { .. })) => Ok(Instant::now()),
            Some(Err(error)) => Err(error.into()),
            _ => Err(anyhow::anyhow!("the stream ended before the prompt was read")),
        };
        let quiet = (0..QUIET_TOKENS).map(|_| next()).collect::<Result<Vec<Instant>>>()?;
        let caller = CallerKey(1);
        let request = SequenceRequest { caller, ..measure::request(&self.model, long, 1) };
        let prompt = self.model.submit(request)?;
        let reader = thread::spawn(move || count_until(prompt, Instant::now() + LONGEST_PROMPT));
        let mut beside = vec![next()?];
        while !reader.is_finished() {
            beside.push(next()?);
        }
        reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??;
        let gaps = |times: &[Instant]| {
            let gap = |pair: &[Instant]| (pair[1] - pair[0]).as_secs_f64() * 1e3;
            times.windows(2).map(gap).collect()
        };
        Ok([gaps(&quiet[QUIET_TOKENS / 4..]), gaps(&beside)])
    }

    /// The likeliest next tokens after a prompt, with their log probabilities.
    pub fn likeliest(&self, prompt: Vec<u32>) -> Result<Vec<(u32, f32)>> {
        let request = measure::request(&self.model, prompt, 1);
        let mut sequence = self.model.submit(SequenceRequest { logprobs: Some(20), ..request })?;
        while let Some(event) = sequence.blocking_recv() {
            if let Event::Text { tokens, .. } = event?
                && let Some(token) = tokens.into_iter().next()
            {
                return Ok(token.top);
            }
        }
        anyhow::bail!("the sequence ended without a token")
    }
}

/// The small models of the shared test data.
pub fn stories() -> Vec<PathBuf> {
    let shared = std::env::var_os("HEARTH_SHARED").map(PathBuf::from);
    let shared =
        shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let folder = shared.join("models/stories260k");
    ["stories260K-f32.gguf", "stories260K-q8_0.gguf"].map(|name| folder.join(name)).to_vec()
}

/// When each token came, until it is over. Says when the first has come.
fn token_times(
    mut sequence: Sequence,
    begun: &mpsc::Sender<()>,
    is_over: &AtomicBool,
) -> Result<Vec<Instant>> {
    let mut times = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        match sequence.blocking_recv() {
            Some(Ok(Event::Text { .. })) => {
                times.push(Instant::now());
                if times.len() == 1 {
                    begun.send(())?;
                }
            }
            Some(Ok(Event::Finished(_))) | None => break,
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(times)
}

/// Reads until the deadline, then drops the sequence, which cancels it.
fn count_until(mut sequence: Sequence, deadline: Instant) -> Result<u32> {
    let mut count = 0;
    while Instant::now() < deadline {
        match sequence.blocking_recv() {
            Some(Ok(Event::Text { tokens, .. })) => count += tokens.len() as u32,
            Some(Ok(Event::Finished(_))) | None => break,
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(count)
}
