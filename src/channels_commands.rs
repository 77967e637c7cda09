//! `hearth channels …` and `hearth secrets …`.

use std::io::BufRead;

use anyhow::{Context, Result, bail, ensure};
use axum::http::Method;
use reqwest::Url;
use serde_json::{Value, json};

use crate::accounts_commands::{rows, text};
use crate::cli::{AddChannel, Channels, Secrets, SetRoute};
use crate::client::Client;
use crate::model_commands::encode;
use crate::terminal;

/// Most keys that are read at once.
const MAX_KEYS: usize = 100;

/// Runs one `hearth channels` command.
pub async fn channels(client: &Client, command: Channels) -> Result<()> {
    match command {
        Channels::Add(channel) => add(client, channel).await,
        Channels::List { json } => list(client, json).await,
        Channels::Show { name } => {
            let channel = find(client, &name).await?;
            terminal::line(&serde_json::to_string_pretty(&channel)?)
        }
        Channels::Types => types(client).await,
        Channels::Test { name, model } => test(client, &name, model).await,
        Channels::Fetch { name } => {
            let channel = find(client, &name).await?;
            fetch(client, &channel).await
        }
        Channels::Set(set) => {
            let change = serde_json::from_str(&set.change).context("the change is not JSON")?;
            change_channel(client, &set.name, change).await
        }
        Channels::Enable { name } => {
            change_channel(client, &name, json!({ "enabled": true })).await
        }
        Channels::Disable { name } => {
            change_channel(client, &name, json!({ "enabled": false })).await
        }
        Channels::AddKey { name } => {
            let path = format!("{}/keys", path_of(&find(client, &name).await?));
            let key = terminal::read_line()?.context("no key on standard input")?;
            client.call(Method::POST, &path, Some(json!({ "key": key.trim() }))).await?;
            terminal::line(&format!("added a key to {name}"))
        }
        Channels::RmKey { name, key } => {
            let path = format!("{}/keys/{}", path_of(&find(client, &name).await?), encode(&key));
            client.call(Method::DELETE, &path, None).await?;
            terminal::line(&format!("removed a key of {name}"))
        }
        Channels::Rm { name } => {
            let path = path_of(&find(client, &name).await?);
            client.call(Method::DELETE, &path, None).await?;
            terminal::line(&format!("removed {name}"))
        }
        Channels::Routes { json } => routes(client, json).await,
        Channels::Route(route) => set_route(client, route).await,
        Channels::Unroute { model } => {
            let path = format!("/hearth/routes/{}", encode(&model));
            client.call(Method::DELETE, &path, None).await?;
            terminal::line(&format!("{model} has no route of its own any more"))
        }
        Channels::GroupPolicy { group, policy } => {
            let policy = if policy == "none" { Value::Null } else { json!(policy) };
            let body = json!({ "group": group, "policy": policy });
            client.call(Method::POST, "/hearth/routes/groups", Some(body)).await?;
            terminal::line(&format!("changed {group}"))
        }
    }
}

/// Runs one `hearth secrets` command.
pub async fn secrets(client: &Client, command: Secrets) -> Result<()> {
    let Secrets::Rotate = command;
    let answer = client.call(Method::POST, "/hearth/secrets/rotate", Some(json!({}))).await?;
    terminal::line(&format!("sealed {} secrets under a new master key", answer["secrets"]))
}

async fn add(client: &Client, channel: AddChannel) -> Result<()> {
    let AddChannel { name, preset, base_url, key_stdin, .. } = &channel;
    let keys = if *key_stdin { read_keys()? } else { Vec::new() };
    let allow_private = allowed(client, &channel).await?;
    let body = json!({
        "name": name,
        "type": preset,
        "base_url": base_url,
        "priority": channel.priority,
        "weight": channel.weight,
        "keys": keys,
        "settings": {
            "models": channel.models,
            "groups": channel.groups,
            "network": { "allow_private": allow_private },
        },
    });
    let answer = client.call(Method::POST, "/hearth/channels", Some(body)).await?;
    let added = &answer["channel"];
    terminal::line(&format!("added {name}"))?;
    if !channel.models.is_empty() {
        return Ok(());
    }
    // The channel stays: its models can be fetched or named later.
    match fetch(client, added).await {
        Ok(()) => Ok(()),
        Err(error) => terminal::line(&format!(
            "its models could not be listed ({error:#}); name them: hearth channels set {name} \
             '{{\"settings\": {{\"models\": [\"…\"]}}}}'"
        )),
    }
}

/// The private hosts that were named; `--allow-private` alone means the channel's own.
async fn allowed(client: &Client, channel: &AddChannel) -> Result<Vec<String>> {
    let Some(named) = &channel.allow_private else { return Ok(Vec::new()) };
    if !named.is_empty() {
        return Ok(named.clone());
    }
    let base_url = match &channel.base_url {
        Some(base_url) => base_url.clone(),
        None => {
            let answer = client.call(Method::GET, "/hearth/channels/types", None).await?;
            let known = rows(&answer, "types");
            let preset = known.iter().find(|preset| text(preset, "name") == channel.preset);
            preset.map(|preset| text(preset, "base_url")).unwrap_or_default()
        }
    };
    let url = Url::parse(&base_url).context("--base-url must be a URL")?;
    let host = url.host_str().context("--base-url must name a host")?;
    Ok(vec![host.trim_start_matches('[').trim_end_matches(']').to_owned()])
}

/// Takes the provider's own list of models.
async fn fetch(client: &Client, channel: &Value) -> Result<()> {
    let path = path_of(channel);
    let answer = client.call(Method::GET, &format!("{path}/models"), None).await?;
    let list = &answer["list"];
    if let Some(error) = list["error"].as_str() {
        bail!("the provider says: {error}");
    }
    let models = &list["models"];
    let change = json!({ "settings": { "models": models } });
    client.call(Method::PATCH, &path, Some(change)).await?;
    let count = models.as_array().map_or(0, Vec::len);
    terminal::line(&format!("{} offers {count} models", text(channel, "name")))
}

async fn list(client: &Client, as_json: bool) -> Result<()> {
    let answer = client.call(Method::GET, "/hearth/channels", None).await?;
    if as_json {
        return terminal::line(&serde_json::to_string_pretty(&answer["channels"])?);
    }
    let row = |channel: &Value| {
        let stats = &channel["stats"];
        let state = if channel["problem"].is_string() {
            "unusable"
        } else if channel["enabled"] == false {
            "disabled"
        } else if stats["is_broken"] == true {
            "broken"
        } else {
            "ready"
        };
        let models = channel["settings"]["models"].as_array().map_or(0, Vec::len);
        vec![
            text(channel, "name"),
            text(channel, "type"),
            state.to_owned(),
            channel["priority"].to_string(),
            models.to_string(),
            stats["answers"].to_string(),
            stats["failures"].to_string(),
        ]
    };
    let rows: Vec<_> = rows(&answer, "channels").iter().map(row).collect();
    let headings = ["NAME", "TYPE", "STATE", "PRIORITY", "MODELS", "ANSWERS", "FAILURES"];
    terminal::table(&headings, &rows)
}

async fn types(client: &Client) -> Result<()> {
    let answer = client.call(Method::GET, "/hearth/channels/types", None).await?;
    let row = |preset: &Value| {
        let base_url = text(preset, "base_url");
        let place = if base_url.is_empty() { text(preset, "note") } else { base_url };
        vec![text(preset, "name"), place]
    };
    let rows: Vec<_> = rows(&answer, "types").iter().map(row).collect();
    terminal::table(&["TYPE", "BASE URL"], &rows)
}

async fn test(client: &Client, name: &str, model: Option<String>) -> Result<()> {
    let path = format!("{}/test", path_of(&find(client, name).await?));
    let answer = client.call(Method::POST, &path, Some(json!({ "model": model }))).await?;
    let test = &answer["test"];
    let list = &test["list"];
    let listed = match list["error"].as_str() {
        Some(error) => format!("models: {error}"),
        None => {
            let count = list["models"].as_array().map_or(0, Vec::len);
            format!("models: {count} in {} ms", list["took_ms"])
        }
    };
    terminal::line(&listed)?;
    let said = &test["answer"];
    if said.is_object() {
        let model = text(said, "model");
        let line = match said["error"].as_str() {
            Some(error) => format!("{model}: {error}"),
            None => format!("{model}: {:?} in {} ms", text(said, "text"), said["took_ms"]),
        };
        terminal::line(&line)?;
    }
    ensure!(test["ok"] == true, "{name} cannot be used");
    Ok(())
}

async fn change_channel(client: &Client, name: &str, change: Value) -> Result<()> {
    let path = path_of(&find(client, name).await?);
    client.call(Method::PATCH, &path, Some(change)).await?;
    terminal::line(&format!("changed {name}"))
}

async fn routes(client: &Client, as_json: bool) -> Result<()> {
    let answer = client.call(Method::GET, "/hearth/routes", None).await?;
    if as_json {
        return terminal::line(&serde_json::to_string_pretty(&answer)?);
    }
    let target = |target: &Value| match target["channel"].as_str() {
        Some(channel) => format!("{channel}={}", text(target, "model")),
        None => text(target, "model"),
    };
    let route = |route: &Value| {
        let targets: Vec<String> = rows(route, "targets").iter().map(target).collect();
        vec![text(route, "model"), text(route, "policy"), targets.join(" ")]
    };
    let mut lines: Vec<_> = rows(&answer, "routes").iter().map(route).collect();
    let group = |group: &Value| {
        vec![format!("(group {})", text(group, "group")), text(group, "policy"), String::new()]
    };
    lines.extend(rows(&answer, "groups").iter().map(group));
    terminal::table(&["MODEL", "POLICY", "TO"], &lines)
}

async fn set_route(client: &Client, route: SetRoute) -> Result<()> {
    let target = |text: &String| match text.split_once('=') {
        Some((channel, model)) => json!({ "channel": channel, "model": model }),
        None => json!({ "model": text }),
    };
    let body = json!({
        "model": route.model,
        "policy": route.policy,
        "targets": route.targets.iter().map(target).collect::<Vec<_>>(),
        "spill_wait_ms": route.spill_wait_ms,
        "on_context_full": route.on_context_full,
        "hedge": route.hedge,
    });
    client.call(Method::POST, "/hearth/routes", Some(body)).await?;
    terminal::line(&format!("changed {}", route.model))
}

/// The channel called `name`.
async fn find(client: &Client, name: &str) -> Result<Value> {
    let answer = client.call(Method::GET, "/hearth/channels", None).await?;
    let found = rows(&answer, "channels")
        .iter()
        .find(|channel| text(channel, "name").to_lowercase() == name.to_lowercase());
    found
        .cloned()
        .with_context(|| format!("there is no channel `{name}`; see hearth channels list"))
}

fn path_of(channel: &Value) -> String {
    format!("/hearth/channels/{}", channel["id"])
}

fn read_keys() -> Result<Vec<String>> {
    let lines = std::io::stdin().lock().lines().take(MAX_KEYS);
    let keys: std::io::Result<Vec<String>> = lines.collect();
    let keys = keys.context("cannot read the keys")?;
    let keys: Vec<String> = keys.iter().map(|key| key.trim().to_owned()).collect();
    let keys: Vec<String> = keys.into_iter().filter(|key| !key.is_empty()).collect();
    ensure!(!keys.is_empty(), "no key on standard input");
    Ok(keys)
}
