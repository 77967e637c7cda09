//! `hearth users …` and `hearth tokens …`.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::http::Method;
use serde_json::{Value, json};

use crate::cli::{Role, Tokens, Users};
use crate::client::Client;
use crate::terminal;

/// Runs one `hearth users` command.
pub async fn users(client: &Client, command: Users) -> Result<()> {
    match command {
        Users::Add { name, role, password_stdin } => {
            let role = role_name(role);
            let password = terminal::password(password_stdin)?;
            let body = json!({ "name": name, "role": role, "password": password });
            client.call(Method::POST, "/hearth/users", Some(body)).await?;
            terminal::line(&format!("added {role} {name}"))
        }
        Users::List => {
            let answer = client.call(Method::GET, "/hearth/users", None).await?;
            let rows: Vec<_> = rows(&answer, "users").iter().map(user_row).collect();
            terminal::table(&["NAME", "ROLE", "STATE"], &rows)
        }
        Users::Disable { name } => change(client, &name, json!({ "disabled": true })).await,
        Users::Enable { name } => change(client, &name, json!({ "disabled": false })).await,
        Users::Role { name, role } => {
            change(client, &name, json!({ "role": role_name(role) })).await
        }
        Users::Rm { name } => {
            let path = user_path(client, &name).await?;
            client.call(Method::DELETE, &path, None).await?;
            terminal::line(&format!("removed {name}"))
        }
        Users::Export => {
            let table = client.text("/hearth/users/export").await?;
            terminal::line(table.trim_end())
        }
        Users::Import { file, dry_run } => {
            let path = format!("/hearth/users/import?dry_run={dry_run}");
            client.send_file(&path, &file).await?;
            let done = if dry_run { "the file is in order" } else { "imported" };
            terminal::line(done)
        }
        Users::Password { name, password_stdin } => {
            let password = terminal::password(password_stdin)?;
            change(client, &name, json!({ "password": password })).await
        }
    }
}

/// Changes the user called `name`.
async fn change(client: &Client, name: &str, body: Value) -> Result<()> {
    let path = user_path(client, name).await?;
    let answer = client.call(Method::PATCH, &path, Some(body)).await?;
    terminal::line(&format!("changed {}", text(&answer["user"], "name")))
}

/// The path of the user called `name`.
pub(crate) async fn user_path(client: &Client, name: &str) -> Result<String> {
    let answer = client.call(Method::GET, "/hearth/users", None).await?;
    let user = rows(&answer, "users")
        .iter()
        .find(|user| text(user, "name").to_lowercase() == name.to_lowercase())
        .with_context(|| format!("there is no user `{name}`; see hearth users list"))?;
    Ok(format!("/hearth/users/{}", user["id"]))
}

/// A role as the API writes it.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}

fn user_row(user: &Value) -> Vec<String> {
    let state = if user["disabled"] == true { "disabled" } else { "active" };
    vec![text(user, "name"), text(user, "role"), state.to_owned()]
}

/// Runs one `hearth tokens` command.
pub async fn tokens(client: &Client, command: Tokens) -> Result<()> {
    match command {
        Tokens::Create { user, name, quota, expires, models, allow_ips } => {
            let mut body = json!({ "user": user, "name": name });
            if let Some(lifetime_s) = expires {
                let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
                body["expires_at"] = json!(now_s + lifetime_s);
            }
            if let Some(dollars) = quota.filter(|quota| quota != "unlimited") {
                body["quota_usd"] = json!(dollars);
            }
            if !models.is_empty() {
                body["models"] = json!(models);
            }
            if !allow_ips.is_empty() {
                body["allow_ips"] = json!(allow_ips);
            }
            let answer = client.call(Method::POST, "/hearth/tokens", Some(body)).await?;
            terminal::line(&text(&answer, "secret"))
        }
        Tokens::List => {
            let answer = client.call(Method::GET, "/hearth/tokens?all=true", None).await?;
            let rows: Vec<_> = rows(&answer, "tokens")
                .iter()
                .map(|token| {
                    let id = token["id"].to_string();
                    vec![id, text(token, "user"), text(token, "name"), text(token, "prefix")]
                })
                .collect();
            terminal::table(&["ID", "USER", "NAME", "TOKEN"], &rows)
        }
        Tokens::Revoke { id } => {
            client.call(Method::DELETE, &format!("/hearth/tokens/{id}"), None).await?;
            terminal::line(&format!("revoked token {id}"))
        }
        Tokens::Disable { id } => set_disabled(client, id, true).await,
        Tokens::Enable { id } => set_disabled(client, id, false).await,
        Tokens::Rotate { id, overlap } => {
            let body = json!({ "overlap_s": overlap.unwrap_or(0) });
            let path = format!("/hearth/tokens/{id}/rotate");
            let answer = client.call(Method::POST, &path, Some(body)).await?;
            terminal::line(&text(&answer, "secret"))
        }
    }
}

async fn set_disabled(client: &Client, id: i64, disabled: bool) -> Result<()> {
    let body = json!({ "disabled": disabled });
    client.call(Method::PATCH, &format!("/hearth/tokens/{id}"), Some(body)).await?;
    terminal::line(&format!("{} token {id}", if disabled { "disabled" } else { "enabled" }))
}

/// The list called `key` in an answer.
pub(crate) fn rows<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer[key].as_array().map_or(&[], Vec::as_slice)
}

/// A text field of an answer; empty if it is absent.
pub(crate) fn text(row: &Value, key: &str) -> String {
    row[key].as_str().unwrap_or_default().to_owned()
}
