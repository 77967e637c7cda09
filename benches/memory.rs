//! What a model takes: the engine's estimate beside what the process has resident, its peak beside
//! the file, and how long loading takes beside reading.
//!
//! `cargo run --release -p hearth-benches --bin bench-memory -- MODEL.gguf …`. Each model is loaded
//! in processes of its own, once with the file in the system's cache and once without (GNU `dd`
//! drops it), and then fills its whole KV cache.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hearth_benches::hearth::Hearth;
use hearth_engine::measure::prompt;
use hearth_engine::{EngineConfig, process_memory_bytes, process_peak_bytes};
use serde_json::{Value, json};

/// How the program asks itself to load one model in a process of its own.
const ONE: &str = "--one";
const STREAMS: usize = 2;
const CONTEXT_TOKENS: u32 = 512;
const ANSWER_TOKENS: u32 = 4;

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == ONE).is_some() {
        let path = arguments.next().context("a model")?;
        println!("{}", one(Path::new(&path))?);
        return Ok(());
    }
    println!(
        "| model | MiB | estimate | resident | ratio | peak of loading, of file | peak in use | without KV, \
         of file | load warm | read warm | load cold | read cold |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for path in arguments.map(PathBuf::from) {
        let read_warm = (read(&path)?, read(&path)?).1;
        let warm = in_a_process(&path)?;
        forget(&path)?;
        let read_cold = read(&path)?;
        forget(&path)?;
        let cold = in_a_process(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = |of: &Value, key: &str| of[key].as_f64().unwrap_or(f64::NAN);
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        let file = path.metadata()?.len() as f64;
        let [estimate, resident, load_peak, peak, kv] =
            ["estimate", "resident", "load_peak", "peak", "kv"].map(|key| number(&warm, key));
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.3} | {:.3} | {:.0} | {:.3} | {:.2} s | {read_warm:.2} s | \
             {:.2} s | {read_cold:.2} s |",
            mib(file),
            mib(estimate),
            mib(resident),
            estimate / resident,
            load_peak / file,
            mib(peak),
            (peak - kv) / file,
            number(&warm, "load_s"),
            number(&cold, "load_s")
        );
    }
    Ok(())
}

/// Loads a model in a new process and says what it said.
fn in_a_process(path: &Path) -> Result<Value> {
    let output = Command::new(std::env::current_exe()?).arg(ONE).arg(path).output()?;
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}: {problem}", path.display());
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Loads and uses the model in this process.
fn one(path: &Path) -> Result<Value> {
    let before = process_memory_bytes();
    let config = EngineConfig {
        context_tokens: CONTEXT_TOKENS,
        max_sequences: STREAMS,
        ..EngineConfig::default()
    };
    let page_tokens = config.page_tokens as u64;
    let begun = Instant::now();
    let hearth = Hearth::load(path, config)?;
    let load_s = begun.elapsed().as_secs_f64();
    let (loaded, load_peak) = (process_memory_bytes(), process_peak_bytes());
    let length = (CONTEXT_TOKENS - ANSWER_TOKENS) as usize;
    let prompts: Vec<Vec<u32>> =
        (0..STREAMS as u64).map(|seed| prompt(&hearth.model, seed, length)).collect();
    hearth.decode(&prompts, ANSWER_TOKENS)?;
    let info = hearth.model.info();
    let shape = &info.shape;
    // Half floats, keys and values.
    let token_bytes = 2 * 2 * (shape.layers * shape.kv_heads * shape.head_dim) as u64;
    Ok(json!({
        "load_s": load_s,
        "estimate": info.memory_bytes,
        "loaded": loaded - before,
        "resident": process_memory_bytes() - before,
        "load_peak": load_peak,
        "peak": process_peak_bytes(),
        "kv": info.pages_total as u64 * page_tokens * token_bytes,
    }))
}

/// Seconds that reading the file takes, piece by piece into one buffer.
fn read(path: &Path) -> Result<f64> {
    let mut buffer = vec![0; 1 << 20];
    let begun = Instant::now();
    let mut file = File::open(path)?;
    while file.read(&mut buffer)? > 0 {}
    Ok(begun.elapsed().as_secs_f64())
}

/// Drops the file from the system's cache.
fn forget(path: &Path) -> Result<()> {
    let input = format!("if={}", path.display());
    let status =
        Command::new("dd").args([&input, "iflag=nocache", "count=0", "status=none"]).status();
    ensure!(status.context("dd")?.success(), "dd cannot drop {} from the cache", path.display());
    Ok(())
}
