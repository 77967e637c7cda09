//! Turns generated ids into text, one at a time, without ever cutting a character in two.

use std::sync::Arc;

use crate::tokenizer::Tokenizer;

/// Holds the bytes of a character whose rest has not come yet.
#[derive(Clone, Debug)]
pub struct Detokenizer {
    /// Never a whole character: at most three bytes.
    pending: Vec<u8>,
    /// The next text token is the first of a sentencepiece text, whose leading space is not real.
    at_start: bool,
    /// Control tokens whose text counts.
    shown: Arc<[u32]>,
}

impl Detokenizer {
    /// For text from its beginning. Sentencepiece models put a space before the first word that
    /// the writer never typed; it is dropped.
    pub fn new() -> Detokenizer {
        Detokenizer { pending: Vec::new(), at_start: true, shown: Arc::default() }
    }

    /// For text that goes on after a prompt: a leading space is real and is kept.
    pub fn continuing() -> Detokenizer {
        Detokenizer { at_start: false, ..Detokenizer::new() }
    }

    /// The same, with the texts of these control tokens.
    pub fn showing(self, controls: Arc<[u32]>) -> Detokenizer {
        Detokenizer { shown: controls, ..self }
    }

    /// The text that this id completes; empty for control tokens and for parts of a character.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        if tokenizer.is_control(id) && !self.shown.contains(&id) {
            return String::new();
        }
        let mut bytes = tokenizer.token_bytes(id);
        if self.at_start && !bytes.is_empty() {
            self.at_start = false;
            if tokenizer.prefixes_space() {
                bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
            }
        }
        self.pending.extend_from_slice(bytes);
        self.take_complete()
    }

    /// What is left when no id follows: an unfinished character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }

    /// Everything before a last, unfinished character; bytes that can never become one turn into
    /// U+FFFD at once.
    fn take_complete(&mut self) -> String {
        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(whole) => {
                    text.push_str(whole);
                    rest = &[];
                    break;
                }
                Err(problem) => {
                    let (whole, after) = rest.split_at(problem.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(whole));
                    rest = after;
                    let Some(bad) = problem.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[bad..];
                }
            }
        }
        self.pending = rest.to_vec();
        text
    }
}

impl Default for Detokenizer {
    fn default() -> Detokenizer {
        Detokenizer::new()
    }
}

/// The text of a whole list of ids, from its beginning.
pub fn decode(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut detokenizer = Detokenizer::new();
    let mut text: String = ids.iter().map(|&id| detokenizer.push(tokenizer, id)).collect();
    text.push_str(&detokenizer.finish());
    text
}

#[cfg(test)]
mod tests;
