//! `hearth models create`: makes a model by the recipe of a Modelfile.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use axum::http::Method;
use futures_util::StreamExt;
use hearth_formats::FLAT_POOLING_FILE;
use hearth_hub::import::{FOLDER_FILES, POOLING_FILE};
use hearth_hub::{Digest, Modelfile, modelfile};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::accounts_commands::text;
use crate::client::Client;
use crate::terminal;

/// Most files of one folder.
const MAX_FILES: usize = 1024;

pub(crate) async fn create(
    client: &Client,
    name: &str,
    file: Option<PathBuf>,
    quantize: Option<String>,
) -> Result<()> {
    let file = file.unwrap_or_else(|| PathBuf::from("Modelfile"));
    let recipe = read(&file)?;
    if !recipe.adapters.is_empty() {
        bail!("ADAPTER is not supported by this version of Hearth; merge the adapter first");
    }
    for command in &recipe.ignored {
        let why = match *command {
            "REQUIRES" => "has no effect: it names a version of Ollama",
            "DRAFT" => bail!("DRAFT is not supported; name the model in engine.draft_models"),
            _ => "has no effect: the chat template is used",
        };
        terminal::line(&format!("{command} {why}"))?;
    }
    let mut body = body(&recipe);
    body.insert("model".to_owned(), name.into());
    if let Some(quantize) = quantize {
        body.insert("quantize".to_owned(), quantize.into());
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    match local(folder, &recipe.from)? {
        Some(path) => {
            let files = send(client, &path).await?;
            body.insert("files".to_owned(), Value::Object(files));
        }
        None => drop(body.insert("from".to_owned(), recipe.from.into())),
    }
    tokio::select! {
        made = make(client, name, body) => made,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("cannot wait for Ctrl+C")?;
            bail!("cancelled; no model was made")
        }
    }
}

fn read(file: &Path) -> Result<Modelfile> {
    let shown = file.display();
    let bytes = file.metadata().with_context(|| format!("there is no file {shown}"))?.len();
    ensure!(bytes <= modelfile::MAX_BYTES as u64, "{shown} is too long for a Modelfile");
    let recipe = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    Modelfile::parse(&recipe).with_context(|| format!("{shown} cannot be understood"))
}

/// What the recipe says, in the words of `/api/create`.
fn body(recipe: &Modelfile) -> Map<String, Value> {
    let mut body = Map::new();
    let texts = [("template", &recipe.template), ("system", &recipe.system)];
    for (key, text) in texts {
        body.extend(text.as_ref().map(|text| (key.to_owned(), Value::from(text.as_str()))));
    }
    body.insert("license".to_owned(), json!(recipe.licenses));
    body.insert("messages".to_owned(), json!(recipe.messages));
    body.insert("parameters".to_owned(), Value::Object(recipe.parameters.clone()));
    body
}

/// The file or folder that `FROM` names, from the Modelfile's folder; `None` if it names a model.
fn local(folder: &Path, from: &str) -> Result<Option<PathBuf>> {
    let path = folder.join(from);
    if path.exists() {
        return Ok(Some(path));
    }
    let is_path = [".", "/", "~"].iter().any(|start| from.starts_with(start))
        || from.ends_with(".gguf")
        || from.ends_with(".safetensors");
    ensure!(!is_path, "FROM names {from}, and there is no such file or folder");
    Ok(None)
}

/// Sends a file, or the files of a folder, that the server does not have; returns their digests.
async fn send(client: &Client, path: &Path) -> Result<Map<String, Value>> {
    let mut digests = Map::new();
    for (name, file) in files(path)? {
        let bar = ProgressBar::new_spinner().with_message(format!("sending {name}"));
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        let digest = digest(file.clone()).await?;
        let blob = format!("/api/blobs/{digest}");
        if client.call(Method::HEAD, &blob, None).await.is_err() {
            client.send_file(&blob, &file).await.with_context(|| format!("sending {name}"))?;
        }
        bar.finish_and_clear();
        digests.insert(name, digest.to_string().into());
    }
    Ok(digests)
}

async fn digest(file: PathBuf) -> Result<Digest> {
    let hashed = tokio::task::spawn_blocking(move || {
        let mut opened = File::open(&file)?;
        Digest::of_reader(&mut opened)
    });
    hashed.await?.context("cannot read the file")
}

/// The files that make up a model, and their names in its folder.
fn files(path: &Path) -> Result<Vec<(String, PathBuf)>> {
    if !path.is_dir() {
        return Ok(vec![("model.gguf".to_owned(), path.to_owned())]);
    }
    let flat = (FLAT_POOLING_FILE.to_owned(), path.join(POOLING_FILE));
    let known = FOLDER_FILES.iter().map(|name| ((*name).to_owned(), path.join(name)));
    let mut files: BTreeMap<String, PathBuf> =
        std::iter::once(flat).chain(known).filter(|(_, file)| file.is_file()).collect();
    let listed =
        std::fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
    for entry in listed {
        let file = entry?.path();
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if file.is_file() && (name.ends_with(".safetensors") || name.ends_with(".gguf")) {
            files.insert(name.to_owned(), file.clone());
        }
    }
    ensure!(files.len() <= MAX_FILES, "{} has more than {MAX_FILES} files", path.display());
    ensure!(!files.is_empty(), "{} holds no model", path.display());
    Ok(files.into_iter().collect())
}

/// Has the model made, with a line for each step and a bar for the long one.
async fn make(client: &Client, name: &str, body: Map<String, Value>) -> Result<()> {
    let mut lines = client.lines("/api/create", Value::Object(body)).await?;
    let style =
        ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}")?;
    let bar = ProgressBar::hidden().with_style(style);
    let mut told = String::new();
    while let Some(line) = lines.next().await {
        let line = line?;
        if let Some(problem) = line["error"].as_str() {
            bar.finish_and_clear();
            bail!("{problem}");
        }
        let status = text(&line, "status");
        if status == "success" {
            bar.finish_and_clear();
            return terminal::line(&format!("made {name}"));
        }
        if status != told {
            bar.finish_and_clear();
            terminal::line(&status)?;
            told = status;
        }
        if let (Some(total), Some(completed)) = (line["total"].as_u64(), line["completed"].as_u64())
        {
            if bar.is_hidden() {
                bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            }
            bar.set_length(total);
            bar.set_position(completed);
        }
    }
    bail!("the server ended without saying whether the model was made; see its log")
}
