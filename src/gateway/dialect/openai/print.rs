//! Prints neutral events as the chunks of a stream.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{CallForm, Heading, StreamOptions, logprobs, thoughts};
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
#[derive(Debug)]
pub struct Printer {
    shape: Shape,
    heading: Heading,
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
        Printer {
            shape,
            heading,
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
            Event::Aside { choice, aside, tokens } => {
                let mut payloads = self.begin(*choice);
                let mut delta = json!({});
                match aside {
                    Aside::Seal(seal) => {
                        payloads.extend(self.unseal(*choice));
                        self.held.insert(*choice, (**seal).clone());
                    }
                    Aside::CallStart { .. } => {
                        delta = print_aside(aside, self.heading.calls);
                        match self.held.remove(choice) {
                            Some(seal) if seal.family == Family::Gemini => {
                                delta["tool_calls"][0]["extra_content"] =
                                    thoughts::print_of_call(&seal);
                            }
                            Some(seal) => {
                                self.held.insert(*choice, seal);
                                payloads.extend(self.unseal(*choice));
                            }
                            None => {}
                        }
                    }
                    aside => {
                        payloads.extend(self.unseal(*choice));
                        delta = print_aside(aside, self.heading.calls);
                    }
                }
                let has_news = delta.as_object().is_some_and(|delta| !delta.is_empty());
                if self.shape == Shape::Chat && has_news {
                    payloads.push(self.delta(*choice, &delta, tokens));
                }
                payloads
            }
            Event::Finished { choice, reason } => {
                let mut payloads = self.begin(*choice);
                payloads.extend(self.unseal(*choice));
                let reason = reason_name(*reason, self.heading.calls);
                let choice = match self.shape {
                    Shape::Chat => json!({
                        "index": choice, "delta": {}, "logprobs": null, "finish_reason": reason,
                    }),
                    Shape::Text => json!({
                        "index": choice, "text": "", "logprobs": null, "finish_reason": reason,
                    }),
                };
                payloads.push(self.chunk(vec![choice], None));
                payloads
            }
            Event::Done(usage) => {
                let mut payloads = Vec::new();
                if self.options.include_usage {
                    payloads.push(self.chunk(Vec::new(), Some(usage)));
                }
                payloads.push("[DONE]".to_owned());
                payloads
            }
        }
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
                let choice = json!({
                    "index": choice,
                    "delta": { "role": "assistant", "content": "" },
                    "logprobs": null,
                    "finish_reason": null,
                });
                vec![self.chunk(vec![choice], None)]
            }
        }
    }

    fn piece(&mut self, choice: u16, text: &str, tokens: &[TokenLogprob]) -> String {
        if self.shape == Shape::Chat {
            return self.delta(choice, &json!({ "content": text }), tokens);
        }
        let logprobs = self.logprobs(choice, tokens);
        let choice = json!({
            "index": choice, "text": text, "logprobs": logprobs, "finish_reason": null,
        });
        self.chunk(vec![choice], None)
    }

    /// A chunk of a chat's choice.
    fn delta(&mut self, choice: u16, delta: &Value, tokens: &[TokenLogprob]) -> String {
        let logprobs = self.logprobs(choice, tokens);
        let choice = json!({
            "index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": null,
        });
        self.chunk(vec![choice], None)
    }

    fn logprobs(&mut self, choice: u16, tokens: &[TokenLogprob]) -> Value {
        let printed = self.begun.entry(choice).or_default();
        match self.has_logprobs {
            true => logprobs::print(self.shape, tokens, printed),
            false => Value::Null,
        }
    }

    fn chunk(&self, choices: Vec<Value>, usage: Option<&Usage>) -> String {
        let object = match self.shape {
            Shape::Chat => "chat.completion.chunk",
            Shape::Text => "text_completion",
        };
        let mut chunk = json!({
            "id": self.heading.id,
            "object": object,
            "created": self.heading.created,
            "model": self.heading.model,
            "choices": choices,
        });
        if self.options.include_usage {
            // Asked for, the field is on every chunk; it is null on all but the last.
            chunk["usage"] = usage.map_or(Value::Null, print_usage);
        }
        if let Some(tier) = self.heading.tier {
            chunk["service_tier"] = tier.name().into();
        }
        chunk.to_string()
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
