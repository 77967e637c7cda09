//! The OpenAI dialect: `/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`; with
//! `/v1/rerank`, which OpenAI does not have, in the shape of Jina and Cohere.
//!
//! [`parse_chat`] and [`parse_completion`] turn a body into a [`Call`]; [`Printer`] turns its
//! events into the chunks of a stream, [`Collector`] into one answer. Fields that are not known
//! are ignored, because clients send extras; a known field with a wrong value is refused by name.
//! What this version cannot do is refused, or, where an answer without it is still an answer, named
//! in [`Call::ignored`].

mod chat;
mod collect;
mod completion;
mod embeddings;
mod fields;
mod functions;
mod logprobs;
mod message;
mod parts;
mod passage;
mod print;
mod rerank;
mod rules;
mod thoughts;

pub use chat::parse_chat;
pub use collect::Collector;
pub use completion::parse_completion;
pub use embeddings::{EmbeddingCall, parse_embeddings};
pub use passage::{parse_form, parse_passage};
pub use print::{Printer, Shape};
pub use rerank::{RerankCall, parse_rerank};
pub(crate) use thoughts::print as print_detail;

use crate::request::{GenerateRequest, Priority};

/// A parsed request body.
#[derive(Clone, Debug)]
pub struct Call {
    /// One per prompt; a chat has exactly one. Never empty; all have the same model and choices.
    pub requests: Vec<GenerateRequest>,
    /// `Some`: the answer is a stream of chunks.
    pub stream: Option<StreamOptions>,
    /// The tier that serves it, if the body asked for one.
    pub tier: Option<Tier>,
    /// How calls of tools are told.
    pub calls: CallForm,
    /// Fields that change nothing here.
    pub ignored: Vec<String>,
}

/// The form in which an answer tells what the model calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallForm {
    /// `tool_calls`
    #[default]
    Tools,
    /// `function_call`, the older form: one call.
    Function,
}

/// What `service_tier` comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    Default,
    /// Later, when there is room.
    Flex,
}

impl Tier {
    fn name(self) -> &'static str {
        match self {
            Tier::Default => "default",
            Tier::Flex => "flex",
        }
    }

    fn priority(self) -> Priority {
        match self {
            Tier::Default => Priority::Default,
            Tier::Flex => Priority::Background,
        }
    }
}

/// How a stream is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// Whether a last chunk reports the token counts.
    pub include_usage: bool,
}

/// Facts that every chunk of one answer repeats.
#[derive(Clone, Debug)]
pub struct Heading {
    /// Such as `chatcmpl-…` or `cmpl-…`.
    pub id: String,
    pub model: String,
    /// Unix seconds.
    pub created: i64,
    /// Named only if the body asked for one.
    pub tier: Option<Tier>,
    pub calls: CallForm,
}

#[cfg(test)]
mod tests;
