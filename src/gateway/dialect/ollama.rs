//! The Ollama dialect: `/api/chat`, `/api/generate`, `/api/embed` and `/api/embeddings`.
//!
//! [`parse_chat`] and [`parse_generate`] turn a body into a [`Call`]; [`Printer`] turns its events
//! into lines or one answer. Fields and options that are not known are ignored, as Ollama does;
//! options that Hearth has no use for are named in [`Call::ignored`], so that the answer can say so.

mod duration;
mod embed;
mod generate;
mod messages;
mod options;
mod print;
mod shared;
#[cfg(test)]
mod tests;

pub use embed::{EmbedCall, parse_embed, parse_embeddings};
pub use generate::{parse_chat, parse_generate};
pub use options::{ModelOptions, check_parameters};
pub use print::{Printer, Timing};

use crate::request::GenerateRequest;

/// A parsed request body.
#[derive(Clone, Debug)]
pub struct Call {
    /// The model's name, as the caller wrote it; never empty.
    pub model: String,
    pub task: Task,
    /// Which of the two routes it came by.
    pub shape: Shape,
    /// Whether the answer is a stream of lines.
    pub is_streamed: bool,
    pub keep_alive: Option<KeepAlive>,
    /// Options that change nothing here.
    pub ignored: Vec<String>,
}

/// What a call asks for.
#[derive(Clone, Debug)]
pub enum Task {
    Generate(Box<GenerateRequest>),
    /// Nothing but the prompt, as text.
    Render(Box<GenerateRequest>),
    /// Nothing but that the model be ready, or gone if `keep_alive` is zero.
    Load,
}

/// The route that an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `/api/chat`
    Chat,
    /// `/api/generate`
    Generate,
}

pub use crate::backend::KeepAlive;

/// A model's name with all its parts, as Ollama's errors have it.
pub fn full_name(model: &str) -> String {
    let (path, tag) = match model.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (model, "latest"),
    };
    match path.matches('/').count() {
        0 => format!("registry.ollama.ai/library/{path}:{tag}"),
        1 => format!("registry.ollama.ai/{path}:{tag}"),
        _ => format!("{path}:{tag}"),
    }
}

/// A model's name with its tag, as lists have it.
pub fn tagged_name(model: &str) -> String {
    match model.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => model.to_owned(),
        _ => format!("{model}:latest"),
    }
}
