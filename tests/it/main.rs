//! Stories through the whole program in one process: real router, real database, real weights.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod anthropic;
mod attacks;
mod bad_models;
mod engine_stories;
mod ollama;
mod ollama_errors;
mod ollama_models;
mod openai;
mod pull;
mod recipes;
mod registry;
mod responses;
mod story;
mod structured;
mod upkeep;
