//! Hearth's engine beside llama.cpp: the same GGUF files, the same threads, in one run.
//!
//! `cargo run --release -p hearth-benches --bin engine-vs-llamacpp -- --prepare MODEL.gguf …`.
//! `benches/README.md` says what each figure means and how to make the models.

mod report;
mod works;

use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::Result;
use clap::Parser;
use hearth_benches::candle::Candle;
use hearth_benches::hearth::Hearth;
use hearth_benches::llamacpp::{self, LlamaCpp};
use hearth_engine::{EngineConfig, MachineLimits, TokenCost};
use hearth_formats::ModelFile;

use report::Report;
use works::{Bench, Work};

/// Context of every sequence; both sides get the same.
const CONTEXT_TOKENS: u32 = 4096;
/// The most streams of any work.
const MAX_STREAMS: usize = 64;

/// Hearth's engine beside llama.cpp.
#[derive(Debug, Parser)]
struct Arguments {
    /// The files to run.
    #[arg(required = true, value_name = "MODEL.gguf")]
    models: Vec<PathBuf>,
    /// Measurements of each figure; the median is printed.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only this work; may be given several times.
    #[arg(long, value_enum)]
    work: Vec<Work>,
    /// Build llama.cpp first, if it is not there.
    #[arg(long)]
    prepare: bool,
    /// Where llama.cpp is built [default: target/llamacpp].
    #[arg(long, value_name = "DIR")]
    peer: Option<PathBuf>,
    /// Leave candle-transformers out.
    #[arg(long)]
    no_candle: bool,
    /// Write all measurements to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    if arguments.work.is_empty() {
        arguments.work = Work::ALL.to_vec();
    }
    let folder = arguments.peer.clone().unwrap_or_else(llamacpp::default_folder);
    if arguments.prepare {
        llamacpp::prepare(&folder)?;
    }
    let threads = available_parallelism()?.get();
    let limits = MachineLimits::new(threads)?;
    let mut report = Report::new(&limits, threads, arguments.rounds);
    for path in &arguments.models {
        let config = EngineConfig {
            context_tokens: CONTEXT_TOKENS,
            max_sequences: MAX_STREAMS,
            ..EngineConfig::default()
        };
        report.begin_model(path);
        let mut bench = Bench {
            hearth: Hearth::load(path, config)?,
            llamacpp: LlamaCpp::start(&folder, path, threads)?,
            candle: match arguments.no_candle {
                true => None,
                false => Some(Candle::load(path)?),
            },
            limits: &limits,
            cost: TokenCost::of(&ModelFile::open(path)?),
            rounds: arguments.rounds,
            report: &mut report,
            prompts: 0,
        };
        arguments.work.iter().try_for_each(|&work| bench.run(work))?;
    }
    match &arguments.json {
        Some(path) => report.write(path),
        None => Ok(()),
    }
}
