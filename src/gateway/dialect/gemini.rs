//! Google's dialect: `/v1beta/models/{model}:generateContent` and its neighbours.
//!
//! [`parse_generate`] turns a body into a [`Call`], [`parse_count`] one that is to be counted;
//! [`Printer`] turns events into the pieces of a stream or one answer. Names of fields may be
//! written as `camelCase` or `snake_case`, as Google itself takes them.

mod content;
mod embed;
mod fields;
mod print;
mod request;
mod rules;
mod schema;
#[cfg(test)]
mod tests;

pub use embed::{EmbedCall, parse_embed, parse_embed_batch};
pub use print::{Heading, Printer};
pub use request::{parse_count, parse_generate};

use crate::request::GenerateRequest;

/// A parsed request body.
#[derive(Clone, Debug)]
pub struct Call {
    pub request: GenerateRequest,
    /// Whether the answer is to tell what the model thinks.
    pub shows_thoughts: bool,
    /// Fields that change nothing here.
    pub ignored: Vec<String>,
}

/// What is asked of a model, by the word behind its name in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Generate,
    Stream,
    Count,
    Embed,
    EmbedBatch,
}

impl Action {
    /// A model's name and what is asked of it: `gemini-2.5-flash:generateContent`.
    pub fn of_path(path: &str) -> Option<(&str, Action)> {
        let (model, word) = path.rsplit_once(':')?;
        let action = match word {
            "generateContent" => Action::Generate,
            "streamGenerateContent" => Action::Stream,
            "countTokens" => Action::Count,
            "embedContent" => Action::Embed,
            "batchEmbedContents" => Action::EmbedBatch,
            _ => return None,
        };
        Some((model, action))
    }
}
