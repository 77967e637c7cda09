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

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::message::{ChatMessage, ToolCall};
use crate::template::{CallStyle, ChatTemplate, RenderInput};
use crate::tokenizer::{MAX_TEXT_BYTES, Tokenizer};

/// Plane 16, a private-use area that no writing system and no vocabulary uses.
const PLACEHOLDERS: RangeInclusive<char> = '\u{100000}'..='\u{10fffd}';
/// Characters of a prompt's end that are reported.
const ENDING_CHARS: usize = 64;
/// The words that options may be: how much to think. Other texts could hold control tokens.
const OPTION_WORDS: [&str; 4] = ["low", "medium", "high", "max"];
/// Longest role or name, in bytes.
const MAX_LABEL_BYTES: usize = 256;

/// A chat that is to be continued.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chat<'a> {
    pub messages: &'a [ChatMessage],
    /// Descriptions of the tools that the assistant may call, as callers wrote them.
    pub tools: &'a [Value],
    /// What else the template may look at, such as `enable_thinking`.
    pub options: Option<&'a Map<String, Value>>,
    /// Ends with the words after which the assistant speaks.
    pub add_generation_prompt: bool,
}

/// A chat as the model expects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    pub ids: Vec<u32>,
    /// The last characters of its text: some prompts end inside of what the assistant says.
    pub ending: String,
}

/// Words of tools' descriptions that mean the same to every caller.
const SCHEMA_WORDS: [&str; 32] = [
    "additionalProperties",
    "anyOf",
    "array",
    "boolean",
    "const",
    "default",
    "definitions",
    "description",
    "enum",
    "examples",
    "format",
    "function",
    "id",
    "integer",
    "items",
    "maximum",
    "minimum",
    "name",
    "null",
    "number",
    "object",
    "oneOf",
    "parameters",
    "pattern",
    "properties",
    "required",
    "response",
    "return",
    "strict",
    "string",
    "title",
    "type",
];

/// The ids of a chat as the model expects them.
pub fn render_tokens(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    chat: &Chat,
) -> Result<Prompt> {
    check(chat)?;
    let mut disguise = Disguise::new(tokenizer, chat);
    let messages: Vec<ChatMessage> =
        chat.messages.iter().map(|message| disguise.message(message)).collect::<Result<_>>()?;
    let tools: Vec<Value> =
        chat.tools.iter().map(|tool| disguise.value(tool)).collect::<Result<_>>()?;
    let input = RenderInput {
        messages: &messages,
        tools: &tools,
        options: chat.options,
        add_generation_prompt: chat.add_generation_prompt,
        bos_token: &tokenizer.bos_text(),
        eos_token: &tokenizer.eos_text(),
        style: CallStyle::default(),
    };
    let (text, places) = disguise.uncover(&render(template, input)?);
    let ids = encode(template, tokenizer, &text, &places)?;
    let ending = text.char_indices().rev().nth(ENDING_CHARS - 1).map_or(0, |(at, _)| at);
    Ok(Prompt { ids, ending: text[ending..].to_string() })
}

/// The ids of a prompt whose answer stands between two texts; `None` if neither the template nor
/// the vocabulary knows how to ask for one.
pub fn infill_tokens(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    prompt: &str,
    suffix: &str,
) -> Result<Option<Vec<u32>>> {
    let messages = [prompt, suffix].map(|text| ChatMessage::new("user", text));
    let chat = Chat { messages: &messages, ..Chat::default() };
    check(&chat)?;
    if !template.abilities().infill {
        return tokenizer.encode_infill(prompt, suffix).transpose();
    }
    let mut disguise = Disguise::new(tokenizer, &chat);
    let (covered, suffix) = (disguise.cover(prompt)?, disguise.cover(suffix)?);
    let Some(rendered) = template.render_infill(&covered, &suffix) else { return Ok(None) };
    let (text, places) = disguise.uncover(&rendered?);
    encode(template, tokenizer, &text, &places).map(Some)
}

/// The ids of a rendered text whose places in `words` are people's.
fn encode(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    text: &str,
    words: &[Range<usize>],
) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    tokenizer.encode_into(text, &mut ids, |start, end| !touches(words, start, end))?;
    let bos = tokenizer.bos_id().filter(|_| template.is_go() && tokenizer.add_bos());
    if let Some(bos) = bos.filter(|bos| ids.first() != Some(bos)) {
        ids.insert(0, bos);
    }
    Ok(ids)
}

/// Renders with the first form of calls that the template takes, and in which it leaves none out.
fn render(template: &ChatTemplate, input: RenderInput) -> Result<String> {
    let names: Vec<&str> =
        input.messages.iter().flat_map(|m| &m.tool_calls).map(|call| call.name.as_str()).collect();
    if names.is_empty() {
        return template.render(&input);
    }
    let mut fallback = None;
    for style in CallStyle::ALL {
        match template.render(&RenderInput { style, ..input }) {
            Ok(text) if names.iter().all(|name| text.contains(name)) => return Ok(text),
            other @ (Ok(_) | Err(Error::TemplateRefused(_))) => {
                if fallback.as_ref().is_none_or(Result::is_err) {
                    fallback = Some(other);
                }
            }
            Err(problem) => return Err(problem),
        }
    }
    fallback.unwrap_or(Err(Error::TemplateLimit))
}

/// Roles come from a closed set and are safe; this holds the callers to it.
fn check(chat: &Chat) -> Result<()> {
    let words: usize = chat.messages.iter().flat_map(ChatMessage::texts).map(str::len).sum();
    let mut total_bytes = words;
    for tool in chat.tools {
        each_text(tool, &mut |text| total_bytes += text.len());
    }
    if total_bytes > MAX_TEXT_BYTES {
        return Err(Error::TextTooLong { bytes: total_bytes, limit_bytes: MAX_TEXT_BYTES });
    }
    let plain = |value: &Value| {
        let is_word = value.as_str().is_some_and(|word| OPTION_WORDS.contains(&word));
        value.is_boolean() || value.is_number() || is_word
    };
    if chat.options.is_some_and(|options| !options.values().all(plain)) {
        let problem = "an option of the template must be true, false, a number or an effort";
        return Err(Error::BadMessage(problem.into()));
    }
    for message in chat.messages {
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
    fn new<'a>(tokenizer: &'a Tokenizer, chat: &Chat) -> Disguise<'a> {
        let mut taken = HashSet::new();
        let mut note = |text: &str| {
            taken.extend(text.chars().filter(|letter| PLACEHOLDERS.contains(letter)));
        };
        chat.messages.iter().flat_map(ChatMessage::texts).for_each(&mut note);
        chat.tools.iter().for_each(|tool| each_text(tool, &mut note));
        Disguise {
            tokenizer,
            taken,
            unused: PLACEHOLDERS,
            placeholders: HashMap::new(),
            originals: HashMap::new(),
        }
    }

    fn message(&mut self, message: &ChatMessage) -> Result<ChatMessage> {
        let mut cover =
            |text: &Option<String>| text.as_deref().map(|text| self.cover(text)).transpose();
        let content = cover(&message.content)?;
        let name = cover(&message.name)?;
        let reasoning = cover(&message.reasoning)?;
        let tool_call_id = cover(&message.tool_call_id)?;
        let calls = message.tool_calls.iter().map(|call| {
            Ok(ToolCall {
                id: self.cover(&call.id)?,
                name: self.cover(&call.name)?,
                arguments: self.arguments(&call.arguments)?,
            })
        });
        let tool_calls = calls.collect::<Result<_>>()?;
        let role = message.role.clone();
        Ok(ChatMessage { role, content, name, reasoning, tool_calls, tool_call_id })
    }

    /// Arguments are covered text by text, so that they stay the JSON that they are.
    fn arguments(&mut self, arguments: &str) -> Result<String> {
        match serde_json::from_str::<Value>(arguments) {
            Ok(value @ Value::Object(_)) => Ok(self.value(&value)?.to_string()),
            _ => self.cover(arguments),
        }
    }

    /// A JSON value with all its texts covered, but the words that its kind of JSON is made of:
    /// templates look for those.
    fn value(&mut self, value: &Value) -> Result<Value> {
        Ok(match value {
            Value::String(text) => Value::String(self.word(text)?),
            Value::Array(list) => {
                Value::Array(list.iter().map(|value| self.value(value)).collect::<Result<_>>()?)
            }
            Value::Object(members) => {
                let members = members
                    .iter()
                    .map(|(key, value)| Ok((self.word(key)?, self.value(value)?)))
                    .collect::<Result<_>>()?;
                Value::Object(members)
            }
            other => other.clone(),
        })
    }

    fn word(&mut self, text: &str) -> Result<String> {
        if SCHEMA_WORDS.contains(&text) { Ok(text.to_string()) } else { self.cover(text) }
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

/// Calls `visit` with every text in a JSON value, keys too.
fn each_text(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(list) => list.iter().for_each(|value| each_text(value, visit)),
        Value::Object(members) => {
            for (key, value) in members {
                visit(key);
                each_text(value, visit);
            }
        }
        _ => {}
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
