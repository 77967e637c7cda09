//! `hearth cache …` and `hearth guards …`.

use std::path::Path;

use anyhow::{Context, Result};
use axum::http::Method;
use serde_json::{Value, json};

use crate::cli::{Cache, Guards};
use crate::client::Client;
use crate::terminal;

/// Runs one `hearth cache` command.
pub(crate) async fn cache(client: &Client, command: Cache) -> Result<()> {
    match command {
        Cache::Show => show(client, "/hearth/cache").await,
        Cache::Set { file } => set(client, "/hearth/cache", &file).await,
        Cache::Clear => {
            let answer = client.call(Method::DELETE, "/hearth/cache", None).await?;
            terminal::line(&format!("forgot {} answers", answer["forgotten"]))
        }
    }
}

/// Runs one `hearth guards` command.
pub(crate) async fn guards(client: &Client, command: Guards) -> Result<()> {
    match command {
        Guards::Show => show(client, "/hearth/guards").await,
        Guards::Set { file } => set(client, "/hearth/guards", &file).await,
    }
}

async fn show(client: &Client, path: &str) -> Result<()> {
    let rules = client.call(Method::GET, path, None).await?;
    terminal::line(&serde_json::to_string_pretty(&rules)?)
}

async fn set(client: &Client, path: &str, file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the rules in {}", file.display()))?;
    let rules: Value = serde_json::from_str(&text)
        .with_context(|| format!("{} is no JSON list of rules", file.display()))?;
    let answer = client.call(Method::PUT, path, Some(json!({ "rules": rules }))).await?;
    let count = answer["rules"].as_array().map_or(0, Vec::len);
    terminal::line(&format!("{count} rules are in force"))
}
