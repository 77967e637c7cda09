//! Hearth's engine, in this process, through its public interface.

use std::path::{Path, PathBuf};
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

    /// Tokens that each stream gets within a time, all at once.
    pub fn shares(&self, prompts: &[Vec<u32>], time: Duration) -> Result<Vec<u32>> {
        let deadline = Instant::now() + time;
        let submit = |prompt: &Vec<u32>| {
            // One event per token, whatever its text.
            let logprobs = Some(0);
            let request = measure::request(&self.model, prompt.clone(), u32::MAX);
            self.model.submit(SequenceRequest { logprobs, ..request })
        };
        let sequences = prompts.iter().map(submit).collect::<hearth_engine::Result<Vec<_>>>()?;
        thread::scope(|scope| {
            let read = |sequence| scope.spawn(move || count_until(sequence, deadline));
            let readers: Vec<_> = sequences.into_iter().map(read).collect();
            let panicked = |_| anyhow::anyhow!("a reader panicked");
            readers.into_iter().map(|reader| reader.join().map_err(panicked)?).collect()
        })
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
