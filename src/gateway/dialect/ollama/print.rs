//! Prints neutral events as lines of a stream, or as one answer.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Shape;
use crate::dialect::tools::shown_id;
use crate::event::{Aside, Event, FinishReason, TokenLogprob, Usage};
use crate::request::ToolCall;

/// Turns the events of one call into objects; each object is a line, or all become one.
#[derive(Debug)]
pub struct Printer {
    shape: Shape,
    model: String,
    has_logprobs: bool,
    /// Calls that are being written; told when they are whole.
    calls: Vec<ToolCall>,
    told_calls: usize,
    reason: Option<FinishReason>,
    context: Option<Vec<u32>>,
}

/// When something was said, and how long the call has taken.
#[derive(Clone, Debug)]
pub struct Timing {
    /// RFC 3339, in UTC.
    pub created_at: String,
    pub since_start: Duration,
}

/// A piece of an answer.
#[derive(Debug, Default)]
struct Piece {
    text: String,
    thinking: String,
    calls: Vec<Value>,
    logprobs: Vec<Value>,
}

impl Printer {
    /// A printer for one answer; `model` as the caller wrote it.
    pub fn new(shape: Shape, model: String, has_logprobs: bool) -> Printer {
        let (calls, reason, context) = (Vec::new(), None, None);
        Printer { shape, model, has_logprobs, calls, told_calls: 0, reason, context }
    }

    /// The objects that this event adds to a stream; the last one has `done: true`.
    pub fn objects(&mut self, event: Event, timing: &Timing) -> Vec<Value> {
        let done = match &event {
            Event::Done(usage) => Some(*usage),
            _ => None,
        };
        let mut objects = Vec::new();
        let piece = self.take(event);
        if piece.has_news() {
            objects.push(self.object(&piece, timing, false));
        }
        if let Some(usage) = done {
            objects.push(self.last(Piece::default(), &usage, timing));
        }
        objects
    }

    /// The whole answer, from all its events.
    pub fn answer(mut self, events: Vec<Event>, timing: &Timing) -> Value {
        let mut whole = Piece::default();
        let mut usage = Usage::default();
        for event in events {
            if let Event::Done(used) = &event {
                usage = *used;
            }
            let piece = self.take(event);
            whole.text.push_str(&piece.text);
            whole.thinking.push_str(&piece.thinking);
            whole.calls.extend(piece.calls);
            whole.logprobs.extend(piece.logprobs);
        }
        self.last(whole, &usage, timing)
    }

    /// The answer to a call that only loads or unloads.
    pub fn loaded(&self, reason: &str, timing: &Timing) -> Value {
        let mut object = self.object(&Piece::default(), timing, true);
        object["done_reason"] = reason.into();
        object
    }

    /// The end of a stream that broke off: clients that look for an error find it, and those that
    /// wait for the end too.
    pub fn failed(&self, error: &str, timing: &Timing) -> Value {
        let mut object = self.object(&Piece::default(), timing, true);
        object["done_reason"] = "error".into();
        object["error"] = error.into();
        object
    }

    fn take(&mut self, event: Event) -> Piece {
        let mut piece = Piece::default();
        match event {
            Event::Started { .. } => {}
            Event::Text { text, tokens, .. } => {
                piece.text = text;
                piece.logprobs = self.logprobs(&tokens);
            }
            Event::Aside { aside, tokens, .. } => {
                piece.logprobs = self.logprobs(&tokens);
                match aside {
                    Aside::Reasoning(text) => piece.thinking = text,
                    Aside::Refusal(text) => piece.text = text,
                    // This dialect has no place for them.
                    Aside::Seal(_) | Aside::Citation(_) | Aside::Break | Aside::Foreign(_) => {}
                    Aside::CallStart { id, name, .. } => {
                        piece.calls = self.whole_calls();
                        self.calls.push(ToolCall { id, name, arguments: String::new() });
                    }
                    Aside::CallArguments { index, text } => {
                        if let Some(call) = self.calls.get_mut(index as usize) {
                            call.arguments.push_str(&text);
                        }
                    }
                }
            }
            Event::Context { tokens } => self.context = Some(tokens),
            Event::Finished { reason, .. } => {
                self.reason = Some(reason);
                piece.calls = self.whole_calls();
            }
            Event::Served { .. } | Event::Done(_) => {}
        }
        piece
    }

    /// The calls that were not told yet. One that the limit on tokens has cut off in its
    /// arguments cannot be made, and `done_reason` says so.
    fn whole_calls(&mut self) -> Vec<Value> {
        let first = self.told_calls;
        self.told_calls = self.calls.len();
        let calls = self.calls[first..].iter().enumerate();
        let print = |(at, call): (usize, &ToolCall)| {
            let arguments: Map<String, Value> = match call.arguments.trim() {
                "" => Map::new(),
                text => serde_json::from_str(text).ok()?,
            };
            let index = first + at;
            let function = json!({ "index": index, "name": call.name, "arguments": arguments });
            Some(json!({ "id": shown_id("call_", &call.id), "function": function }))
        };
        calls.filter_map(print).collect()
    }

    fn logprobs(&self, tokens: &[TokenLogprob]) -> Vec<Value> {
        if !self.has_logprobs {
            return Vec::new();
        }
        let one = |text: &str, bytes: &[u8], logprob: f32| {
            // JSON has no infinity.
            let logprob = if logprob.is_finite() { logprob } else { -9999.0 };
            json!({ "token": text, "logprob": logprob, "bytes": bytes })
        };
        let print = |token: &TokenLogprob| {
            let mut printed = one(&token.text, &token.bytes, token.logprob);
            if !token.top.is_empty() {
                let top = token.top.iter();
                printed["top_logprobs"] =
                    top.map(|(_, text, bytes, logprob)| one(text, bytes, *logprob)).collect();
            }
            printed
        };
        tokens.iter().map(print).collect()
    }

    fn object(&self, piece: &Piece, timing: &Timing, is_done: bool) -> Value {
        let mut object = json!({ "model": self.model, "created_at": timing.created_at });
        match self.shape {
            Shape::Chat => {
                let mut message = json!({ "role": "assistant", "content": piece.text });
                if !piece.thinking.is_empty() {
                    message["thinking"] = piece.thinking.as_str().into();
                }
                if !piece.calls.is_empty() {
                    message["tool_calls"] = piece.calls.clone().into();
                }
                object["message"] = message;
            }
            Shape::Generate => {
                object["response"] = piece.text.as_str().into();
                if !piece.thinking.is_empty() {
                    object["thinking"] = piece.thinking.as_str().into();
                }
            }
        }
        if !piece.logprobs.is_empty() {
            object["logprobs"] = piece.logprobs.clone().into();
        }
        object["done"] = is_done.into();
        object
    }

    fn last(&mut self, piece: Piece, usage: &Usage, timing: &Timing) -> Value {
        let mut object = self.object(&piece, timing, true);
        object["done_reason"] = match self.reason {
            Some(FinishReason::Length) => "length",
            _ => "stop",
        }
        .into();
        if let Some(context) = self.context.take() {
            object["context"] = context.into();
        }
        object["total_duration"] = nanos(timing.since_start).into();
        object["load_duration"] = usage.load_ns.into();
        object["prompt_eval_count"] = usage.prompt_tokens.into();
        object["prompt_eval_duration"] = usage.prompt_ns.into();
        object["eval_count"] = usage.completion_tokens.into();
        object["eval_duration"] = usage.answer_ns.into();
        if usage.dropped_tokens > 0 {
            object["truncated"] = true.into();
            object["prompt_tokens_dropped"] = usage.dropped_tokens.into();
        }
        object
    }
}

impl Piece {
    fn has_news(&self) -> bool {
        !(self.text.is_empty()
            && self.thinking.is_empty()
            && self.calls.is_empty()
            && self.logprobs.is_empty())
    }
}

/// Whole nanoseconds.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
