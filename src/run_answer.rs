//! One answer, printed as it comes.

use std::io::{self, IsTerminal};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::client::Client;
use crate::run_session::Session;
use crate::run_wrap::Wrap;
use crate::terminal::{self, printable};

/// Dim letters for thoughts, and back.
const DIM: (&str, &str) = ("\u{1b}[2m", "\u{1b}[0m");

/// How an answer ended.
pub(crate) enum End {
    Whole,
    /// By Ctrl+C.
    Stopped,
}

/// What is on the screen.
struct Screen {
    hides_thinking: bool,
    has_colour: bool,
    is_thinking: bool,
    said: String,
    wrap: Wrap,
}

/// Asks the last question; prints the answer and adds it to the conversation. An answer that is
/// stopped stays, as far as it came; a question that fails goes.
pub(crate) async fn answer(client: &Client, session: &mut Session) -> Result<End> {
    let mut screen = Screen {
        hides_thinking: session.hides_thinking,
        has_colour: io::stdout().is_terminal(),
        is_thinking: false,
        said: String::new(),
        wrap: Wrap::new(terminal::columns().filter(|_| session.wraps_words)),
    };
    let end = tokio::select! {
        last = stream(client, session.request(), &mut screen) => last.map(Some),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("cannot wait for Ctrl+C").map(|()| None)
        }
    };
    let end = match end {
        Ok(end) => end,
        Err(error) => {
            session.messages.pop();
            screen.end_thought()?;
            return Err(error);
        }
    };
    screen.end_thought()?;
    terminal::line("")?;
    session.messages.push(json!({ "role": "assistant", "content": screen.said }));
    let Some(last) = end else { return Ok(End::Stopped) };
    if session.is_verbose {
        terminal::note(&times(&last))?;
    }
    Ok(End::Whole)
}

/// Prints what comes; returns the last object, which has the times.
async fn stream(client: &Client, body: Value, screen: &mut Screen) -> Result<Value> {
    let mut lines = client.lines("/api/chat", body).await?;
    while let Some(line) = lines.next().await {
        let line = line?;
        if let Some(error) = line["error"].as_str() {
            bail!("{error}");
        }
        let text = |key: &str| line["message"][key].as_str().unwrap_or_default();
        screen.think(text("thinking"))?;
        screen.say(text("content"))?;
        if line["done"] == true {
            return Ok(line);
        }
    }
    bail!("the server ended the answer without saying why; see its log")
}

impl Screen {
    fn think(&mut self, text: &str) -> Result<()> {
        if text.is_empty() || self.hides_thinking {
            return Ok(());
        }
        if !self.is_thinking {
            self.is_thinking = true;
            terminal::print(if self.has_colour { DIM.0 } else { "" })?;
            terminal::line("Thinking...")?;
        }
        terminal::print(&self.wrap.lay(&printable(text)))
    }

    fn say(&mut self, text: &str) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.end_thought()?;
        self.said.push_str(text);
        terminal::print(&self.wrap.lay(&printable(text)))
    }

    fn end_thought(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.is_thinking) {
            return Ok(());
        }
        self.wrap.restart();
        terminal::line("\n...done thinking.")?;
        terminal::line(if self.has_colour { DIM.1 } else { "" })
    }
}

/// The times of an answer, as Ollama prints them.
fn times(last: &Value) -> String {
    let seconds = |key: &str| last[key].as_u64().unwrap_or(0) as f64 / 1e9;
    let count = |key: &str| last[key].as_u64().unwrap_or(0);
    let rate = |tokens: &str, time: &str| match seconds(time) {
        time if time > 0.0 => format!("{:.2} tokens/s", count(tokens) as f64 / time),
        _ => "-".to_owned(),
    };
    let lines = [
        ("total duration", format!("{:.3}s", seconds("total_duration"))),
        ("load duration", format!("{:.3}s", seconds("load_duration"))),
        ("prompt eval count", format!("{} token(s)", count("prompt_eval_count"))),
        ("prompt eval duration", format!("{:.3}s", seconds("prompt_eval_duration"))),
        ("prompt eval rate", rate("prompt_eval_count", "prompt_eval_duration")),
        ("eval count", format!("{} token(s)", count("eval_count"))),
        ("eval duration", format!("{:.3}s", seconds("eval_duration"))),
        ("eval rate", rate("eval_count", "eval_duration")),
    ];
    let lines = lines.map(|(name, value)| format!("{:<22}{value}", format!("{name}:")));
    format!("\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_ollama_tells_them() {
        let last = json!({
            "total_duration": 2_500_000_000u64, "prompt_eval_count": 10,
            "prompt_eval_duration": 500_000_000, "eval_count": 30, "eval_duration": 1_500_000_000,
        });
        let text = times(&last);
        assert!(text.contains("total duration:       2.500s"), "{text}");
        assert!(text.contains("eval rate:            20.00 tokens/s"), "{text}");
        // A cached prompt took no time that could be divided by.
        assert!(times(&json!({})).contains("prompt eval rate:     -"));
    }
}
