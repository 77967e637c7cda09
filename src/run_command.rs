//! `hearth models run`: a question, or a conversation on a terminal.

use std::io::{self, IsTerminal, Read};

use anyhow::{Context, Result, bail, ensure};
use axum::http::Method;
use serde_json::{Value, json};

use crate::cli::{PlainFile, Run};
use crate::client::Client;
use crate::model_commands::Here;
use crate::run_answer::{End, answer};
use crate::run_session::{Session, keep_alive};
use crate::{model_commands, run_talk, terminal};

/// Most that is read from standard input, in bytes.
const MAX_INPUT_BYTES: u64 = 16 << 20;

/// Answers one question, or leads a conversation.
pub(crate) async fn run(client: &Client, command: Run, here: &Here<'_>) -> Result<()> {
    let about = about(client, &command.name).await?;
    let piped = if io::stdin().is_terminal() { String::new() } else { piped()? };
    let mut prompt = command.prompt.join(" ");
    if !piped.trim().is_empty() {
        prompt = if prompt.is_empty() { piped } else { format!("{piped}\n{prompt}") };
    }
    let can = |what: &str| has_capability(&about, what);
    if can("embedding") && !can("completion") {
        return embed(client, &command, &prompt).await;
    }
    let mut session = Session::new(&command)?;
    if prompt.is_empty() {
        ensure!(io::stdin().is_terminal(), "there is no question; give one, or pipe it in");
        return run_talk::talk(client, session, here).await;
    }
    session.ask(prompt);
    match answer(client, &mut session).await? {
        End::Whole => Ok(()),
        End::Stopped => bail!("stopped"),
    }
}

/// All that is known of the model, which is pulled if it is not here.
pub(crate) async fn about(client: &Client, name: &str) -> Result<Value> {
    let show = || client.call(Method::POST, "/api/show", Some(json!({ "model": name })));
    match show().await {
        Err(error) if error.to_string().contains("not found") => {
            terminal::note(&format!("{name} is not in the library; it is pulled first"))?;
            model_commands::pull(client, name, PlainFile::default(), false).await?;
            show().await
        }
        shown => shown,
    }
}

fn has_capability(about: &Value, what: &str) -> bool {
    about["capabilities"].as_array().is_some_and(|all| all.iter().any(|one| one == what))
}

fn piped() -> Result<String> {
    let mut text = String::new();
    let read = io::stdin().lock().take(MAX_INPUT_BYTES + 1).read_to_string(&mut text);
    let read = read.context("standard input is not text")?;
    ensure!(read as u64 <= MAX_INPUT_BYTES, "standard input has more than {MAX_INPUT_BYTES} bytes");
    Ok(text)
}

/// The vector of a text, as a JSON array.
async fn embed(client: &Client, command: &Run, text: &str) -> Result<()> {
    ensure!(!text.is_empty(), "{} makes vectors of texts; give it one", command.name);
    let mut body = json!({ "model": command.name, "input": text });
    if let Some(keep) = &command.keepalive {
        body["keep_alive"] = keep_alive(keep);
    }
    let answer = client.call(Method::POST, "/api/embed", Some(body)).await?;
    terminal::line(&answer["embeddings"][0].to_string())
}
