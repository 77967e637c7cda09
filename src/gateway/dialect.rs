//! Wire formats: each parses into the neutral request and prints the neutral events.
//!
//! No dialect knows another one.

pub mod anthropic;
mod fields;
pub mod gemini;
mod media;
pub mod ollama;
pub mod openai;
pub mod responses;
mod tools;
