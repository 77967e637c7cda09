//! `hearth models …`.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use axum::http::Method;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::accounts_commands::{rows, text};
use crate::cli::{Models, PlainFile};
use crate::client::Client;
use crate::file_bars::FileBars;
use crate::{
    create_command, push_command, run_command, search_command, show_command, terminal,
    upkeep_commands,
};

/// What a conversation uses of this machine.
pub struct Here<'a> {
    /// The data directory, which keeps what was typed.
    pub directory: &'a Path,
    /// A command line; a file's name is put behind it.
    pub editor: String,
}

/// Runs one `hearth models` command.
pub async fn models(client: &Client, command: Models, here: &Here<'_>) -> Result<()> {
    match command {
        Models::Import { path, name, ollama } => {
            upkeep_commands::import(client, path, name, ollama).await
        }
        Models::Export { name, file } => upkeep_commands::export(client, &name, &file).await,
        Models::Verify { name } => upkeep_commands::verify(client, name).await,
        Models::Gc => upkeep_commands::collect(client).await,
        Models::Pull { name, file, detach } => pull(client, &name, file, detach).await,
        Models::Push { name } => push_command::push(client, &name).await,
        Models::Pulls { cancel: Some(name) } => {
            let path = format!("/hearth/models/pulls/{}", encode(&name));
            client.call(Method::DELETE, &path, None).await?;
            terminal::line(&format!("cancelled the pull of {name}"))
        }
        Models::Pulls { cancel: None } => pulls(client).await,
        Models::Search(command) => search_command::search(client, command).await,
        Models::List { prefix, json } => list(client, prefix.as_deref(), json).await,
        Models::Show(command) => show_command::show(client, command).await,
        Models::Run(command) => run_command::run(client, command, here).await,
        Models::Ps { json } => show_command::ps(client, json).await,
        Models::Create { name, file, quantize } => {
            create_command::create(client, &name, file, quantize).await
        }
        Models::Stop { name } => {
            let path = format!("/hearth/models/{}/unload", encode(&whole(&name)));
            client.call(Method::POST, &path, None).await?;
            terminal::line(&format!("unloaded {name}"))
        }
        Models::Cp { source, destination } => {
            let body = json!({ "source": source, "destination": destination });
            client.call(Method::POST, "/hearth/models/copy", Some(body)).await?;
            terminal::line(&format!("copied {source} to {destination}"))
        }
        Models::Rm { names } => {
            for name in names {
                let path = format!("/hearth/models/{}", encode(&whole(&name)));
                client.call(Method::DELETE, &path, None).await?;
                terminal::line(&format!("removed {name}"))?;
            }
            Ok(())
        }
    }
}

/// The library, or what of it begins so.
async fn list(client: &Client, prefix: Option<&str>, as_json: bool) -> Result<()> {
    let mut answer = client.call(Method::GET, "/hearth/models", None).await?;
    let prefix = prefix.unwrap_or_default().to_lowercase();
    if let Some(models) = answer["models"].as_array_mut() {
        models.retain(|model| text(model, "name").to_lowercase().starts_with(&prefix));
    }
    if as_json {
        return terminal::line(&serde_json::to_string_pretty(&answer)?);
    }
    let rows: Vec<_> = rows(&answer, "models").iter().map(model_row).collect();
    let headings = ["NAME", "SIZE", "PARAMETERS", "KIND", "CONTEXT", "STATE"];
    terminal::table(&headings, &rows)
}

/// Brings a local model in, with a bar.
pub(crate) async fn import(client: &Client, path: &Path, name: &str) -> Result<()> {
    // The server has a working directory of its own.
    let path = path
        .canonicalize()
        .with_context(|| format!("there is no file or folder {}", path.display()))?;
    let path = path.to_str().context("the path is not valid Unicode")?;
    let body = json!({ "path": path, "name": name });
    let mut events = client.events("/hearth/models/import", body).await?;
    let bar = terminal::bar()?;
    while let Some(event) = events.next().await {
        let event = event?;
        let data: Value = serde_json::from_str(&event.data)?;
        match event.event.as_str() {
            "progress" => {
                bar.set_length(data["total_bytes"].as_u64().unwrap_or(0));
                bar.set_position(data["done_bytes"].as_u64().unwrap_or(0));
            }
            "imported" => {
                bar.finish_and_clear();
                let row = model_row(&data["model"]);
                terminal::line(&format!("imported {name}: {}", row[1..5].join(", ")))?;
                return note_template(client, name).await;
            }
            "failed" => bail!("{}", text(&data["error"], "message")),
            _ => {}
        }
    }
    bail!("the server ended the import without saying why; see its log")
}

/// Says so if nothing tells how a chat is put into words for a model that writes.
async fn note_template(client: &Client, name: &str) -> Result<()> {
    let about = client.call(Method::POST, "/api/show", Some(json!({ "model": name }))).await?;
    let capabilities = about["capabilities"].as_array();
    let writes = capabilities.is_some_and(|all| all.iter().any(|one| one == "completion"));
    if writes && text(&about, "template").is_empty() {
        terminal::note(&format!(
            "{name} has no chat template, and its vocabulary tells none: chats are written as \
             lines of `role: text`; hearth models create with TEMPLATE gives it one"
        ))?;
    }
    Ok(())
}

/// Brings a model of elsewhere in, with a bar for each file.
pub(crate) async fn pull(client: &Client, name: &str, file: PlainFile, detach: bool) -> Result<()> {
    let mut body = json!({ "name": name });
    for (key, value) in [("as", file.save_as), ("sha256", file.sha256)] {
        if let Some(value) = value {
            body[key] = json!(value);
        }
    }
    if detach {
        ensure!(client.is_remote(), "--detach needs a running server; start hearth serve");
        body["detach"] = json!(true);
        let answer = client.call(Method::POST, "/hearth/models/pull", Some(body)).await?;
        let name = text(&answer, "name");
        return terminal::line(&format!("the server pulls {name}; see hearth models pulls"));
    }
    tokio::select! {
        pulled = pull_with_bar(client, body) => pulled,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("cannot wait for Ctrl+C")?;
            bail!("cancelled; what has come is kept for the next try")
        }
    }
}

async fn pull_with_bar(client: &Client, body: Value) -> Result<()> {
    let mut lines = client.lines("/hearth/models/pull", body).await?;
    let mut bars = FileBars::new()?;
    while let Some(line) = lines.next().await {
        let line = line?;
        if let Some(message) = line["error"]["message"].as_str() {
            bail!("{message}");
        }
        if !line["model"].is_null() {
            bars.end();
            let row = model_row(&line["model"]);
            return terminal::line(&format!("pulled {}: {}", row[0], row[1..5].join(", ")));
        }
        if line["stage"] == "fetching" {
            bars.show(&line);
        }
    }
    bail!("the server ended the pull without saying why; see its log")
}

async fn pulls(client: &Client) -> Result<()> {
    let answer = client.call(Method::GET, "/hearth/models/pulls", None).await?;
    let row = |pull: &Value| {
        let (progress, size) = (&pull["progress"], |key: &str| pull["progress"][key].as_u64());
        let share = match (size("completed"), size("total")) {
            (Some(completed), Some(total @ 1..)) => {
                format!("{} of {}", terminal::size(completed), terminal::size(total))
            }
            _ => String::new(),
        };
        vec![text(pull, "name"), text(progress, "stage"), share]
    };
    let rows: Vec<_> = rows(&answer, "pulls").iter().map(row).collect();
    terminal::table(&["NAME", "STAGE", "FILE"], &rows)
}

fn model_row(model: &Value) -> Vec<String> {
    vec![
        text(model, "name"),
        terminal::size(model["size_bytes"].as_u64().unwrap_or(0)),
        count(model["parameters"].as_u64().unwrap_or(0)),
        format!("{} {}", text(model, "architecture"), text(model, "quantization")),
        model["context_tokens"].to_string(),
        text(model, "state"),
    ]
}

/// `260K`, `1.2B`.
pub(crate) fn count(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{}K", number / 1_000),
        1_000_000..1_000_000_000 => format!("{:.1}M", number as f64 / 1e6),
        _ => format!("{:.1}B", number as f64 / 1e9),
    }
}

/// A name with its tag, so that `pulls` is a model's name and no part of an address.
fn whole(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

/// A name as one segment of a path.
pub(crate) fn encode(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_slashes_is_one_path_segment() {
        assert_eq!(encode("hf.co/a/b:q4"), "hf.co%2Fa%2Fb%3Aq4");
        assert_eq!(whole("pulls"), "pulls:latest");
        assert_eq!(whole("localhost:5000/me/m"), "localhost:5000/me/m:latest");
        assert_eq!(whole("m:q4"), "m:q4");
    }
}
