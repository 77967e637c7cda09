//! `hearth models import|export|verify|gc`: the library's files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use axum::http::Method;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::accounts_commands::{rows, text};
use crate::client::Client;
use crate::{model_commands, terminal};

/// Brings models in from this machine's files.
pub(crate) async fn import(
    client: &Client,
    path: Option<PathBuf>,
    name: Option<String>,
    ollama: Option<PathBuf>,
) -> Result<()> {
    if let Some(folder) = ollama {
        return share(client, &folder).await;
    }
    let (Some(path), Some(name)) = (path, name) else { bail!("give a path and --name NAME") };
    if path.extension().is_none_or(|extension| extension != "tar") {
        return model_commands::import(client, &path, &name).await;
    }
    let body = json!({ "path": absolute(&path)?, "name": name });
    with_bar(client, "/hearth/models/archive", body).await?;
    terminal::line(&format!("imported {name}"))
}

/// Writes a model to a file.
pub(crate) async fn export(client: &Client, name: &str, file: &Path) -> Result<()> {
    let path = std::path::absolute(file).context("the path cannot be made absolute")?;
    let path = path.to_str().context("the path is not valid Unicode")?;
    let body = json!({ "name": name, "path": path });
    with_bar(client, "/hearth/models/export", body).await?;
    terminal::line(&format!("wrote {name} to {}", file.display()))
}

/// Hashes files anew; fails if one is damaged.
pub(crate) async fn verify(client: &Client, name: Option<String>) -> Result<()> {
    let body = json!({ "name": name });
    let answer = with_bar(client, "/hearth/models/verify", body).await?;
    let row = |damage: &Value| {
        let models = damage["models"].as_array().into_iter().flatten();
        let models: Vec<&str> = models.filter_map(Value::as_str).collect();
        let found = damage["found"].as_str().map_or("absent", |_| "changed");
        vec![text(damage, "digest"), found.to_owned(), models.join(", ")]
    };
    let damaged: Vec<_> = rows(&answer, "damaged").iter().map(row).collect();
    let manifests = tell_manifests(&answer)?;
    if damaged.is_empty() && manifests == 0 {
        return terminal::line("every file is what its digest says");
    }
    if damaged.is_empty() {
        bail!("{manifests} manifests cannot be read; delete them and get their models again");
    }
    terminal::table(&["FILE", "STATE", "MODELS"], &damaged)?;
    bail!("{} files are damaged; remove their models and get them again", damaged.len())
}

/// Names the manifests that cannot be read, and counts them.
fn tell_manifests(answer: &Value) -> Result<usize> {
    let broken = rows(answer, "manifests");
    for manifest in broken {
        let (path, problem) = (text(manifest, "path"), text(manifest, "problem"));
        terminal::note(&format!("the manifest {path} cannot be read: {problem}"))?;
    }
    Ok(broken.len())
}

/// Has long work done, with a bar; returns its result.
async fn with_bar(client: &Client, path: &str, body: Value) -> Result<Value> {
    let mut lines = client.lines(path, body).await?;
    let bar = terminal::bar()?;
    while let Some(line) = lines.next().await {
        let line = line?;
        if let Some(message) = line["error"]["message"].as_str() {
            bar.finish_and_clear();
            bail!("{message}");
        }
        match (line["done_bytes"].as_u64(), line["total_bytes"].as_u64()) {
            (Some(done), Some(total)) => {
                bar.set_length(total);
                bar.set_position(done);
            }
            _ => {
                bar.finish_and_clear();
                return Ok(line);
            }
        }
    }
    bail!("the server ended the work without saying why; see its log")
}

/// Deletes what no model uses.
pub(crate) async fn collect(client: &Client) -> Result<()> {
    let answer = client.call(Method::POST, "/hearth/models/collect", None).await?;
    let bytes = terminal::size(answer["bytes"].as_u64().unwrap_or(0));
    if tell_manifests(&answer)? > 0 {
        terminal::note("model files are kept, because such a manifest may need any of them")?;
    }
    terminal::line(&format!("deleted {} files, {bytes}", answer["files"]))
}

async fn share(client: &Client, folder: &Path) -> Result<()> {
    let body = json!({ "path": absolute(folder)? });
    let answer = client.call(Method::POST, "/hearth/models/share", Some(body)).await?;
    let row = |model: &Value| {
        let refused = model["refused"].as_str().unwrap_or("shared");
        vec![text(model, "name"), refused.to_owned()]
    };
    let models: Vec<_> = rows(&answer, "models").iter().map(row).collect();
    terminal::table(&["NAME", "RESULT"], &models)
}

/// The server has a working directory of its own.
fn absolute(path: &Path) -> Result<String> {
    let path = path
        .canonicalize()
        .with_context(|| format!("there is no file or folder {}", path.display()))?;
    Ok(path.to_str().context("the path is not valid Unicode")?.to_owned())
}
