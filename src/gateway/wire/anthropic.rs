//! Anthropic's dialect: messages, of Anthropic itself and of Vertex AI.

mod content;
mod read;
pub(super) mod rules;
mod vertex;
mod write;

use super::stream::{Framed, json};
use super::writing::cannot;
use super::{Call, EmbedCall, Read, Reader, Refusal, Scheme, Shape, Target, Wire, refusals};
use crate::embedding::{EmbedRequest, Embedded};
use crate::error::Result;
use crate::request::GenerateRequest;

/// The wire of Anthropic and of whoever speaks as it does.
pub(super) struct Anthropic {
    pub(super) is_vertex: bool,
}

impl Wire for Anthropic {
    fn call(&self, request: &GenerateRequest, target: &Target) -> Result<Call> {
        let call = write::call(request, target)?;
        Ok(if self.is_vertex { vertex::call(call, target) } else { call })
    }

    fn reader(&self, request: &GenerateRequest, _shape: Shape) -> Box<dyn Reader> {
        Box::new(Framed::sse(read::AnthropicReader::new(request)))
    }

    fn refusal(&self, status: u16, body: &[u8]) -> Refusal {
        refusals::read(status, body)
    }

    fn credential(&self, key: &str) -> (&'static str, String) {
        match self.is_vertex {
            true => ("authorization", format!("Bearer {key}")),
            false => ("x-api-key", key.to_owned()),
        }
    }

    fn scheme(&self) -> Scheme {
        if self.is_vertex { Scheme::Google } else { Scheme::Plain }
    }

    fn models_path(&self) -> &'static str {
        "/models?limit=1000"
    }

    fn models(&self, body: &[u8]) -> Read<Vec<String>> {
        read::models(body)
    }

    fn embed(&self, _request: &EmbedRequest, _target: &Target) -> Result<Vec<EmbedCall>> {
        Err(cannot("model", "makes no embeddings and ranks no documents"))
    }

    fn embedded(&self, _call: &EmbedCall, _body: &[u8]) -> Read<Embedded> {
        Err(Refusal::broken("The provider makes no embeddings."))
    }

    fn count(&self, request: &GenerateRequest, target: &Target) -> Result<Option<Call>> {
        let call = write::count(request, target)?;
        Ok(Some(if self.is_vertex { vertex::count(call) } else { call }))
    }

    fn counted(&self, body: &[u8]) -> Read<u32> {
        #[derive(serde::Deserialize)]
        struct Counted {
            input_tokens: u32,
        }
        json::<Counted>(body).map(|counted| counted.input_tokens)
    }
}
