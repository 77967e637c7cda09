//! Prints neutral events as the chunks of a stream.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::{CallForm, Heading, StreamOptions, Tier, logprobs, thoughts};
use crate::event::{Aside, Event, FinishReason, TokenLogprob, Usage};
use crate::request::{Citation, Family, Seal};

/// Which of the two routes an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Text,
}

/// Turns events into the `data:` payloads of server-sent events, the last one `[DONE]`.
///
/// Texts are written straight into their chunk, without a tree of values: of a stream almost all
/// chunks are that, and thousands of them a second.
#[derive(Debug)]
pub struct Printer {
    shape: Shape,
    calls: CallForm,
    /// What every chunk begins with, up to its choices.
    head: String,
    /// The fields behind the choices, where none has a number to tell.
    tail: String,
    tier: Option<Tier>,
    options: StreamOptions,
    /// Whether the caller asked for log probabilities.
    has_logprobs: bool,
    /// Choices that have begun → characters printed so far.
    begun: HashMap<u16, usize>,
    /// Seals that wait for what they are of: a call carries its own.
    held: HashMap<u16, Seal>,
}

impl Printer {
    /// A printer for one answer.
    pub fn new(shape: Shape, heading: Heading, options: StreamOptions, has_logprobs: bool) -> Self {
        let tier = heading.tier;
        Printer {
            shape,
            calls: heading.calls,
            head: head(shape, &heading),
            tail: tail(options.include_usage.then_some(Value::Null), tier),
            tier,
            options,
            has_logprobs,
            begun: HashMap::new(),
            held: HashMap::new(),
        }
    }

    /// The payloads that this event adds to the stream.
    pub fn payloads(&mut self, event: &Event) -> Vec<String> {
        match event {
            Event::Served { .. } | Event::Started { .. } | Event::Context { .. } => Vec::new(),
            Event::Text { choice, text, tokens } => {
                let mut payloads = self.begin(*choice);
                payloads.extend(self.unseal(*choice));
                payloads.push(self.piece(*choice, text, tokens));
                payloads
            }
            Event::Aside { choice, aside, tokens } => self.aside(*choice, aside, tokens),
            Event::Finished { choice, reason } => {
                let mut payloads = self.begin(*choice);
                payloads.extend(self.unseal(*choice));
                let reason = reason_name(*reason, self.calls);
                let said = match self.shape {
                    Shape::Chat => r#""delta":{}"#,
                    Shape::Text => r#""text":"""#,
                };
                payloads.push(self.chunk(&format!(
                    r#"{{"index":{choice},{said},"logprobs":null,"finish_reason":"{reason}"}}"#
                )));
                payloads
            }
            Event::Done(usage) => {
                let mut payloads = Vec::new();
                if self.options.include_usage {
                    let tail = tail(Some(print_usage(usage)), self.tier);
                    payloads.push(format!("{}{tail}", self.head));
                }
                payloads.push("[DONE]".to_owned());
                payloads
            }
        }
    }

    fn aside(&mut self, choice: u16, aside: &Aside, tokens: &[TokenLogprob]) -> Vec<String> {
        let mut payloads = self.begin(choice);
        if let Aside::Reasoning(text) = aside
            && self.shape == Shape::Chat
            && !self.has_logprobs
        {
            payloads.extend(self.unseal(choice));
            payloads.push(self.text_delta(choice, "reasoning_content", text));
            return payloads;
        }
        let mut delta = json!({});
        match aside {
            Aside::Seal(seal) => {
                payloads.extend(self.unseal(choice));
                self.held.insert(choice, (**seal).clone());
            }
            Aside::CallStart { .. } => {
                delta = print_aside(aside, self.calls);
                match self.held.remove(&choice) {
                    Some(seal) if seal.family == Family::Gemini => {
                        delta["tool_calls"][0]["extra_content"] = thoughts::print_of_call(&seal);
                    }
                    Some(seal) => {
                        self.held.insert(choice, seal);
                        payloads.extend(self.unseal(choice));
                    }
                    None => {}
                }
            }
            aside => {
                payloads.extend(self.unseal(choice));
                delta = print_aside(aside, self.calls);
            }
        }
        let has_news = delta.as_object().is_some_and(|delta| !delta.is_empty());
        if self.shape == Shape::Chat && has_news {
            payloads.push(self.delta(choice, &delta, tokens));
        }
        payloads
    }

    /// Tells a seal that is not of a call.
    fn unseal(&mut self, choice: u16) -> Option<String> {
        let seal = self.held.remove(&choice).filter(|_| self.shape == Shape::Chat)?;
        let delta = json!({ "reasoning_details": [thoughts::print(&seal, "", 0)] });
        Some(self.delta(choice, &delta, &[]))
    }

    /// A chat choice begins with a chunk that names the role.
    fn begin(&mut self, choice: u16) -> Vec<String> {
        if self.begun.contains_key(&choice) {
            return Vec::new();
        }
        self.begun.insert(choice, 0);
        match self.shape {
            Shape::Text => Vec::new(),
            Shape::Chat => {
                let delta = r#""delta":{"role":"assistant","content":""}"#;
                vec![self.chunk(&format!(
                    r#"{{"index":{choice},{delta},"logprobs":null,"finish_reason":null}}"#
                ))]
            }
        }
    }

    fn piece(&mut self, choice: u16, text: &str, tokens: &[TokenLogprob]) -> String {
        match (self.shape, self.has_logprobs) {
            (Shape::Chat, false) => self.text_delta(choice, "content", text),
            (Shape::Chat, true) => self.delta(choice, &json!({ "content": text }), tokens),
            (Shape::Text, _) => {
                let logprobs = self.logprobs(choice, tokens);
                let mut said = format!(r#"{{"index":{choice},"text":"#);
                push_text(&mut said, text);
                self.chunk(&format!(r#"{said},"logprobs":{logprobs},"finish_reason":null}}"#))
            }
        }
    }

    /// A chunk of a chat's choice that adds to one text.
    fn text_delta(&self, choice: u16, name: &str, text: &str) -> String {
        // Letters that need no escape take their own room; the rest grows by itself.
        let room = self.head.len() + self.tail.len() + name.len() + text.len() + 80;
        let mut chunk = String::with_capacity(room);
        chunk.push_str(&self.head);
        // Writing into a string cannot fail.
        let _ = write!(chunk, r#"{{"index":{choice},"delta":{{"{name}":"#);
        push_text(&mut chunk, text);
        chunk.push_str(r#"},"logprobs":null,"finish_reason":null}"#);
        chunk.push_str(&self.tail);
        chunk
    }

    /// A chunk of a chat's choice.
    fn delta(&mut self, choice: u16, delta: &Value, tokens: &[TokenLogprob]) -> String {
        let logprobs = self.logprobs(choice, tokens);
        self.chunk(&format!(
            r#"{{"index":{choice},"delta":{delta},"logprobs":{logprobs},"finish_reason":null}}"#
        ))
    }

    fn logprobs(&mut self, choice: u16, tokens: &[TokenLogprob]) -> Value {
        let printed = self.begun.entry(choice).or_default();
        match self.has_logprobs {
            true => logprobs::print(self.shape, tokens, printed),
            false => Value::Null,
        }
    }

    /// A chunk with this choice.
    fn chunk(&self, choice: &str) -> String {
        [self.head.as_str(), choice, self.tail.as_str()].concat()
    }
}

/// A chunk up to its choices.
fn head(shape: Shape, heading: &Heading) -> String {
    let object = match shape {
        Shape::Chat => "chat.completion.chunk",
        Shape::Text => "text_completion",
    };
    let mut head = r#"{"id":"#.to_owned();
    push_text(&mut head, &heading.id);
    let _ = write!(head, r#","object":"{object}","created":{},"model":"#, heading.created);
    push_text(&mut head, &heading.model);
    head.push_str(r#","choices":["#);
    head
}

/// A chunk behind its choices. Asked for, the usage is on every chunk; it is null on all but the
/// last.
fn tail(usage: Option<Value>, tier: Option<Tier>) -> String {
    let mut tail = "]".to_owned();
    if let Some(usage) = usage {
        let _ = write!(tail, r#","usage":{usage}"#);
    }
    if let Some(tier) = tier {
        let _ = write!(tail, r#","service_tier":"{}""#, tier.name());
    }
    tail.push('}');
    tail
}

/// Appends a text as JSON.
fn push_text(to: &mut String, text: &str) {
    let needs_escape = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if text.bytes().any(needs_escape) {
        to.push_str(&Value::from(text).to_string());
    } else {
        to.push('"');
        to.push_str(text);
        to.push('"');
    }
}

/// The `usage` object.
pub(super) fn print_usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens),
        "prompt_tokens_details": { "cached_tokens": usage.cached_tokens },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
    })
}

/// The `delta` of what a choice thinks or calls.
fn print_aside(aside: &Aside, calls: CallForm) -> Value {
    match (aside, calls) {
        (Aside::Reasoning(text), _) => json!({ "reasoning_content": text }),
        // Told with what comes next.
        (Aside::Seal(_), _) => json!({}),
        (Aside::Break, _) => json!({}),
        (Aside::Refusal(text), _) => json!({ "refusal": text }),
        (Aside::Citation(citation), _) => {
            json!({ "annotations": print_citation(citation).into_iter().collect::<Vec<_>>() })
        }
        (Aside::Foreign(foreign), _) => match foreign.family {
            Family::OpenAi => foreign.value.clone(),
            _ => json!({}),
        },
        (Aside::CallStart { name, .. }, CallForm::Function) => {
            json!({ "function_call": { "name": name, "arguments": "" } })
        }
        (Aside::CallArguments { text, .. }, CallForm::Function) => {
            json!({ "function_call": { "arguments": text } })
        }
        (Aside::CallStart { index, id, name }, CallForm::Tools) => json!({ "tool_calls": [{
            "index": index, "id": id, "type": "function",
            "function": { "name": name, "arguments": "" },
        }] }),
        (Aside::CallArguments { index, text }, CallForm::Tools) => json!({ "tool_calls": [{
            "index": index, "function": { "arguments": text },
        }] }),
    }
}

/// An entry of `annotations`; only what is on the web has one.
pub(super) fn print_citation(citation: &Citation) -> Option<Value> {
    if let Some((Family::OpenAi, raw)) = &citation.raw {
        return Some(raw.clone());
    }
    let (start, end) = citation.span.unwrap_or_default();
    let title = citation.title.as_deref().unwrap_or_default();
    let url = citation.url.as_deref()?;
    Some(json!({ "type": "url_citation", "url_citation": {
        "start_index": start, "end_index": end, "url": url, "title": title,
    } }))
}

/// `finish_reason`.
pub(super) fn reason_name(reason: FinishReason, calls: CallForm) -> &'static str {
    match (reason, calls) {
        (FinishReason::Filtered(_) | FinishReason::Refusal, _) => "content_filter",
        (
            FinishReason::Stop
            | FinishReason::StopText(_)
            | FinishReason::Paused
            | FinishReason::BadCall
            | FinishReason::Other,
            _,
        ) => "stop",
        (FinishReason::Length, _) => "length",
        (FinishReason::ToolCalls, CallForm::Tools) => "tool_calls",
        (FinishReason::ToolCalls, CallForm::Function) => "function_call",
    }
}
