//! OpenAI's newer route, `/responses`. Vectors and models are those of [`OpenAi`].

mod items;
mod read;
mod write;

use super::open_ai::{OpenAi, quirks};
use super::stream::Framed;
use super::{Call, EmbedCall, Read, Reader, Refusal, Shape, Target, Wire};
use crate::embedding::{EmbedRequest, Embedded};
use crate::error::Result;
use crate::request::GenerateRequest;

/// What this route shares with the others.
const OTHERS: OpenAi = OpenAi(quirks::OPEN_AI);

/// The wire of OpenAI, by its newer route.
pub(super) struct Responses;

impl Wire for Responses {
    fn call(&self, request: &GenerateRequest, target: &Target) -> Result<Call> {
        write::call(request, target)
    }

    fn reader(&self, request: &GenerateRequest, _shape: Shape) -> Box<dyn Reader> {
        Box::new(Framed::sse(read::ResponsesReader::new(request)))
    }

    fn refusal(&self, status: u16, body: &[u8]) -> Refusal {
        OTHERS.refusal(status, body)
    }

    fn credential(&self, key: &str) -> (&'static str, String) {
        OTHERS.credential(key)
    }

    fn models_path(&self) -> &'static str {
        OTHERS.models_path()
    }

    fn models(&self, body: &[u8]) -> Read<Vec<String>> {
        OTHERS.models(body)
    }

    fn embed(&self, request: &EmbedRequest, target: &Target) -> Result<Vec<EmbedCall>> {
        OTHERS.embed(request, target)
    }

    fn embedded(&self, call: &EmbedCall, body: &[u8]) -> Read<Embedded> {
        OTHERS.embedded(call, body)
    }
}
