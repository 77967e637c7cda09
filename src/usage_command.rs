//! `hearth usage`: requests, or sums of them, as a table, JSON or CSV.

use anyhow::Result;
use axum::http::Method;
use clap::ValueEnum;
use hearth_store::MicroDollars;
use serde_json::{Value, json};

use crate::accounts_commands::{rows, text};
use crate::cli_usage::{By, Usage};
use crate::client::Client;
use crate::quota_commands::encode;
use crate::terminal;

/// Requests that are asked for at once.
const PAGE: u32 = 500;

/// Runs `hearth usage`.
pub(crate) async fn usage(client: &Client, command: Usage) -> Result<()> {
    let filter = filter(client, &command).await?;
    match command.by {
        Some(by) => sums(client, &filter, by, command.json).await,
        None if command.csv => csv(client, &filter).await,
        None => requests(client, &filter, &command).await,
    }
}

/// The filter as it stands behind the question mark.
async fn filter(client: &Client, command: &Usage) -> Result<String> {
    let now = jiff::Timestamp::now().as_second();
    let mut parts = Vec::new();
    for (kind, name) in [("user", &command.user), ("group", &command.group)] {
        if let Some(name) = name {
            // The API knows them by number: a name may change hands.
            let path = format!("/hearth/quota/{kind}/{}", encode(name));
            let found = client.call(Method::GET, &path, None).await?;
            parts.push(format!("{kind}_id={}", found["holder"]["id"]));
        }
    }
    if let Some(model) = &command.model {
        parts.push(format!("model={}", encode(model)));
    }
    for (key, id) in [("token_id", command.token), ("channel_id", command.channel)] {
        parts.extend(id.map(|id| format!("{key}={id}")));
    }
    if let Some(outcome) = command.outcome.and_then(|outcome| outcome.to_possible_value()) {
        parts.push(format!("outcome={}", outcome.get_name()));
    }
    parts.extend(command.since.map(|when| format!("since={}", when.at(now))));
    parts.extend(command.until.map(|when| format!("until={}", when.at(now))));
    Ok(parts.join("&"))
}

async fn requests(client: &Client, filter: &str, command: &Usage) -> Result<()> {
    let mut found: Vec<Value> = Vec::new();
    let mut before = String::new();
    while found.len() < command.limit as usize {
        let left = command.limit - u32::try_from(found.len())?;
        let path = format!("/hearth/usage?{filter}&limit={}{before}", left.min(PAGE));
        let answer = client.call(Method::GET, &path.replace("?&", "?"), None).await?;
        found.extend(rows(&answer, "usage").iter().cloned());
        match answer["next"].as_str() {
            Some(next) => before = format!("&before={}", encode(next)),
            None => break,
        }
    }
    if command.json {
        return terminal::line(&serde_json::to_string_pretty(&json!({ "usage": found }))?);
    }
    let row = |used: &Value| {
        let time = jiff::Timestamp::from_second(used["created_at"].as_i64().unwrap_or(0));
        let who = match used["token"].as_str() {
            Some(token) => format!("{}/{token}", text(used, "user")),
            None => text(used, "user"),
        };
        vec![
            time.unwrap_or_default().to_string(),
            who,
            text(used, "model"),
            used["channel_id"].as_i64().map_or("here".to_owned(), |id| id.to_string()),
            used["prompt_tokens"].to_string(),
            used["completion_tokens"].to_string(),
            money(&used["cost_micros"]),
            format!("{} ms", used["total_ms"]),
            text(used, "outcome"),
        ]
    };
    let table: Vec<_> = found.iter().map(row).collect();
    terminal::table(
        &["TIME", "WHO", "MODEL", "CHANNEL", "PROMPT", "ANSWER", "COST", "TOOK", "OUTCOME"],
        &table,
    )
}

async fn sums(client: &Client, filter: &str, by: By, as_json: bool) -> Result<()> {
    let by = by.to_possible_value().map_or(String::new(), |by| by.get_name().to_owned());
    // Without a begin the API tells of this month; here it is all there is.
    let since = if filter.contains("since=") { "" } else { "&since=0" };
    let path = format!("/hearth/usage/summary?by={by}{since}&{filter}");
    let answer = client.call(Method::GET, path.trim_end_matches('&'), None).await?;
    if as_json {
        return terminal::line(&serde_json::to_string_pretty(&answer)?);
    }
    let spans = rows(&answer, "spans");
    let found = spans.iter().flat_map(|span| rows(span, "sums"));
    let row = |sum: &Value| {
        let key = match sum["name"].as_str() {
            Some(name) => name.to_owned(),
            None if by == "channel" && sum["key"] == "0" => "here".to_owned(),
            None => text(sum, "key"),
        };
        vec![
            key,
            sum["requests"].to_string(),
            sum["failed"].to_string(),
            sum["prompt_tokens"].to_string(),
            sum["cached_tokens"].to_string(),
            sum["completion_tokens"].to_string(),
            money(&sum["cost_micros"]),
        ]
    };
    let table: Vec<_> = found.map(row).collect();
    let heading = by.to_uppercase();
    terminal::table(&[&heading, "REQUESTS", "FAILED", "PROMPT", "CACHED", "ANSWER", "COST"], &table)
}

async fn csv(client: &Client, filter: &str) -> Result<()> {
    let path = format!("/hearth/usage?{filter}&format=csv").replace("?&", "?");
    client.each_lines(&path, terminal::print).await
}

/// An amount in micro-dollars, as dollars.
fn money(micros: &Value) -> String {
    let money = micros.as_u64().and_then(MicroDollars::new).unwrap_or(MicroDollars::ZERO);
    money.to_string()
}
