//! `hearth models show` and `ps`: what is known of a model, and which are loaded.

use anyhow::Result;
use axum::http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::accounts_commands::{rows, text};
use crate::cli::{Show, ShowPart};
use crate::client::Client;
use crate::show_part::{Part, part};
use crate::terminal;

/// Prints one model, or a part of what is known of it.
pub(crate) async fn show(client: &Client, command: Show) -> Result<()> {
    let body = json!({ "model": command.name });
    let about = client.call(Method::POST, "/api/show", Some(body)).await?;
    if command.json {
        return terminal::line(&serde_json::to_string_pretty(&about)?);
    }
    terminal::line(&part(&about, wanted(&command.part)))
}

fn wanted(asked: &ShowPart) -> Part {
    match asked {
        ShowPart { license: true, .. } => Part::License,
        ShowPart { modelfile: true, .. } => Part::Modelfile,
        ShowPart { parameters: true, .. } => Part::Parameters,
        ShowPart { system: true, .. } => Part::System,
        ShowPart { template: true, .. } => Part::Template,
        ShowPart { .. } => Part::Info,
    }
}

/// Lists the models that are loaded.
pub(crate) async fn ps(client: &Client, as_json: bool) -> Result<()> {
    let answer = client.call(Method::GET, "/api/ps", None).await?;
    if as_json {
        return terminal::line(&serde_json::to_string_pretty(&answer)?);
    }
    if !client.is_remote() {
        return terminal::line("no server runs on this data directory, so no model is loaded");
    }
    let now = Timestamp::now();
    let rows: Vec<_> = rows(&answer, "models").iter().map(|model| row(model, now)).collect();
    terminal::table(&["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"], &rows)
}

fn row(model: &Value, now: Timestamp) -> Vec<String> {
    let bytes = |key: &str| model[key].as_u64().unwrap_or(0);
    vec![
        text(model, "name"),
        text(model, "digest").chars().take(12).collect(),
        terminal::size(bytes("size")),
        processor(bytes("size"), bytes("size_vram")),
        bytes("context_length").to_string(),
        until(&text(model, "expires_at"), now),
    ]
}

/// Where a model is: `100% CPU`, `100% GPU`, or both parts.
fn processor(size: u64, on_gpu: u64) -> String {
    match (size, on_gpu) {
        (_, 0) => "100% CPU".to_owned(),
        (size, on_gpu) if on_gpu >= size => "100% GPU".to_owned(),
        (size, on_gpu) => {
            // Less than half a per cent of something is something.
            let gpu = (on_gpu as f64 / size as f64 * 100.0).round().clamp(1.0, 99.0);
            format!("{:.0}%/{gpu:.0}% CPU/GPU", 100.0 - gpu)
        }
    }
}

/// `4 minutes from now`.
fn until(expires_at: &str, now: Timestamp) -> String {
    let Ok(end) = expires_at.parse::<Timestamp>() else { return String::new() };
    let left_s = end.as_second() - now.as_second();
    let (count, unit) = match left_s {
        ..=0 => return "Stopping...".to_owned(),
        1..60 => (left_s, "second"),
        60..3600 => (left_s / 60, "minute"),
        3600..86_400 => (left_s / 3600, "hour"),
        // Nobody waits for ten years.
        86_400..315_360_000 => (left_s / 86_400, "day"),
        _ => return "Forever".to_owned(),
    };
    format!("{count} {unit}{} from now", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_place_is_told_in_per_cent() {
        assert_eq!(processor(100, 0), "100% CPU");
        assert_eq!(processor(100, 100), "100% GPU");
        assert_eq!(processor(100, 52), "48%/52% CPU/GPU");
        assert_eq!(processor(1000, 1), "99%/1% CPU/GPU");
        assert_eq!(processor(0, 0), "100% CPU");
    }

    #[test]
    fn the_time_that_is_left_is_told_roughly() {
        let now = Timestamp::from_second(1_000_000).expect("a time");
        let after = |seconds: i64| {
            until(&Timestamp::from_second(1_000_000 + seconds).expect("a time").to_string(), now)
        };
        assert_eq!(after(0), "Stopping...");
        assert_eq!(after(59), "59 seconds from now");
        assert_eq!(after(299), "4 minutes from now");
        assert_eq!(after(3600), "1 hour from now");
        assert_eq!(after(3_153_600_000), "Forever");
        assert_eq!(until("nonsense", now), "");
    }
}
