//! Turns a chat into token ids so that nothing a person wrote can become a control token.
//!
//! A template mixes its own control tokens with people's words and returns one text. To tell them
//! apart afterwards, whatever in the words looks like a control token, or could become one together
//! with its neighbours, is replaced by a single private-use character that occurs nowhere else in
//! the chat. After rendering, the characters are put back and the places where they
//! stood are marked: a control token that touches such a place is only letters. All other text is
//! untouched and is cut into tokens as one whole, exactly as without this precaution.

use std::collections::{HashMap, HashSet};
use std::ops::{Range, RangeInclusive};

use crate::error::{Error, Result};
use crate::message::ChatMessage;
use crate::template::{ChatTemplate, RenderInput};
use crate::tokenizer::{MAX_TEXT_BYTES, Tokenizer};

/// Plane 16, a private-use area that no writing system and no vocabulary uses.
const PLACEHOLDERS: RangeInclusive<char> = '\u{100000}'..='\u{10fffd}';
/// Longest role or name, in bytes.
const MAX_LABEL_BYTES: usize = 256;

/// The ids of a chat as the model expects them.
pub fn render_tokens(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    messages: &[ChatMessage],
    add_generation_prompt: bool,
) -> Result<Vec<u32>> {
    check(messages)?;
    let mut disguise = Disguise::new(tokenizer, messages);
    let messages: Vec<ChatMessage> = messages
        .iter()
        .map(|message| {
            Ok(ChatMessage {
                role: message.role.clone(),
                content: disguise.cover(&message.content)?,
                name: message.name.as_deref().map(|name| disguise.cover(name)).transpose()?,
            })
        })
        .collect::<Result<_>>()?;
    let rendered = template.render(&RenderInput {
        messages: &messages,
        add_generation_prompt,
        bos_token: &tokenizer.bos_text(),
        eos_token: &tokenizer.eos_text(),
    })?;
    let (text, places) = disguise.uncover(&rendered);
    let mut ids = Vec::new();
    tokenizer.encode_into(&text, &mut ids, |start, end| !touches(&places, start, end))?;
    Ok(ids)
}

/// Roles come from a closed set and are safe; this holds the callers to it.
fn check(messages: &[ChatMessage]) -> Result<()> {
    let total_bytes: usize = messages.iter().map(|message| message.content.len()).sum();
    if total_bytes > MAX_TEXT_BYTES {
        return Err(Error::TextTooLong { bytes: total_bytes, limit_bytes: MAX_TEXT_BYTES });
    }
    for message in messages {
        let plain = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        if message.role.len() < 2
            || message.role.len() > MAX_LABEL_BYTES
            || !message.role.chars().all(plain)
        {
            return Err(Error::BadMessage("a role must be a lower-case word".into()));
        }
        if message.name.as_ref().is_some_and(|name| name.len() > MAX_LABEL_BYTES) {
            return Err(Error::BadMessage(format!("a name has over {MAX_LABEL_BYTES} bytes")));
        }
    }
    Ok(())
}

/// Swaps dangerous words for placeholders and back.
struct Disguise<'a> {
    tokenizer: &'a Tokenizer,
    /// Placeholder characters that people wrote themselves; never used as ours.
    taken: HashSet<char>,
    /// Characters not yet tried as placeholders.
    unused: RangeInclusive<char>,
    // The two directions of one mapping.
    placeholders: HashMap<String, char>,
    originals: HashMap<char, String>,
}

impl Disguise<'_> {
    fn new<'a>(tokenizer: &'a Tokenizer, messages: &[ChatMessage]) -> Disguise<'a> {
        let texts = messages
            .iter()
            .flat_map(|message| [Some(message.content.as_str()), message.name.as_deref()]);
        let letters = texts.flatten().flat_map(str::chars);
        Disguise {
            tokenizer,
            taken: letters.filter(|letter| PLACEHOLDERS.contains(letter)).collect(),
            unused: PLACEHOLDERS,
            placeholders: HashMap::new(),
            originals: HashMap::new(),
        }
    }

    /// A text of a person, with placeholders for its dangerous parts.
    fn cover(&mut self, text: &str) -> Result<String> {
        let mut covered = String::with_capacity(text.len());
        let mut from = 0;
        for part in self.dangerous(text) {
            covered.push_str(&text[from..part.start]);
            covered.push(self.placeholder(&text[part.clone()])?);
            from = part.end;
        }
        covered.push_str(&text[from..]);
        Ok(covered)
    }

    /// The parts of a text that are control tokens' texts, or could grow into one where the text
    /// meets its neighbours. White space around a text does not protect it: templates trim.
    fn dangerous(&self, text: &str) -> Vec<Range<usize>> {
        let core = text.trim();
        let start = text.len() - text.trim_start().len();
        let end = start + core.len();
        if core.is_empty() {
            return Vec::new();
        }
        if self.tokenizer.control_texts().any(|control| control.contains(core)) {
            return std::iter::once(start..end).collect();
        }
        let head = self.tokenizer.control_texts().map(|control| head_bytes(core, control)).max();
        let tail = self.tokenizer.control_texts().map(|control| tail_bytes(core, control)).max();
        let mut parts = self.tokenizer.control_spans(text);
        parts.extend([start..start + head.unwrap_or(0), end - tail.unwrap_or(0)..end]);
        parts.retain(|part| !part.is_empty());
        parts.sort_by_key(|part| (part.start, part.end));
        parts.into_iter().fold(Vec::new(), |mut merged: Vec<Range<usize>>, part| {
            match merged.last_mut().filter(|last| part.start < last.end) {
                Some(last) => last.end = last.end.max(part.end),
                None => merged.push(part),
            }
            merged
        })
    }

    fn placeholder(&mut self, original: &str) -> Result<char> {
        if let Some(&placeholder) = self.placeholders.get(original) {
            return Ok(placeholder);
        }
        let taken = &self.taken;
        let placeholder = self.unused.find(|letter| !taken.contains(letter)).ok_or_else(|| {
            Error::BadMessage("the messages use up all private-use characters".into())
        })?;
        self.placeholders.insert(original.to_string(), placeholder);
        self.originals.insert(placeholder, original.to_string());
        Ok(placeholder)
    }

    /// The text with all originals back, and the places where they stand, in order.
    fn uncover(&self, rendered: &str) -> (String, Vec<Range<usize>>) {
        let mut text = String::with_capacity(rendered.len());
        let mut places = Vec::new();
        for letter in rendered.chars() {
            let Some(original) = self.originals.get(&letter) else {
                text.push(letter);
                continue;
            };
            let start = text.len();
            text.push_str(original);
            places.push(start..text.len());
        }
        (text, places)
    }
}

/// Bytes at the start of `text` that end `control`, without being all of it.
fn head_bytes(text: &str, control: &str) -> usize {
    let ends = control.char_indices().skip(1).map(|(at, _)| &control[at..]);
    ends.filter(|end| text.starts_with(end)).map(str::len).max().unwrap_or(0)
}

/// Bytes at the end of `text` that begin `control`, without being all of it.
fn tail_bytes(text: &str, control: &str) -> usize {
    let starts = control.char_indices().skip(1).map(|(at, _)| &control[..at]);
    starts.filter(|start| text.ends_with(start)).map(str::len).max().unwrap_or(0)
}

/// Whether `start..end` shares a byte with one of the places, which are in order.
fn touches(places: &[Range<usize>], start: usize, end: usize) -> bool {
    let next = places.partition_point(|place| place.end <= start);
    places.get(next).is_some_and(|place| place.start < end)
}

#[cfg(test)]
mod tests;
