//! A conversation on a terminal, line by line.

use std::path::PathBuf;

use anyhow::{Context, Result};
use axum::http::Method;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor, EventHandler, KeyEvent};
use serde_json::json;

use crate::client::Client;
use crate::model_commands::Here;
use crate::run_answer::{End, answer};
use crate::run_editor::{EditKey, edit};
use crate::run_session::{Session, Step};
use crate::show_part::Part;
use crate::{run_command, show_part, terminal};

/// The file in the data directory that keeps what was typed.
const HISTORY_FILE: &str = "run_history";
/// Lines that it keeps.
const MAX_HISTORY: usize = 1000;

type Lines = Editor<(), FileHistory>;

/// What was typed, and where it is kept; nowhere if the data directory is not of this machine.
struct History {
    file: Option<PathBuf>,
    is_kept: bool,
}

/// Leads a conversation until it is left.
pub(crate) async fn talk(client: &Client, mut session: Session, here: &Here<'_>) -> Result<()> {
    let config = Config::builder().max_history_size(MAX_HISTORY)?.auto_add_history(false).build();
    let mut lines = Lines::with_config(config).context("the terminal cannot be used")?;
    let edit_key = EditKey::default();
    let handler = EventHandler::Conditional(Box::new(edit_key.clone()));
    lines.bind_sequence(KeyEvent::ctrl('G'), handler);
    let file = here.directory.is_dir().then(|| here.directory.join(HISTORY_FILE));
    let mut history = History { file, is_kept: true };
    history.load(&mut lines);
    terminal::line(&format!("{} listens; /? for help, /bye to leave", session.model))?;
    let mut typed = String::new();
    loop {
        let prompt = if session.is_in_block() { "... " } else { ">>> " };
        // Reading blocks; it must not hold up what else runs here.
        let begun = std::mem::take(&mut typed);
        let (back, read) = tokio::task::spawn_blocking(move || {
            let read = lines.readline_with_initial(prompt, (&begun, ""));
            (lines, read)
        })
        .await?;
        lines = back;
        let line = match read {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) if session.is_in_block() => {
                session.drop_block();
                continue;
            }
            Err(ReadlineError::Interrupted) => {
                terminal::line("Write /bye or press Ctrl+D to leave.")?;
                continue;
            }
            Err(ReadlineError::Eof) => return terminal::line(""),
            Err(error) => return Err(error).context("cannot read the terminal"),
        };
        if edit_key.was_pressed() {
            typed = edited(&here.editor, line).await?;
            continue;
        }
        history.add(&mut lines, &line);
        match session.take(&line) {
            Step::Leave => return Ok(()),
            Step::KeepHistory(is_kept) => {
                history.is_kept = is_kept;
                let what = if is_kept { "is" } else { "is not" };
                terminal::line(&format!("What is typed {what} kept."))?;
            }
            step => {
                // What goes wrong ends no conversation.
                if let Err(error) = act(client, &mut session, step).await {
                    terminal::note(&format!("{error:#}"))?;
                }
            }
        }
    }
}

/// The line as the editor left it, or as it was.
async fn edited(editor: &str, line: String) -> Result<String> {
    let editor = editor.to_owned();
    let (line, edited) = tokio::task::spawn_blocking(move || {
        let edited = edit(&editor, &line);
        (line, edited)
    })
    .await?;
    edited.or_else(|error| {
        terminal::note(&format!("{error:#}"))?;
        Ok(line)
    })
}

async fn act(client: &Client, session: &mut Session, step: Step) -> Result<()> {
    match step {
        Step::Nothing | Step::More | Step::Leave | Step::KeepHistory(_) => Ok(()),
        Step::Say(text) => terminal::line(&text),
        Step::Ask => match answer(client, session).await? {
            End::Whole | End::Stopped => Ok(()),
        },
        Step::Show(part) => show(client, session, part).await,
        Step::Load(name) => {
            run_command::about(client, &name).await?;
            session.messages.clear();
            session.model = name;
            terminal::line(&format!("{} listens.", session.model))
        }
        Step::Save(name) => {
            client.call(Method::POST, "/api/create", Some(session.recipe(&name))).await?;
            terminal::line(&format!("Kept as {name}."))
        }
    }
}

async fn show(client: &Client, session: &Session, part: Part) -> Result<()> {
    if let Some(own) = session.own(part) {
        terminal::line("Set in this conversation:")?;
        terminal::line(&own)?;
        terminal::line("")?;
    }
    let body = json!({ "model": session.model });
    let about = client.call(Method::POST, "/api/show", Some(body)).await?;
    terminal::line(&show_part::part(&about, part))
}

impl History {
    fn load(&self, lines: &mut Lines) {
        // A file that cannot be read is one that is not there.
        if let Some(file) = &self.file {
            lines.load_history(file).ok();
        }
    }

    fn add(&self, lines: &mut Lines, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if !self.is_kept {
            return;
        }
        lines.add_history_entry(line).ok();
        if let Some(file) = &self.file {
            // At once, because a terminal may be closed; only for its owner's eyes.
            if let Err(error) = lines.append_history(file) {
                tracing::debug!(%error, "what was typed could not be kept");
            }
        }
    }
}
