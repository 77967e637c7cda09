//! llama.cpp, in a process of its own (`peer/llamacpp.py`), so that no thread pool disturbs
//! another. It works only while it is asked.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// The running peer with one model. It ends when this is dropped.
pub struct LlamaCpp {
    process: Child,
    /// `None` once it is told to end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// Where `prepare` puts llama.cpp unless it is told otherwise.
pub fn default_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/llamacpp")
}

/// Builds llama.cpp in a folder, unless that was done before. Takes minutes and the network.
pub fn prepare(folder: &Path) -> Result<()> {
    let status = Command::new("python3").arg(script()).arg("prepare").arg(folder).status()?;
    ensure!(status.success(), "llama.cpp cannot be built in {}", folder.display());
    Ok(())
}

impl LlamaCpp {
    pub fn start(folder: &Path, model: &Path, threads: usize) -> Result<LlamaCpp> {
        let python = folder.join("bin/python");
        let mut process = Command::new(&python)
            .arg(script())
            .arg("serve")
            .args([folder, model])
            .arg(threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}; --prepare builds it", python.display()))?;
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("no standard output")?);
        Ok(LlamaCpp { process, orders, answers })
    }

    /// Greedy tokens per second of one stream after the first.
    pub fn decode(&mut self, prompt: &[u32], tokens: u32) -> Result<f64> {
        rate(&self.ask(json!({ "work": "decode", "prompt": prompt, "tokens": tokens }))?)
    }

    /// Prompt tokens per second up to the first token.
    pub fn prefill(&mut self, prompt: &[u32]) -> Result<f64> {
        rate(&self.ask(json!({ "work": "prefill", "prompt": prompt }))?)
    }

    /// The log probability of every next token after a prompt.
    pub fn logprobs(&mut self, prompt: &[u32]) -> Result<Vec<f64>> {
        let answer = self.ask(json!({ "work": "logits", "prompt": prompt }))?;
        Ok(serde_json::from_value(answer["logprobs"].clone())?)
    }

    /// Starts its server anew, with so many slots of so many tokens.
    pub fn start_server(&mut self, slots: usize, slot_tokens: usize) -> Result<()> {
        let order = json!({ "work": "start_server", "slots": slots, "slot_tokens": slot_tokens });
        self.ask(order).map(|_| ())
    }

    pub fn stop_server(&mut self) -> Result<()> {
        self.ask(json!({ "work": "stop_server" })).map(|_| ())
    }

    /// The server's tokens per second of all streams together, each after its first.
    pub fn streams(&mut self, prompts: &[Vec<u32>], tokens: u32) -> Result<f64> {
        rate(&self.ask(json!({ "work": "streams", "prompts": prompts, "tokens": tokens }))?)
    }

    /// Seconds until the server has answered with one token.
    pub fn first_token(&mut self, prompt: &[u32]) -> Result<f64> {
        let answer = self.ask(json!({ "work": "first_token", "prompt": prompt }))?;
        answer["seconds"].as_f64().context("no time in the answer")
    }

    fn ask(&mut self, order: Value) -> Result<Value> {
        let orders = self.orders.as_mut().context("the peer has ended")?;
        writeln!(orders, "{order}")?;
        orders.flush()?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("llama.cpp ended at {}", order["work"]);
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for LlamaCpp {
    fn drop(&mut self) {
        // The end of its input is what ends it; it stops its server then.
        self.orders = None;
        let _ = self.process.wait();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peer/llamacpp.py")
}

fn rate(answer: &Value) -> Result<f64> {
    answer["rate"].as_f64().context("no rate in the answer")
}
