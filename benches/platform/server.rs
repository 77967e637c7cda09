//! The real binary with a data directory of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::http::call;

const TOKEN: &str = "a-root-token-of-the-benchmark";

/// A running `hearth serve`; it and its directory go when it is dropped.
pub(crate) struct Server {
    process: Child,
    address: String,
    data: PathBuf,
}

impl Server {
    /// `registry`: the one that may be pulled from.
    pub(crate) fn start(binary: &str, registry: &str) -> Result<Server> {
        let data = std::env::temp_dir().join(format!("hearth-bench-{}", std::process::id()));
        let mut process = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .env("INITIAL_ROOT_TOKEN", TOKEN)
            .env("LOG_LEVEL", "warn")
            .env("HEARTH_HUB_REGISTRIES", registry)
            .env("HEARTH_HUB_PLAIN_HTTP", registry)
            .env("HEARTH_HUB_PRIVATE_HOSTS", "127.0.0.1")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {binary}"))?;
        let mut lines = BufReader::new(process.stdout.take().context("a pipe")?).lines();
        let address = loop {
            let line = lines.next().context("the server ended early")??;
            if let Some((_, address)) = line.split_once("http://") {
                break address.split(' ').next().unwrap_or_default().to_owned();
            }
        };
        thread::spawn(move || lines.for_each(drop));
        Ok(Server { process, address, data })
    }

    /// The body of an answer.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> Result<Vec<u8>> {
        call(&self.address, TOKEN, (method, path), body)
    }

    /// An answer that is one JSON value.
    pub(crate) fn json(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        Ok(serde_json::from_slice(&self.call(method, path, body)?)?)
    }

    /// Resident bytes now, and the most that there were (Linux).
    pub(crate) fn memory_bytes(&self) -> Result<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            kib.map(|kib| kib * 1024).with_context(|| format!("{name} of a process"))
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What is left of either is the system's to sweep.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}
