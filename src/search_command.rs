//! `hearth models search`: well-known models, and which of them would run here.

use anyhow::Result;
use axum::http::Method;
use serde_json::{Value, json};

use crate::accounts_commands::{rows, text};
use crate::cli::Search;
use crate::client::Client;
use crate::model_commands::{count, encode};
use crate::terminal;

/// Prints what the catalogue has, one model a line.
pub(crate) async fn search(client: &Client, command: Search) -> Result<()> {
    let words = encode(&command.words.join(" "));
    let mut found = Vec::new();
    let mut offset = Some(0);
    while let Some(start) = offset {
        let path = format!("/hearth/models/catalogue?q={words}&offset={start}");
        let mut page = client.call(Method::GET, &path, None).await?;
        offset = page["next"].as_u64().filter(|next| *next > start);
        if let Some(models) = page["models"].as_array_mut() {
            found.append(models);
        }
    }
    if command.json {
        return terminal::line(&serde_json::to_string_pretty(&json!({ "models": found }))?);
    }
    if found.is_empty() {
        return terminal::line(
            "The catalogue has nothing of that. Any model can be pulled by its whole name, \
             as in hf.co/ORG/REPO:Q4_K_M.",
        );
    }
    let lines: Vec<_> = found.iter().flat_map(|card| rows(card, "variants")).map(row).collect();
    terminal::table(&["NAME", "SIZE", "PARAMETERS", "ON THIS MACHINE", "LICENSE", ""], &lines)
}

fn row(variant: &Value) -> Vec<String> {
    let number = |key: &str| variant[key].as_u64().unwrap_or(0);
    let installed = if variant["installed"] == true { "installed" } else { "" };
    vec![
        text(variant, "name"),
        terminal::size(number("file_bytes")),
        count(number("parameters")),
        verdict(&variant["fit"]),
        text(variant, "license"),
        installed.to_owned(),
    ]
}

/// Whether a model fits, with the numbers that say why.
fn verdict(fit: &Value) -> String {
    let bytes = |key: &str| terminal::gib(fit[key].as_u64().unwrap_or(0));
    let device = text(fit, "device").to_uppercase();
    let sums = format!("needs {}, {} free on {device}", bytes("need_bytes"), bytes("free_bytes"));
    match text(fit, "verdict").as_str() {
        "fits" => format!("fits: {sums}"),
        "fits_shorter" => format!("fits with {} tokens: {sums}", fit["context_tokens"]),
        "too_large" => format!("too large: {sums}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_comes_with_its_numbers() {
        let fit = |verdict: &str| {
            json!({
                "verdict": verdict, "device": "gpu0", "context_tokens": 8192,
                "need_bytes": 6u64 << 30, "free_bytes": 23u64 << 30,
            })
        };
        assert_eq!(verdict(&fit("fits")), "fits: needs 6.0 GiB, 23.0 GiB free on GPU0");
        let shorter = verdict(&fit("fits_shorter"));
        assert!(shorter.starts_with("fits with 8192 tokens: needs 6.0 GiB"), "{shorter}");
        assert!(verdict(&fit("too_large")).starts_with("too large: "));
    }
}
