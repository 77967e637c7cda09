//! Stories through the whole program in one process: real router, real database, real weights.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_models;
mod engine_stories;
mod pull;
mod story;
mod structured;
