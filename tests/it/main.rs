//! Stories through the whole program in one process: real router, real database, real weights.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod anthropic;
mod bad_models;
mod engine_stories;
mod ollama;
mod ollama_models;
mod pull;
mod recipes;
mod responses;
mod story;
mod structured;
