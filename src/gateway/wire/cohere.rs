//! Cohere's dialect, version 2: chat, embed and rerank.

mod embed;
mod read;
mod write;

use super::stream::{Framed, json};
use super::{Call, EmbedCall, Read, Reader, Refusal, Shape, Target, Wire, refusals};
use crate::embedding::{EmbedRequest, Embedded};
use crate::error::Result;
use crate::request::GenerateRequest;

/// The wire of Cohere.
pub(super) struct Cohere;

impl Wire for Cohere {
    fn call(&self, request: &GenerateRequest, target: &Target) -> Result<Call> {
        write::call(request, target)
    }

    fn reader(&self, request: &GenerateRequest, _shape: Shape) -> Box<dyn Reader> {
        Box::new(Framed::sse(read::CohereReader::new(request)))
    }

    fn refusal(&self, status: u16, body: &[u8]) -> Refusal {
        refusals::read(status, body)
    }

    fn credential(&self, key: &str) -> (&'static str, String) {
        ("authorization", format!("Bearer {key}"))
    }

    fn models_path(&self) -> &'static str {
        "/v1/models?page_size=1000"
    }

    fn models(&self, body: &[u8]) -> Read<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Model {
            name: String,
        }
        #[derive(serde::Deserialize)]
        struct List {
            models: Vec<Model>,
        }
        Ok(json::<List>(body)?.models.into_iter().map(|model| model.name).collect())
    }

    fn embed(&self, request: &EmbedRequest, target: &Target) -> Result<Vec<EmbedCall>> {
        embed::calls(request, target)
    }

    fn embedded(&self, call: &EmbedCall, body: &[u8]) -> Read<Embedded> {
        embed::read(call, body)
    }
}
