//! HTTP in, HTTP out.
//!
//! The root package builds an [`AppState`] from the rooms and hands it to [`serve`], or takes
//! [`router`] and calls it inside the process. A handler extracts, asks one room and shapes the
//! answer; it decides nothing that another way in would have to decide again.

mod accounts;
mod address;
mod alerts;
mod anthropic;
mod billing;
mod body;
mod cache;
mod channels;
mod chats;
mod config;
mod doctor;
mod edge;
mod error;
mod gemini;
mod guard;
mod guards;
mod host;
mod listener;
mod metrics;
mod models;
mod ndjson;
mod notes;
mod ollama;
mod openai;
mod openapi;
mod ops;
mod passage;
mod quota;
mod rate_headers;
mod responses;
mod revocable;
mod routes;
mod running;
mod shelf;
mod sse;
mod state;
#[cfg(test)]
mod tests;
mod usage;
mod web;

pub use config::ServerConfig;
pub use listener::serve;
pub use models::Judge;
pub use routes::{Access, Route, list, router};
pub use state::{AppState, Fit, Gpu, MachineFacts, Rooms, Verdict};
