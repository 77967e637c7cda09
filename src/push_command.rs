//! `hearth models push`.

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use serde_json::json;

use crate::client::Client;
use crate::file_bars::FileBars;
use crate::terminal;

/// Sends a model to the registry of its name, with a bar for each file.
pub(crate) async fn push(client: &Client, name: &str) -> Result<()> {
    tokio::select! {
        pushed = push_with_bar(client, name) => pushed,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("cannot wait for Ctrl+C")?;
            bail!("cancelled; files that arrived whole are not sent again")
        }
    }
}

async fn push_with_bar(client: &Client, name: &str) -> Result<()> {
    let mut lines = client.lines("/hearth/models/push", json!({ "name": name })).await?;
    let mut bars = FileBars::new()?;
    while let Some(line) = lines.next().await {
        let line = line?;
        if let Some(message) = line["error"]["message"].as_str() {
            bail!("{message}");
        }
        if let Some(name) = line["pushed"].as_str() {
            bars.end();
            return terminal::line(&format!("pushed {name}"));
        }
        if line["stage"] == "sending" {
            bars.show(&line);
        }
    }
    bail!("the server ended the push without saying why; see its log")
}
