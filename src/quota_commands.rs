//! `hearth quota …` and `hearth prices …`.

use anyhow::{Context, Result, bail};
use axum::http::Method;
use hearth_store::MicroDollars;
use serde_json::{Value, json};

use crate::accounts_commands::{rows, text};
use crate::cli_money::{Limit, Prices, Quota, Unit};
use crate::client::Client;
use crate::terminal;

/// Runs one `hearth quota` command.
pub(crate) async fn quota(client: &Client, command: Quota) -> Result<()> {
    match command {
        Quota::List => list(client).await,
        Quota::Show { holder } => show(client, &holder).await,
        Quota::Set { holder, amount, reason } => {
            let body = match amount.as_str() {
                "unlimited" => json!({ "action": "unlimited", "reason": reason }),
                dollars => json!({ "action": "set", "usd": dollars, "reason": reason }),
            };
            change(client, &holder, body).await
        }
        Quota::Add { holder, amount, reason } => {
            let body = json!({ "action": "add", "usd": exact(amount), "reason": reason });
            change(client, &holder, body).await
        }
        Quota::Budget { holder, most, per, unit, time_zone } => {
            let (kind, name) = split(&holder)?;
            let most = match unit {
                Unit::Money => {
                    let money = MicroDollars::parse_dollars(&most);
                    money.with_context(|| format!("`{most}` is no amount of dollars"))?.micros()
                }
                Unit::Tokens | Unit::Requests => most.parse().context("MOST must be a number")?,
            };
            let body = json!({
                "kind": kind, "holder": name, "period": per.name(), "unit": unit.name(),
                "most": most, "time_zone": time_zone,
            });
            let answer = client.call(Method::PUT, "/hearth/budgets", Some(body)).await?;
            terminal::line(&format!("budget {} is set", answer["budget"]["id"]))
        }
        Quota::Budgets => {
            let answer = client.call(Method::GET, "/hearth/budgets", None).await?;
            budget_table(rows(&answer, "budgets"))
        }
        Quota::RmBudget { id } => {
            client.call(Method::DELETE, &format!("/hearth/budgets/{id}"), None).await?;
            terminal::line(&format!("removed budget {id}"))
        }
        Quota::Limit(limit) => set_limit(client, limit).await,
        Quota::Limits => limits(client).await,
    }
}

/// Runs one `hearth prices` command.
pub(crate) async fn prices(client: &Client, command: Prices) -> Result<()> {
    match command {
        Prices::List => {
            let answer = client.call(Method::GET, "/hearth/prices", None).await?;
            let row = |price: &Value| {
                let dollars = |key: &str| money(&price[key]);
                vec![
                    text(price, "model"),
                    price["channel_id"].as_i64().map_or("-".to_owned(), |id| id.to_string()),
                    dollars("input_micros_per_million"),
                    dollars("cached_micros_per_million"),
                    dollars("output_micros_per_million"),
                    dollars("call_micros"),
                ]
            };
            let table: Vec<_> = rows(&answer, "prices").iter().map(row).collect();
            terminal::table(
                &["MODEL", "CHANNEL", "INPUT/M", "CACHED/M", "OUTPUT/M", "CALL"],
                &table,
            )
        }
        Prices::Set { model, input, cached, output, call, channel } => {
            let micros = |price: Option<MicroDollars>| price.unwrap_or(MicroDollars::ZERO).micros();
            let body = json!({
                "model": model,
                "channel_id": channel,
                "input_micros_per_million": micros(input),
                "cached_micros_per_million": cached.map(MicroDollars::micros),
                "output_micros_per_million": micros(output),
                "call_micros": micros(call),
            });
            client.call(Method::PUT, "/hearth/prices", Some(body)).await?;
            terminal::line(&format!("the price of {model} is set"))
        }
        Prices::Rm { model, channel } => {
            let mut path = format!("/hearth/prices?model={}", encode(&model));
            if let Some(channel) = channel {
                path.push_str(&format!("&channel_id={channel}"));
            }
            client.call(Method::DELETE, &path, None).await?;
            terminal::line(&format!("removed the price of {model}"))
        }
    }
}

async fn list(client: &Client) -> Result<()> {
    let mut table = Vec::new();
    let mut path = "/hearth/quota".to_owned();
    loop {
        let answer = client.call(Method::GET, &path, None).await?;
        table.extend(rows(&answer, "wallets").iter().map(wallet_row));
        match answer["next"].as_str() {
            Some(next) => path = format!("/hearth/quota?after={}", encode(next)),
            None => break,
        }
    }
    terminal::table(&["HOLDER", "LEFT", "HELD", "USED", "GRANTED"], &table)
}

fn wallet_row(wallet: &Value) -> Vec<String> {
    let holder = format!("{}:{}", text(&wallet["holder"], "kind"), wallet["holder"]["id"]);
    let left = match wallet["is_unlimited"] == true {
        true => "unlimited".to_owned(),
        false => money(&wallet["remaining_micros"]),
    };
    let part = |key: &str| money(&wallet[key]);
    vec![holder, left, part("held_micros"), part("used_micros"), part("granted_micros")]
}

async fn show(client: &Client, holder: &str) -> Result<()> {
    let answer = client.call(Method::GET, &path_of(holder)?, None).await?;
    match answer["wallet"].is_null() {
        true => terminal::line(&format!("{holder} has no limit and has spent nothing"))?,
        false => terminal::table(
            &["HOLDER", "LEFT", "HELD", "USED", "GRANTED"],
            &[wallet_row(&answer["wallet"])],
        )?,
    }
    match rows(&answer, "budgets") {
        [] => Ok(()),
        budgets => budget_table(budgets),
    }
}

async fn change(client: &Client, holder: &str, body: Value) -> Result<()> {
    let answer = client.call(Method::PUT, &path_of(holder)?, Some(body)).await?;
    let wallet = &answer["wallet"];
    match wallet["is_unlimited"] == true {
        true => terminal::line(&format!("{holder} may spend without a limit")),
        false => {
            terminal::line(&format!("{holder} may spend {}", money(&wallet["remaining_micros"])))
        }
    }
}

fn budget_table(budgets: &[Value]) -> Result<()> {
    let row = |budget: &Value| {
        let amount = |key: &str| match text(budget, "unit").as_str() {
            "money" => money(&budget[key]),
            _ => budget[key].to_string(),
        };
        vec![
            budget["id"].to_string(),
            format!("{}:{}", text(&budget["holder"], "kind"), budget["holder"]["id"]),
            text(budget, "period"),
            text(budget, "unit"),
            amount("most"),
            amount("used"),
            text(budget, "time_zone"),
        ]
    };
    let table: Vec<_> = budgets.iter().map(row).collect();
    terminal::table(&["ID", "HOLDER", "PER", "UNIT", "MOST", "USED", "ZONE"], &table)
}

async fn set_limit(client: &Client, limit: Limit) -> Result<()> {
    let Limit { holder, requests, tokens, concurrent } = limit;
    let (kind, name) = split(&holder)?;
    // The API knows users and groups by number: a name may change hands.
    let name = match kind {
        "user" | "group" if name != "*" && name.parse::<i64>().is_err() => {
            let answer = client.call(Method::GET, &path_of(&holder)?, None).await?;
            answer["holder"]["id"].to_string()
        }
        _ => name.to_owned(),
    };
    if requests.is_none() && tokens.is_none() && concurrent.is_none() {
        let path = format!("/hearth/limits?kind={kind}&holder={}", encode(&name));
        client.call(Method::DELETE, &path, None).await?;
        return terminal::line(&format!("removed the limit of {holder}"));
    }
    let body = json!({
        "kind": kind, "holder": name, "requests_per_minute": requests,
        "tokens_per_minute": tokens, "concurrent": concurrent,
    });
    client.call(Method::PUT, "/hearth/limits", Some(body)).await?;
    terminal::line(&format!("the limit of {holder} is set"))
}

async fn limits(client: &Client) -> Result<()> {
    let answer = client.call(Method::GET, "/hearth/limits", None).await?;
    let row = |limit: &Value| {
        let number = |key: &str| limit[key].as_u64().map_or("-".to_owned(), |n| n.to_string());
        vec![
            format!("{}:{}", text(limit, "kind"), text(limit, "holder")),
            number("requests_per_minute"),
            number("tokens_per_minute"),
            number("concurrent"),
        ]
    };
    let table: Vec<_> = rows(&answer, "limits").iter().map(row).collect();
    terminal::table(&["HOLDER", "REQUESTS/MIN", "TOKENS/MIN", "AT ONCE"], &table)
}

fn split(holder: &str) -> Result<(&str, &str)> {
    match holder.split_once(':') {
        Some((kind @ ("user" | "group" | "token" | "model"), name)) if !name.is_empty() => {
            Ok((kind, name))
        }
        _ => bail!("write the holder as user:NAME, group:NAME or token:ID"),
    }
}

fn path_of(holder: &str) -> Result<String> {
    let (kind, name) = split(holder)?;
    Ok(format!("/hearth/quota/{kind}/{}", encode(name)))
}

/// An amount in micro-dollars, as dollars.
fn money(micros: &Value) -> String {
    let money = micros.as_u64().and_then(MicroDollars::new).unwrap_or(MicroDollars::ZERO);
    money.to_string()
}

/// Dollars as the API reads them.
fn exact(money: MicroDollars) -> String {
    money.to_string().trim_start_matches('$').to_owned()
}

/// A text inside a path or a query.
pub(crate) fn encode(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}
