//! Ctrl+G in a conversation: what is being typed goes to an editor and comes back.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use rustyline::{Cmd, ConditionalEventHandler, Event, EventContext, RepeatCount};

use crate::config::Environment;

/// Longest text that comes back, in bytes.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Whether Ctrl+G ended the line. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct EditKey(Arc<AtomicBool>);

impl EditKey {
    /// Whether it did, since the last time that somebody asked.
    pub(crate) fn was_pressed(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl ConditionalEventHandler for EditKey {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        self.0.store(true, Ordering::Relaxed);
        Some(Cmd::AcceptLine)
    }
}

/// The editor of whoever sits here.
pub(crate) fn editor_of(environment: &Environment) -> String {
    let named =
        ["OLLAMA_EDITOR", "VISUAL", "EDITOR"].iter().filter_map(|key| environment.get(*key));
    let named = named.map(String::as_str).find(|editor| !editor.trim().is_empty());
    named.unwrap_or("vi").to_owned()
}

/// What an editor, a command line such as `code --wait`, makes of a text. Blocks until it ends.
pub(crate) fn edit(editor: &str, text: &str) -> Result<String> {
    let doing = "cannot keep the text for the editor";
    // Readable by its owner alone, gone at the end.
    let mut file =
        tempfile::Builder::new().prefix("hearth-").suffix(".txt").tempfile().context(doing)?;
    file.write_all(text.as_bytes()).and_then(|()| file.flush()).context(doing)?;
    let line = format!("{editor} \"$1\"");
    let ended = Command::new("sh").args(["-c", &line, "sh"]).arg(file.path()).status();
    let ended = ended.with_context(|| format!("cannot start {editor}"))?;
    ensure!(ended.success(), "{editor} ended with {ended}; the line is as it was");
    // Many editors write a new file in its place.
    let written = std::fs::File::open(file.path()).context("the editor left no text")?;
    let mut edited = String::new();
    written.take(MAX_TEXT_BYTES + 1).read_to_string(&mut edited).context("this is no text")?;
    ensure!(
        edited.len() as u64 <= MAX_TEXT_BYTES,
        "the text is longer than {MAX_TEXT_BYTES} bytes"
    );
    Ok(edited.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_editor_is_the_one_that_was_chosen() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            editor_of(&pairs.collect())
        };
        assert_eq!(of(&[]), "vi");
        assert_eq!(of(&[("EDITOR", "nano"), ("VISUAL", " ")]), "nano");
        assert_eq!(of(&[("EDITOR", "nano"), ("VISUAL", "code --wait")]), "code --wait");
    }

    #[test]
    fn what_an_editor_writes_comes_back_and_a_failing_one_changes_nothing() {
        assert_eq!(edit("printf 'two\\nlines\\n' >>", "one ").expect("works"), "one two\nlines");
        assert_eq!(edit("true", "as it was").expect("works"), "as it was");
        assert!(edit("false", "x").is_err());
        assert!(edit("rm", "x").is_err());
    }
}
