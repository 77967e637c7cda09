//! Tokens per second of the engine, beside candle-transformers' own quantised llama, in one run.
//!
//! `cargo run --release -p hearth-benches -- MODEL.gguf …`; without names the stories260k files of
//! the shared test data. Prints medians of interleaved rounds; both sides answer greedily.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::quantized::gguf_file::Content;
use candle_core::{D, Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use hearth_engine::{EngineConfig, Event, Machine, Model, Pool, Sampling, SequenceRequest, Source};

const ROUNDS: usize = 7;
const PROMPT_TOKENS: usize = 32;
const ANSWER_TOKENS: usize = 200;
const LONG_PROMPT_TOKENS: usize = 400;

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn main() -> Result<()> {
    let named: Vec<PathBuf> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .map(PathBuf::from)
        .collect();
    let models = if named.is_empty() { stories() } else { named };
    println!("{ROUNDS} rounds, medians, tokens/s");
    println!("| model | work | hearth | candle-transformers | ratio |\n|---|---|---|---|---|");
    for path in models {
        let pool = Pool::new(EngineConfig::default(), Machine::detect())?;
        let model = pool.get("bench", &Source::Path(path.clone()))?;
        let mut peer = Peer::load(&path)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        for (work, streams) in [("decode, 1 stream", 1), ("decode, 8 streams", 8)] {
            compare(&name, work, || decode(&model, streams), || peer.decode(streams))?;
        }
        let work = format!("prefill, {LONG_PROMPT_TOKENS} tokens");
        compare(&name, &work, || prefill(&model), || peer.prefill())?;
    }
    Ok(())
}

/// Prints one row: medians of interleaved rounds. A peer that cannot do the work says so.
#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn compare(
    name: &str,
    work: &str,
    mut ours: impl FnMut() -> Result<f64>,
    mut theirs: impl FnMut() -> Result<f64>,
) -> Result<()> {
    let (mut our_rates, mut their_rates) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our_rates.push(ours()?);
        their_rates.extend(theirs());
    }
    let ours = median(our_rates);
    if their_rates.len() < ROUNDS {
        println!("| {name} | {work} | {ours:.0} | fails | |");
        return Ok(());
    }
    let theirs = median(their_rates);
    println!("| {name} | {work} | {ours:.0} | {theirs:.0} | {:.2} |", ours / theirs);
    Ok(())
}

fn stories() -> Vec<PathBuf> {
    let shared = std::env::var_os("HEARTH_SHARED").map(PathBuf::from);
    let shared =
        shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let folder = shared.join("models/stories260k");
    ["stories260K-f32.gguf", "stories260K-q8_0.gguf"].map(|name| folder.join(name)).to_vec()
}

fn prompt(length: usize) -> Vec<u32> {
    (0..length as u32).map(|index| 260 + index * 37 % 250).collect()
}

/// A greedy request that does not end early.
fn request(model: &Model, prompt_tokens: usize, answer_tokens: usize) -> SequenceRequest {
    let ends = model.tokenizer().eos_ids().iter().map(|&end| (end, -100.0)).collect();
    SequenceRequest {
        prompt: prompt(prompt_tokens),
        sampling: Sampling { temperature: 0.0, logit_bias: ends, ..Sampling::default() },
        max_tokens: Some(answer_tokens as u32),
        ..SequenceRequest::default()
    }
}

/// Generated tokens per second, all streams together, prompts left out as far as they can be.
fn decode(model: &Model, streams: usize) -> Result<f64> {
    let submit = |_| model.submit(request(model, PROMPT_TOKENS, ANSWER_TOKENS));
    let sequences = (0..streams).map(submit).collect::<hearth_engine::Result<Vec<_>>>()?;
    let (mut tokens, mut seconds) = (0, 0.0f64);
    for mut sequence in sequences {
        while let Some(event) = sequence.blocking_recv() {
            if let Event::Finished(end) = event? {
                tokens += end.completion_tokens - 1;
                seconds = seconds.max((end.total - end.first_token).as_secs_f64());
            }
        }
    }
    Ok(f64::from(tokens) / seconds)
}

fn prefill(model: &Model) -> Result<f64> {
    let mut sequence = model.submit(request(model, LONG_PROMPT_TOKENS, 1))?;
    while let Some(event) = sequence.blocking_recv() {
        if let Event::Finished(end) = event? {
            return Ok(LONG_PROMPT_TOKENS as f64 / end.prefill.as_secs_f64());
        }
    }
    anyhow::bail!("the sequence ended without an end")
}

/// candle-transformers' model: one batch of streams of one length, its own growing cache.
struct Peer {
    model: ModelWeights,
}

impl Peer {
    fn load(path: &Path) -> Result<Peer> {
        let mut file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
        let content = Content::read(&mut file)?;
        Ok(Peer { model: ModelWeights::from_gguf(content, &mut file, &Device::Cpu)? })
    }

    fn decode(&mut self, streams: usize) -> Result<f64> {
        let one = Tensor::new(prompt(PROMPT_TOKENS), &Device::Cpu)?;
        let prompts = one.reshape((1, PROMPT_TOKENS))?.repeat((streams, 1))?;
        let mut tokens = self.model.forward(&prompts, 0)?.argmax(D::Minus1)?;
        let begun = Instant::now();
        for step in 0..ANSWER_TOKENS - 1 {
            let input = tokens.reshape((streams, 1))?;
            tokens = self.model.forward(&input, PROMPT_TOKENS + step)?.argmax(D::Minus1)?;
        }
        tokens.to_vec1::<u32>()?;
        Ok((streams * (ANSWER_TOKENS - 1)) as f64 / begun.elapsed().as_secs_f64())
    }

    fn prefill(&mut self) -> Result<f64> {
        let input = Tensor::new(prompt(LONG_PROMPT_TOKENS), &Device::Cpu)?;
        let input = input.reshape((1, LONG_PROMPT_TOKENS))?;
        let begun = Instant::now();
        self.model.forward(&input, 0)?.argmax(D::Minus1)?.to_vec1::<u32>()?;
        Ok(LONG_PROMPT_TOKENS as f64 / begun.elapsed().as_secs_f64())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
