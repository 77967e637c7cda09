//! The Ollama dialect: `/api/…`, and `/` for clients that look whether a server is there. The wire
//! format of answers is the gateway's; lists and facts of models are printed here.

mod answer;
mod blobs;
mod catalog;
mod create;
mod embed;
mod fold;
mod library;
mod pull;
mod push;
mod show;

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use hearth_hub::{Digest, Entry};
use serde::Serialize;
use serde_json::{Value, json};

use crate::web;

pub(crate) use answer::{chat, generate};
pub(crate) use blobs::{has_blob, send_blob};
pub(crate) use catalog::{running, tags};
pub(crate) use create::create;
pub(crate) use embed::{embed, embeddings};
pub(crate) use library::{copy, delete};
pub(crate) use pull::pull;
pub(crate) use push::push;
pub(crate) use show::show;

/// The version of Ollama whose API this is; clients choose by it what they use.
const API_VERSION: &str = "0.33.0";

/// The web app for browsers, a sign of life for everybody else.
pub(crate) async fn root(request: Request) -> Response {
    let accepts = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let is_browser = accepts.is_some_and(|kinds| kinds.contains("text/html"));
    let page = if is_browser { web::serve(&request) } else { None };
    let mut response = page.unwrap_or_else(|| "Ollama is running".into_response());
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    response
}

pub(crate) async fn version() -> axum::Json<Value> {
    axum::Json(json!({ "version": API_VERSION, "hearth": env!("CARGO_PKG_VERSION") }))
}

/// Whether models of Ollama's cloud are on offer: never.
pub(crate) async fn status() -> axum::Json<Value> {
    axum::Json(json!({ "cloud": { "disabled": true, "source": "config" } }))
}

/// The part of a digest by which people are shown a file.
fn short(digest: &Digest) -> String {
    digest.hex().chars().take(12).collect()
}

/// Now, as every answer tells it.
fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Unix seconds, as lists tell them.
fn time_of(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

/// `details`, as lists and descriptions have it.
#[derive(Serialize)]
struct Details<'a> {
    parent_model: &'static str,
    format: &'a str,
    family: &'a str,
    families: [&'a str; 1],
    parameter_size: String,
    quantization_level: &'a str,
    context_length: u64,
}

impl<'a> Details<'a> {
    fn of(entry: &'a Entry) -> Details<'a> {
        let about = &entry.description;
        Details {
            parent_model: "",
            format: &about.model_format,
            family: &about.model_family,
            families: [&about.model_family],
            parameter_size: parameter_size(about.parameters),
            quantization_level: &about.file_type,
            context_length: about.context_length,
        }
    }
}

/// `7.6B`, `596.05M`, `260.03K`, as Ollama writes them.
fn parameter_size(parameters: u64) -> String {
    let number = parameters as f64;
    match parameters {
        1_000_000_000.. => format!("{:.1}B", number / 1e9),
        1_000_000.. => format!("{:.2}M", number / 1e6),
        1_000.. => format!("{:.2}K", number / 1e3),
        _ => parameters.to_string(),
    }
}
