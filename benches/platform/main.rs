//! The library and the Ollama API of the real binary: pulling, listing, loading, and what the
//! dialect costs beside `/v1`.
//!
//! `cargo run --release -p hearth-benches --bin bench-platform -- target/release/hearth MODEL.gguf`.
//! Sides take turns; medians are printed. Needs Linux, `curl` and `sha256sum`.

mod http;
mod registry;
mod server;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use hearth_benches::rounds::Series;
use serde_json::{Value, json};

use registry::Registry;
use server::Server;

#[derive(Parser)]
struct Arguments {
    /// The program that is measured.
    binary: String,
    /// A GGUF model: what is pulled, and what answers.
    model: PathBuf,
    /// How often each thing is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Names that are listed.
    #[arg(long, default_value_t = 500)]
    names: usize,
    /// Tokens of an answer.
    #[arg(long, default_value_t = 64)]
    tokens: u32,
}

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let registry = Registry::start(&arguments.model)?;
    let server = Server::start(&arguments.binary, &registry.address)?;
    let name = format!("{}/bench/model", registry.address);
    println!("| what | Hearth | beside it | ratio |\n|---|---|---|---|");
    let row = |what: &str, ours: String, peer: String, ratio: String| {
        println!("| {what} | {ours} | {peer} | {ratio} |");
    };
    let pulled = pull(&server, &registry, &name, arguments.rounds)?;
    let rate = |seconds: f64| registry.bytes as f64 / seconds / 1e6;
    row(
        &format!("pull of {} MB", registry.bytes / 1_000_000),
        format!("{:.0} MB/s", rate(pulled.ours.median())),
        format!("{:.0} MB/s, curl \\| sha256sum", rate(pulled.peer.median())),
        format!("{:.2}", pulled.peer.median() / pulled.ours.median()),
    );
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    row("memory at most, while pulling", mib(pulled.peak), mib(pulled.before), String::new());
    let (load, first, read) = load(&server, &name, &arguments)?;
    let seconds = |series: &Series| format!("{:.2} s", series.median());
    let ratio = format!("{:.2}", load.median() / read.median());
    row("load", seconds(&load), format!("{}, reading the file", seconds(&read)), ratio);
    row("load to first token", seconds(&first), String::new(), String::new());
    for stream in [false, true] {
        let (ours, peer) = dialects(&server, &name, stream, &arguments)?;
        let what = if stream { "streamed" } else { "whole" };
        row(
            &format!("{} tokens of /api/generate, {what}", arguments.tokens),
            format!("{:.1} ms", ours.median() * 1e3),
            format!("{:.1} ms, /v1/completions", peer.median() * 1e3),
            format!("{:.3}", ours.median() / peer.median()),
        );
    }
    let listed = list(&server, &name, &arguments)?;
    row(
        &format!("/api/tags of {} models", arguments.names),
        format!("{:.2} ms", listed.median() * 1e3),
        String::new(),
        String::new(),
    );
    Ok(())
}

struct Pulled {
    ours: Series,
    peer: Series,
    /// Resident bytes before the first pull, and the most until the last.
    before: u64,
    peak: u64,
}

/// Pulls the model again and again, and lets `curl` fetch it into `sha256sum`.
fn pull(server: &Server, registry: &Registry, name: &str, rounds: usize) -> Result<Pulled> {
    let (mut ours, mut peer) = (Series::default(), Series::default());
    let before = server.memory_bytes()?.0;
    for round in 0..rounds {
        peer.push(timed(|| pipe(&registry.url(), &registry.digest))?);
        ours.push(timed(|| {
            let wanted = json!({ "model": name, "stream": false });
            let answer = server.json("POST", "/api/pull", &wanted)?;
            ensure!(answer["status"] == "success", "{answer}");
            Ok(())
        })?);
        if round + 1 < rounds {
            server.call("DELETE", "/api/delete", &json!({ "model": name }))?;
        }
    }
    Ok(Pulled { ours, peer, before, peak: server.memory_bytes()?.1 })
}

fn pipe(url: &str, digest: &str) -> Result<()> {
    let mut curl = Command::new("curl")
        .args(["--silent", "--fail", url])
        .stdout(Stdio::piped())
        .spawn()
        .context("curl")?;
    let pipe = curl.stdout.take().context("a pipe")?;
    let summed = Command::new("sha256sum").stdin(pipe).output().context("sha256sum")?;
    ensure!(curl.wait()?.success(), "curl failed");
    let text = String::from_utf8(summed.stdout)?;
    ensure!(digest.ends_with(text.split(' ').next().unwrap_or("?")), "another file came");
    Ok(())
}

/// Seconds of loading, of loading up to the first token, and of reading the file.
fn load(server: &Server, name: &str, arguments: &Arguments) -> Result<(Series, Series, Series)> {
    let (mut load, mut first, mut read) = Default::default();
    for _ in 0..arguments.rounds {
        Series::push(&mut read, timed(|| read_all(&arguments.model))?);
        server.call("POST", "/api/generate", &json!({ "model": name, "keep_alive": 0 }))?;
        let started = Instant::now();
        let one = json!({ "model": name, "prompt": "Once", "raw": true, "stream": false,
            "options": { "num_predict": 1 } });
        let answer = server.json("POST", "/api/generate", &one)?;
        Series::push(&mut first, started.elapsed().as_secs_f64());
        let nanos = answer["load_duration"].as_f64().context("load_duration")?;
        Series::push(&mut load, nanos / 1e9);
    }
    Ok((load, first, read))
}

fn read_all(path: &Path) -> Result<()> {
    let mut file = File::open(path)?;
    let mut block = vec![0; 8 << 20];
    while file.read(&mut block)? > 0 {}
    Ok(())
}

/// Seconds of the same answer over Ollama's API and over `/v1`.
fn dialects(
    server: &Server,
    name: &str,
    stream: bool,
    arguments: &Arguments,
) -> Result<(Series, Series)> {
    let prompt = "Once upon a time there was a little dog who liked to play in the park.";
    let tokens = arguments.tokens;
    let options = json!({ "temperature": 0, "num_predict": tokens, "stop": [] });
    let ours = json!({ "model": name, "prompt": prompt, "raw": true, "stream": stream,
        "options": options });
    let peer = json!({ "model": name, "prompt": prompt, "stream": stream, "temperature": 0,
        "max_tokens": tokens });
    let ask = |path: &str, body: &Value| timed(|| server.call("POST", path, body).map(drop));
    // The prompt is computed once.
    ask("/v1/completions", &peer)?;
    let (mut of_ours, mut of_peer) = (Series::default(), Series::default());
    for _ in 0..arguments.rounds.max(3) {
        of_ours.push(ask("/api/generate", &ours)?);
        of_peer.push(ask("/v1/completions", &peer)?);
    }
    Ok((of_ours, of_peer))
}

/// Seconds of a list of so many names of one model.
fn list(server: &Server, name: &str, arguments: &Arguments) -> Result<Series> {
    let listed = || server.json("GET", "/api/tags", &Value::Null);
    let known = listed()?["models"].as_array().map_or(0, Vec::len);
    for number in known..arguments.names {
        let copy = json!({ "source": name, "destination": format!("bench/copy-{number}") });
        server.call("POST", "/api/copy", &copy)?;
    }
    let mut times = Series::default();
    for _ in 0..arguments.rounds.max(20) {
        times.push(timed(|| listed().map(drop))?);
    }
    Ok(times)
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64())
}
