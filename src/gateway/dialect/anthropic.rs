//! The Anthropic dialect: `/v1/messages` and `/v1/messages/count_tokens`.
//!
//! [`parse_messages`] turns a body into a [`Call`]; [`Printer`] turns its events into the named
//! events of a stream, [`Collector`] into one message. Fields that are not known are ignored;
//! content that this version cannot read is refused.

mod blocks;
mod collect;
mod content;
mod messages;
mod print;
mod rules;
#[cfg(test)]
mod tests;

pub use collect::Collector;
pub use messages::{parse_count, parse_messages};
pub use print::{Named, Printer};

use serde_json::{Value, json};

use crate::event::{FinishReason, Usage};
use crate::request::{Citation, Family, GenerateRequest, NO_SEAL, Seal};

/// A parsed request body.
#[derive(Clone, Debug)]
pub struct Call {
    pub request: GenerateRequest,
    pub is_streamed: bool,
    /// Fields that change nothing here.
    pub ignored: Vec<String>,
}

/// Facts that an answer repeats.
#[derive(Clone, Debug)]
pub struct Heading {
    /// Such as `msg_…`.
    pub id: String,
    pub model: String,
    /// The request's stop texts, of which one may end the answer.
    pub stop: Vec<String>,
}

impl Heading {
    fn message(&self, content: Value, usage: Value) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model,
            "content": content, "stop_reason": null, "stop_sequence": null, "usage": usage,
        })
    }

    /// `stop_reason` and `stop_sequence`.
    fn ending(&self, reason: Option<FinishReason>) -> (&'static str, Value) {
        match reason {
            Some(FinishReason::StopText(index)) => match self.stop.get(usize::from(index)) {
                Some(stop) => ("stop_sequence", stop.as_str().into()),
                // One of the model's own.
                None => ("end_turn", Value::Null),
            },
            Some(FinishReason::Length) => ("max_tokens", Value::Null),
            Some(FinishReason::ToolCalls) => ("tool_use", Value::Null),
            Some(FinishReason::Filtered(_) | FinishReason::Refusal) => ("refusal", Value::Null),
            Some(FinishReason::Paused) => ("pause_turn", Value::Null),
            Some(FinishReason::Stop | FinishReason::BadCall | FinishReason::Other) | None => {
                ("end_turn", Value::Null)
            }
        }
    }
}

/// A citation as Anthropic has it; others' only if they are of the web.
fn print_citation(citation: &Citation) -> Option<Value> {
    match &citation.raw {
        Some((Family::Anthropic, raw)) => Some(raw.clone()),
        _ => Some(json!({
            "type": "web_search_result_location", "url": citation.url.as_deref()?,
            "title": citation.title, "cited_text": citation.text.as_deref().unwrap_or_default(),
            "encrypted_index": "",
        })),
    }
}

/// What thoughts end with: clients send it back as it is.
fn signature(seal: Option<&Seal>) -> String {
    match seal {
        Some(seal) => seal.carried_by(Family::Anthropic),
        None => NO_SEAL.to_owned(),
    }
}

/// Anthropic counts what was found computed apart from the rest of the prompt.
fn print_usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage
            .prompt_tokens
            .saturating_sub(usage.cached_tokens)
            .saturating_sub(usage.cache_write_tokens),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    })
}
