//! Settings under the names that New API, One API and Ollama use, so that an existing `.env` or
//! unit file keeps working.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::config::{Environment, ListenConfig, set};

/// Names that are understood but have nothing to set here, and what people should know.
const WITHOUT_EFFECT: [(&str, &str); 5] = [
    ("SQL_DSN", "Hearth keeps its own database in the data directory"),
    ("REDIS_CONN_STRING", "Hearth needs no Redis"),
    ("SESSION_SECRET", "Hearth makes its own key in the data directory"),
    ("OLLAMA_HOST", "Ollama clients use the one HTTP address; see listen.http"),
    ("OLLAMA_ORIGINS", "the API is used by programs and by the web app of this server"),
];

/// A kind of KV cache that Ollama has and Hearth has not.
const FOUR_BITS: &str = "q4_0";

/// Lays the older names over `table`.
pub(crate) fn overlay(table: &mut Table, environment: &Environment) -> Result<()> {
    if let Some(port) = environment.get("PORT") {
        let port: u16 = port.parse().context("PORT must be a port number, 0 to 65535")?;
        // The port alone: to be reachable from other machines stays a choice of its own.
        let chosen = table.get("listen").and_then(|listen| listen.get("http")?.as_str());
        let chosen = chosen.and_then(|address| address.parse().ok());
        let mut address: SocketAddr = chosen.unwrap_or(ListenConfig::default().http);
        address.set_port(port);
        set(table, "listen", "http", Value::String(address.to_string()))?;
    }
    if let Some(level) = environment.get("LOG_LEVEL") {
        set(table, "log", "level", Value::String(level.to_lowercase()))?;
    }
    if let Some(folder) = environment.get("OLLAMA_MODELS") {
        set(table, "data", "models_dir", Value::String(folder.clone()))?;
    }
    for (name, key) in [("HF_TOKEN", "huggingface_token"), ("HF_ENDPOINT", "huggingface_endpoint")]
    {
        if let Some(text) = environment.get(name).filter(|text| !text.is_empty()) {
            set(table, "hub", key, Value::String(text.clone()))?;
        }
    }
    for (name, key) in [
        ("OLLAMA_NUM_PARALLEL", "max_sequences"),
        ("OLLAMA_MAX_QUEUE", "queue_sequences"),
        ("OLLAMA_MAX_LOADED_MODELS", "max_loaded_models"),
    ] {
        if let Some(text) = environment.get(name) {
            let number: i64 =
                text.parse().with_context(|| format!("{name} must be a whole number"))?;
            // 0 is how Ollama writes "choose for me".
            if number != 0 {
                set(table, "engine", key, Value::Integer(number))?;
            }
        }
    }
    if let Some(kind) = environment.get("OLLAMA_KV_CACHE_TYPE").filter(|kind| !kind.is_empty()) {
        let kind = match kind.as_str() {
            "f32" | "f16" | "q8_0" => kind,
            FOUR_BITS => "q8_0",
            _ => anyhow::bail!("OLLAMA_KV_CACHE_TYPE is `{kind}`; write f16, q8_0 or q4_0"),
        };
        set(table, "engine", "kv_type", Value::String(kind.to_owned()))?;
    }
    if let Some(text) = environment.get("OLLAMA_KEEP_ALIVE") {
        let seconds = parse_duration(text).with_context(|| {
            format!("OLLAMA_KEEP_ALIVE is `{text}`; write seconds, or a time such as 5m or 24h")
        })?;
        set(table, "engine", "keep_alive_s", Value::Integer(seconds))?;
    }
    Ok(())
}

/// One sentence for each older name that is set but changes nothing.
pub(crate) fn notes(environment: &Environment) -> Vec<String> {
    let mut notes: Vec<String> = WITHOUT_EFFECT
        .iter()
        .filter(|(name, _)| environment.contains_key(*name))
        .map(|(name, why)| format!("{name} is set but has no effect: {why}"))
        .collect();
    if environment.get("OLLAMA_KV_CACHE_TYPE").is_some_and(|kind| kind == FOUR_BITS) {
        notes.push("OLLAMA_KV_CACHE_TYPE is q4_0; q8_0 is the smallest that Hearth has".to_owned());
    }
    notes
}

/// Seconds of `300`, `90s`, `5m`, `24h`. Ollama writes "for ever" as a negative time, which is 0
/// here, and "not at all" as 0, which is the shortest time here.
fn parse_duration(text: &str) -> Option<i64> {
    let text = text.trim();
    let (digits, unit_s) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 60),
        b'h' => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    let number: i64 = digits.parse().ok()?;
    match number.checked_mul(unit_s)? {
        ..0 => Some(0),
        0 => Some(1),
        seconds => Some(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_kv_cache_is_taken_or_its_nearest_and_that_is_said() {
        let read = |kind: &str| {
            let named = ("OLLAMA_KV_CACHE_TYPE".to_owned(), kind.to_owned());
            let environment = Environment::from([named]);
            let mut table = Table::new();
            let kind = overlay(&mut table, &environment).map(|()| {
                let engine = table.get("engine")?;
                engine.get("kv_type")?.as_str().map(str::to_owned)
            });
            (kind.ok(), notes(&environment).len())
        };
        let some = |kind: &str| Some(Some(kind.to_owned()));
        assert_eq!(read("f16"), (some("f16"), 0));
        assert_eq!(read("q8_0"), (some("q8_0"), 0));
        assert_eq!(read("q4_0"), (some("q8_0"), 1));
        assert_eq!(read(""), (Some(None), 0));
        assert_eq!(read("q1_0"), (None, 0));
    }

    #[test]
    fn durations_are_read_as_ollama_writes_them() {
        for (text, seconds) in [
            ("300", Some(300)),
            ("5m", Some(300)),
            ("24h", Some(86400)),
            ("0", Some(1)),
            ("-1", Some(0)),
            ("x", None),
        ] {
            assert_eq!(parse_duration(text), seconds, "{text}");
        }
    }
}
