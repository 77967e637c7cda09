//! The dialect of OpenAI's newer route, `/v1/responses`.
//!
//! [`parse_response`] turns a body into a [`Call`]; [`Printer`] turns its events into typed events,
//! the last of which is always `response.completed`, `response.incomplete` or `response.failed`.
//! Nothing is stored: each call brings its whole conversation.

mod input;
mod output;
mod print;
mod request;
mod rules;
#[cfg(test)]
mod tests;

pub use print::{Named, Printer};
pub use request::parse_response;

use serde_json::{Map, Value};

use crate::request::GenerateRequest;

/// A parsed request body.
#[derive(Clone, Debug)]
pub struct Call {
    pub request: GenerateRequest,
    pub is_streamed: bool,
    /// Fields that the answer repeats.
    pub echoed: Map<String, Value>,
    /// Fields that change nothing here.
    pub ignored: Vec<String>,
}

/// Facts that an answer repeats.
#[derive(Clone, Debug)]
pub struct Heading {
    /// Such as `resp_…`.
    pub id: String,
    pub model: String,
    /// Unix seconds.
    pub created: i64,
    pub echoed: Map<String, Value>,
}
