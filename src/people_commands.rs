//! `hearth groups …`, `hearth invites …`, `hearth audit …` and `hearth import …`.

use anyhow::{Context, Result, bail};
use axum::http::Method;
use serde_json::{Value, json};

use crate::accounts_commands::{role_name, rows, text, user_path};
use crate::cli_people::{Audit, Bounds, Groups, Import, Invites};
use crate::client::Client;
use crate::terminal;

/// Runs one `hearth groups` command.
pub async fn groups(client: &Client, command: Groups) -> Result<()> {
    match command {
        Groups::Add { name, bounds } => {
            let mut body = wishes(&bounds);
            body["name"] = json!(name);
            client.call(Method::POST, "/hearth/groups", Some(body)).await?;
            terminal::line(&format!("added group {name}"))
        }
        Groups::List => {
            let answer = client.call(Method::GET, "/hearth/groups", None).await?;
            let rows: Vec<_> = rows(&answer, "groups").iter().map(group_row).collect();
            terminal::table(&["NAME", "MODELS", "WEIGHT"], &rows)
        }
        Groups::Set { name, bounds } => {
            let path = group_path(client, &name).await?;
            client.call(Method::PATCH, &path, Some(wishes(&bounds))).await?;
            terminal::line(&format!("changed group {name}"))
        }
        Groups::Join { group, user } => {
            let path = user_path(client, &user).await?;
            client.call(Method::PATCH, &path, Some(json!({ "group": group }))).await?;
            terminal::line(&format!("{user} is in {group}"))
        }
        Groups::Leave { user } => {
            let path = user_path(client, &user).await?;
            client.call(Method::PATCH, &path, Some(json!({ "group": null }))).await?;
            terminal::line(&format!("{user} is in no group"))
        }
        Groups::Rm { name } => {
            let path = group_path(client, &name).await?;
            client.call(Method::DELETE, &path, None).await?;
            terminal::line(&format!("deleted group {name}"))
        }
    }
}

fn wishes(bounds: &Bounds) -> Value {
    let mut body = json!({});
    if let Some(weight) = bounds.weight {
        body["weight"] = json!(weight);
    }
    if !bounds.models.is_empty() {
        let is_all = bounds.models == ["*"];
        body["models"] = if is_all { Value::Null } else { json!(bounds.models) };
    }
    body
}

async fn group_path(client: &Client, name: &str) -> Result<String> {
    let answer = client.call(Method::GET, "/hearth/groups", None).await?;
    let group = rows(&answer, "groups")
        .iter()
        .find(|group| text(group, "name").to_lowercase() == name.to_lowercase())
        .with_context(|| format!("there is no group `{name}`; see hearth groups list"))?;
    Ok(format!("/hearth/groups/{}", group["id"]))
}

fn group_row(group: &Value) -> Vec<String> {
    let models = match group["models"].as_array() {
        Some(models) => models.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        None => "all".to_owned(),
    };
    vec![text(group, "name"), models, group["weight"].to_string()]
}

/// Runs one `hearth invites` command.
pub async fn invites(client: &Client, command: Invites) -> Result<()> {
    match command {
        Invites::Create { note, role, group, uses, expires } => {
            let body = json!({
                "note": note, "role": role_name(role), "group": group, "uses": uses,
                "lifetime_s": expires,
            });
            let answer = client.call(Method::POST, "/hearth/invites", Some(body)).await?;
            terminal::line(&text(&answer, "secret"))
        }
        Invites::List => {
            let answer = client.call(Method::GET, "/hearth/invites", None).await?;
            let rows: Vec<_> = rows(&answer, "invites")
                .iter()
                .map(|invite| {
                    let uses = format!("{}/{}", invite["uses_left"], invite["max_uses"]);
                    let id = invite["id"].to_string();
                    vec![
                        id,
                        text(invite, "role"),
                        text(invite, "group"),
                        uses,
                        text(invite, "note"),
                    ]
                })
                .collect();
            terminal::table(&["ID", "ROLE", "GROUP", "USES LEFT", "NOTE"], &rows)
        }
        Invites::Rm { id } => {
            client.call(Method::DELETE, &format!("/hearth/invites/{id}"), None).await?;
            terminal::line(&format!("deleted invite {id}"))
        }
    }
}

/// Runs one `hearth audit` command.
pub async fn audit(client: &Client, command: Audit) -> Result<()> {
    match command {
        Audit::List { action, actor, target, limit, json } => {
            let mut query = format!("limit={limit}");
            for (name, value) in [("action", action), ("actor", actor), ("target", target)] {
                if let Some(value) = value {
                    query.push_str(&format!("&{name}={}", encoded(&value)));
                }
            }
            let path = format!("/hearth/audit?{query}");
            let answer = client.call(Method::GET, &path, None).await?;
            if json {
                return terminal::line(&serde_json::to_string_pretty(&answer["acts"])?);
            }
            let rows: Vec<_> = rows(&answer, "acts").iter().map(act_row).collect();
            terminal::table(&["NO", "TIME", "WHO", "DID", "TO"], &rows)
        }
        Audit::Verify { head } => {
            let query = match head.as_deref().map(|head| head.split_once(':')) {
                None => String::new(),
                Some(Some((sequence, hash))) => {
                    format!("?sequence={}&hash={}", encoded(sequence), encoded(hash))
                }
                Some(None) => bail!("a head is written as SEQUENCE:HASH"),
            };
            let path = format!("/hearth/audit/verify{query}");
            let answer = client.call(Method::GET, &path, None).await?;
            if let Some(fault) = answer["fault"].as_str() {
                bail!("the audit log was tampered with: {fault}");
            }
            terminal::line(&format!("{} acts, none changed or missing", answer["rows"]))?;
            terminal::line(&format!("head {}:{}", answer["rows"], text(&answer, "hash")))
        }
    }
}

fn act_row(act: &Value) -> Vec<String> {
    let time = act["created_at"].as_i64().and_then(|at| jiff::Timestamp::from_second(at).ok());
    let time = time.map_or_else(String::new, |time| time.to_string());
    vec![
        act["sequence"].to_string(),
        time,
        text(act, "actor"),
        text(act, "action"),
        text(act, "target"),
    ]
}

/// Runs one `hearth import` command.
pub async fn import(client: &Client, command: Import) -> Result<()> {
    let Import::NewApi { file, dry_run } = command;
    let path = file.canonicalize().with_context(|| format!("cannot read {}", file.display()))?;
    let body = json!({ "path": path, "dry_run": dry_run });
    let answer = client.call(Method::POST, "/hearth/import/new-api", Some(body)).await?;
    let verb = if dry_run { "would bring in" } else { "brought in" };
    let counts: Vec<String> = ["users", "groups", "tokens", "prices", "usage"]
        .map(|what| format!("{} {what}", answer["brought"][what]))
        .to_vec();
    terminal::line(&format!("{verb} {}", counts.join(", ")))?;
    if answer["channels_left"] != 0 {
        let count = &answer["channels_left"];
        terminal::line(&format!("{count} channels are left out; see hearth channels add"))?;
    }
    for note in answer["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        terminal::line(note)?;
    }
    match answer["more_notes"].as_u64() {
        Some(more @ 1..) => terminal::line(&format!("and {more} more notes")),
        _ => Ok(()),
    }
}

/// A text as it stands in a query.
fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match is_plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
