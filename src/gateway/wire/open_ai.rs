//! OpenAI's dialect, which most providers speak, each with [quirks](quirks) of its own: chat
//! completions, completions, embeddings, and the rerank of Jina and Cohere.

mod embed;
mod messages;
pub(super) mod quirks;
mod read;
pub(super) mod rules;
mod write;

use quirks::{Key, Quirks};

use super::stream::Framed;
use super::{Call, EmbedCall, Read, Reader, Refusal, Shape, Target, Wire, refusals};
use crate::embedding::{EmbedRequest, Embedded};
use crate::error::Result;
use crate::passage::PassRoute;
use crate::request::GenerateRequest;

/// The wire of one provider.
pub(super) struct OpenAi(pub(super) Quirks);

impl Wire for OpenAi {
    fn call(&self, request: &GenerateRequest, target: &Target) -> Result<Call> {
        write::call(&self.0, request, target)
    }

    fn reader(&self, request: &GenerateRequest, _shape: Shape) -> Box<dyn Reader> {
        Box::new(Framed::sse(read::OpenAiReader::new(request)))
    }

    fn refusal(&self, status: u16, body: &[u8]) -> Refusal {
        refusals::read(status, body)
    }

    fn credential(&self, key: &str) -> (&'static str, String) {
        match self.0.key {
            Key::Bearer => ("authorization", format!("Bearer {key}")),
            Key::ApiKey => ("api-key", key.to_owned()),
        }
    }

    fn models_path(&self) -> &'static str {
        "/models"
    }

    fn models(&self, body: &[u8]) -> Read<Vec<String>> {
        read::models(body)
    }

    fn takes_urls(&self) -> bool {
        self.0.takes_urls
    }

    fn embed(&self, request: &EmbedRequest, target: &Target) -> Result<Vec<EmbedCall>> {
        embed::calls(&self.0, request, target)
    }

    fn passes(&self, route: PassRoute) -> bool {
        self.0.passes.contains(&route)
    }

    fn embedded(&self, call: &EmbedCall, body: &[u8]) -> Read<Embedded> {
        embed::read(call, body)
    }
}
