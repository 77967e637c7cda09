//! `hearth bench MODEL`: what this machine can do with a model.
//!
//! It loads the model inside this process, so that nothing stands between the engine and the clock,
//! and holds what it measures against what the machine can do at best.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use hearth_engine::{
    DeviceChoice, EngineConfig, Machine, MachineLimits, Model, Pool, Source, TokenCost, measure,
    measure::DecodeRate, process_memory_bytes,
};
use hearth_formats::ModelFile;
use hearth_hub::Library;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::app::STARTER;
use crate::cli::{Bench, Target};
use crate::config::Config;
use crate::lock::{DataLock, LockState};
use crate::terminal;

/// Streams that are decoded together.
const STREAMS: [usize; 3] = [1, 4, 16];
/// A short prompt: attention then costs little, and all streams have soon begun to write.
const PROMPT_TOKENS: usize = 8;
const LONG_PROMPT_TOKENS: usize = 512;
/// An answer takes about so long alone, between these many tokens.
const ANSWER_S: f64 = 2.0;
const ANSWER_TOKENS: std::ops::RangeInclusive<u32> = 8..=128;
/// Room of one sequence: a long prompt, or a short one and its answer.
const CONTEXT_TOKENS: u32 = 1024;

/// Everything that was measured; what `--json` prints.
#[derive(Debug, Serialize)]
struct Findings {
    model: String,
    architecture: &'static str,
    quantization: &'static str,
    parameters: u64,
    weights_bytes: u64,
    device: &'static str,
    threads: usize,
    rounds: u32,
    load_s: f64,
    /// Reckoned before loading: weights, KV cache and workspace.
    memory_bytes: u64,
    /// Of this process while the model is loaded.
    process_memory_bytes: u64,
    /// Of this machine's processor; absent when the model runs elsewhere.
    limits: Option<Limits>,
    prefill: Prefill,
    decode: Vec<Decode>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Limits {
    read_bytes_per_s: f64,
    multiply_ops_per_s: f64,
}

#[derive(Debug, Serialize)]
struct Prefill {
    prompt_tokens: usize,
    tokens_per_s: f64,
    /// Of the machine's 8-bit products.
    multiply_share: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Decode {
    streams: usize,
    /// All streams together.
    tokens_per_s: f64,
    tokens_per_step: f64,
    /// Of the bandwidth with which the machine reads memory: each step reads all weights.
    read_share: Option<f64>,
}

/// Runs `hearth bench`.
pub async fn bench(target: &Target, config: &Config, command: Bench) -> Result<()> {
    ensure!(target.server.is_none(), "bench measures this machine; leave --server out");
    let (config, as_json) = (config.clone(), command.json);
    // Ctrl+C ends the process: nothing that is measured needs to be put away.
    let findings = tokio::task::spawn_blocking(move || measure_all(&config, &command)).await??;
    match as_json {
        true => terminal::line(&serde_json::to_string_pretty(&findings)?),
        false => print(&findings),
    }
}

fn measure_all(config: &Config, command: &Bench) -> Result<Findings> {
    let Found { name, source, lock: _lock } = find(config, &command.model)?;
    let file = match &source {
        Source::Path(path) => ModelFile::open(path)?,
        Source::Static(bytes) => ModelFile::from_static(bytes)?,
    };
    let threads = std::thread::available_parallelism()?.get();
    let bar = progress(command.rounds)?;
    bar.set_message("what the machine can do");
    let limits = Limits::measure(threads, command.rounds)?;
    bar.set_message("loading the model");
    let begun = Instant::now();
    let pool = Pool::new(engine(&config.engine), Machine::detect())?;
    let model = pool.get(&name, &source)?;
    let load_s = begun.elapsed().as_secs_f64();
    let info = model.info();
    let limits = (info.device == DeviceChoice::Cpu).then_some(limits);
    let rounds = command.rounds;
    let mut run =
        Run { model: &model, cost: TokenCost::of(&file), limits, rounds, prompts: 0, bar };
    let prefill = run.prefill()?;
    let decode = run.decode_all()?;
    run.bar.finish_and_clear();
    Ok(Findings {
        model: name,
        architecture: info.shape.architecture.name(),
        quantization: info.quantization,
        parameters: info.parameters,
        weights_bytes: file.weights_bytes(),
        device: match info.device {
            DeviceChoice::Cpu => "cpu",
            DeviceChoice::Cuda(_) => "cuda",
            DeviceChoice::Metal => "metal",
        },
        threads,
        rounds,
        load_s,
        memory_bytes: info.memory_bytes,
        process_memory_bytes: process_memory_bytes(),
        limits,
        prefill,
        decode,
    })
}

/// A model to measure.
struct Found {
    name: String,
    source: Source,
    /// Keeps a server from starting on the same data meanwhile.
    lock: Option<DataLock>,
}

/// A file or folder of this name, else the model of this name in the library.
fn find(config: &Config, model: &str) -> Result<Found> {
    let path = Path::new(model);
    if path.exists() {
        let source = Source::Path(path.to_owned());
        return Ok(Found { name: model.to_owned(), source, lock: None });
    }
    let directory = &config.data.dir;
    let LockState::Ours(lock) = DataLock::acquire(directory)? else {
        let directory = directory.display();
        bail!("a server works on {directory} and would share the machine; stop it first");
    };
    let library =
        Library::open(&config.models_dir(), &[STARTER]).context("cannot open the model library")?;
    let entry = library.find(model)?;
    let source = match library.source(&entry.name)? {
        hearth_hub::Source::Path(path) => Source::Path(path),
        hearth_hub::Source::Static(bytes) => Source::Static(bytes),
    };
    Ok(Found { name: entry.name.to_string(), source, lock: Some(lock) })
}

/// The settings, with room for what is measured and not more.
fn engine(config: &EngineConfig) -> EngineConfig {
    let most = STREAMS[STREAMS.len() - 1];
    EngineConfig {
        context_tokens: CONTEXT_TOKENS,
        max_sequences: config.max_sequences.max(most),
        queue_sequences: config.queue_sequences.max(most),
        budget_tokens: config.budget_tokens.max(config.max_sequences.max(most)),
        keep_alive_s: 0,
        ..config.clone()
    }
}

fn progress(rounds: u32) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}")?;
    let steps = u64::from(rounds) * (STREAMS.len() as u64 + 1);
    Ok(ProgressBar::new(steps).with_style(style))
}

impl Limits {
    fn measure(threads: usize, rounds: u32) -> Result<Limits> {
        let machine = MachineLimits::new(threads)?;
        Ok(Limits {
            read_bytes_per_s: median((0..rounds).map(|_| machine.read_bytes_per_s())),
            multiply_ops_per_s: median((0..rounds).map(|_| machine.multiply_ops_per_s())),
        })
    }
}

/// Measures one model.
struct Run<'a> {
    model: &'a Model,
    cost: TokenCost,
    limits: Option<Limits>,
    rounds: u32,
    /// Made so far: none comes twice, or a cache that remembers would be measured.
    prompts: u64,
    bar: ProgressBar,
}

impl Run<'_> {
    fn prefill(&mut self) -> Result<Prefill> {
        let prompt_tokens = LONG_PROMPT_TOKENS.min(self.context_tokens() / 2);
        self.bar.set_message(format!("a prompt of {prompt_tokens} tokens"));
        let mut rates = Vec::new();
        for _ in 0..self.rounds {
            let prompt = self.prompt(prompt_tokens);
            rates.push(measure::prefill(self.model, prompt)?);
            self.bar.inc(1);
        }
        let tokens_per_s = median(rates);
        let share =
            |limits: Limits| tokens_per_s * self.cost.prompt_ops as f64 / limits.multiply_ops_per_s;
        Ok(Prefill { prompt_tokens, tokens_per_s, multiply_share: self.limits.map(share) })
    }

    fn decode_all(&mut self) -> Result<Vec<Decode>> {
        self.bar.set_message("warming up");
        let least = *ANSWER_TOKENS.start();
        let alone = self.decode_once(1, least)?.tokens_per_s;
        let most = (self.context_tokens() / 2).min(*ANSWER_TOKENS.end() as usize) as u32;
        // A float outside the range of u32 becomes its nearest.
        let tokens = ((alone * ANSWER_S) as u32).min(most).max(least);
        STREAMS.into_iter().map(|streams| self.decode(streams, tokens)).collect()
    }

    fn decode(&mut self, streams: usize, tokens: u32) -> Result<Decode> {
        self.bar.set_message(format!("{streams} × {tokens} tokens"));
        let (mut rates, mut per_step) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let rate = self.decode_once(streams, tokens)?;
            rates.push(rate.tokens_per_s);
            per_step.push(rate.tokens_per_step);
            self.bar.inc(1);
        }
        let (tokens_per_s, tokens_per_step) = (median(rates), median(per_step));
        let share = |limits: Limits| {
            let steps_per_s = tokens_per_s / tokens_per_step;
            steps_per_s * self.cost.step_bytes as f64 / limits.read_bytes_per_s
        };
        let read_share = self.limits.map(share);
        Ok(Decode { streams, tokens_per_s, tokens_per_step, read_share })
    }

    fn decode_once(&mut self, streams: usize, tokens: u32) -> Result<DecodeRate> {
        let prompt_tokens = PROMPT_TOKENS.min(self.context_tokens() / 4).max(1);
        let model = self.model;
        let mut requests = || {
            let request = |_| measure::request(model, self.prompt(prompt_tokens), tokens);
            (0..streams).map(request).collect::<Vec<_>>()
        };
        // Answers so short that the first ends before the last begins are measured one by one.
        match measure::decode_together(model, requests())? {
            Some(rate) => Ok(rate),
            None => Ok(measure::decode(model, requests())?),
        }
    }

    fn prompt(&mut self, tokens: usize) -> Vec<u32> {
        self.prompts += 1;
        measure::prompt(self.model, self.prompts, tokens)
    }

    fn context_tokens(&self) -> usize {
        self.model.info().context_tokens as usize
    }
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print(findings: &Findings) -> Result<()> {
    let Findings { model, architecture, quantization, device, threads, .. } = findings;
    terminal::line(&format!(
        "{model}: {architecture} {quantization}, {} of weights, loaded in {:.1} s on {device} \
         ({threads} threads)",
        terminal::size(findings.weights_bytes),
        findings.load_s,
    ))?;
    terminal::line(&format!(
        "memory: {} reserved, {} taken by the process",
        terminal::size(findings.memory_bytes),
        terminal::size(findings.process_memory_bytes),
    ))?;
    if let Some(limits) = findings.limits {
        terminal::line(&format!(
            "machine: reads {}/s, {:.0} billion 8-bit operations/s",
            terminal::size(limits.read_bytes_per_s as u64),
            limits.multiply_ops_per_s / 1e9,
        ))?;
    }
    terminal::line("")?;
    let percent = |share: Option<f64>, of: &str| {
        share.map_or_else(String::new, |share| format!("{:.0} % of {of}", 100.0 * share))
    };
    let rate = |rate: f64| format!("{rate:.1}");
    let prefill = &findings.prefill;
    let mut rows = vec![vec![
        format!("prompt of {} tokens", prefill.prompt_tokens),
        rate(prefill.tokens_per_s),
        rate(prefill.tokens_per_s),
        percent(prefill.multiply_share, "the machine's operations"),
    ]];
    rows.extend(findings.decode.iter().map(|decode| {
        let streams = if decode.streams == 1 { "stream" } else { "streams" };
        vec![
            format!("answers, {} {streams}", decode.streams),
            rate(decode.tokens_per_s),
            rate(decode.tokens_per_s / decode.streams as f64),
            percent(decode.read_share, "the machine's bandwidth"),
        ]
    }));
    terminal::table(&["WORK", "TOKENS/S", "EACH", "LIMIT"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path) -> Config {
        let mut config = Config::default();
        config.data.dir = folder.to_owned();
        config
    }

    #[test]
    fn a_file_is_measured_at_every_number_of_streams_without_a_data_directory() {
        let shared = std::env::var_os("HEARTH_SHARED").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
            std::path::PathBuf::from,
        );
        let model = shared.join("models/stories260k/stories260K-q8_0.gguf");
        let model = model.to_str().unwrap().to_owned();
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let command = Bench { model, json: true, rounds: 1 };
        let findings = measure_all(&config(&data), &command).unwrap();
        assert!(!data.exists());
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json["quantization"], "Q8_0");
        assert!(json["prefill"]["tokens_per_s"].as_f64().unwrap() > 0.0, "{json}");
        let streams = json["decode"].as_array().unwrap().iter().map(|row| &row["streams"]);
        assert!(streams.eq([1, 4, 16].iter()), "{json}");
        for row in json["decode"].as_array().unwrap() {
            assert!(row["tokens_per_s"].as_f64().unwrap() > 0.0, "{json}");
            assert!(row["read_share"].as_f64().unwrap() > 0.0, "{json}");
        }
    }

    #[test]
    fn a_running_server_is_not_measured_beside() {
        let folder = tempfile::tempdir().unwrap();
        let _server = DataLock::acquire(folder.path()).unwrap();
        let command = Bench { model: "hearth-guide".into(), json: false, rounds: 1 };
        let error = measure_all(&config(folder.path()), &command).unwrap_err().to_string();
        assert!(error.contains("stop it first"), "{error}");
    }

    #[test]
    fn an_unknown_model_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let command = Bench { model: "nobody".into(), json: false, rounds: 1 };
        let error = measure_all(&config(folder.path()), &command).unwrap_err().to_string();
        assert!(error.contains("nobody"), "{error}");
    }
}
