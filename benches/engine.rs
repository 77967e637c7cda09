//! Tokens per second of the engine, beside candle-transformers' own quantised models, in one run.
//!
//! `cargo run --release -p hearth-benches --bin bench-engine -- MODEL.gguf …`; without names the
//! stories260k files of the shared test data. Prints medians of interleaved rounds; both sides
//! answer greedily. It needs nothing but this repository.

use std::path::PathBuf;

use anyhow::Result;
use hearth_benches::candle::Candle;
use hearth_benches::hearth::{Hearth, stories};
use hearth_benches::rounds::Series;
use hearth_engine::EngineConfig;
use hearth_engine::measure::{prefill, prompt};

const ROUNDS: u64 = 7;
const PROMPT_TOKENS: usize = 32;
const ANSWER_TOKENS: u32 = 200;
const LONG_PROMPT_TOKENS: usize = 400;

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn main() -> Result<()> {
    let named: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let models = if named.is_empty() { stories() } else { named };
    println!("{ROUNDS} rounds, medians, tokens/s");
    println!("| model | work | hearth | candle-transformers | ratio |\n|---|---|---|---|---|");
    for path in models {
        let hearth = Hearth::load(&path, EngineConfig::default())?;
        let mut candle = Candle::load(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for streams in [1, 8] {
            let (mut ours, mut theirs) = (Series::default(), Series::default());
            for round in 0..ROUNDS {
                let seeds = round * streams..(round + 1) * streams;
                let one = |seed| prompt(&hearth.model, seed, PROMPT_TOKENS);
                let prompts: Vec<Vec<u32>> = seeds.map(one).collect();
                ours.push(hearth.decode(&prompts, ANSWER_TOKENS)?.tokens_per_s);
                // Some of its models have no batches.
                theirs.push(candle.decode(&prompts, ANSWER_TOKENS).unwrap_or(f64::NAN));
            }
            row(&format!("{name} | decode, {streams} streams"), &ours, &theirs);
        }
        let (mut ours, mut theirs) = (Series::default(), Series::default());
        for round in 0..ROUNDS {
            let prompt = prompt(&hearth.model, 1000 + round, LONG_PROMPT_TOKENS);
            theirs.push(candle.prefill(&prompt)?);
            ours.push(prefill(&hearth.model, prompt)?);
        }
        row(&format!("{name} | prefill, {LONG_PROMPT_TOKENS} tokens"), &ours, &theirs);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn row(what: &str, ours: &Series, theirs: &Series) {
    let (ours, theirs) = (ours.median(), theirs.median());
    println!("| {what} | {ours:.1} | {theirs:.1} | {:.2} |", ours / theirs);
}
