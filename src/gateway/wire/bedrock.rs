//! Amazon Bedrock's own dialect, Converse, for every model there. Its streams are binary frames
//! ([`frames`]); its requests are signed by [`crate::channels::credential`].

mod content;
mod frames;
mod read;
mod write;

pub use frames::Frames;
#[cfg(test)]
pub(crate) use frames::frame;

use super::writing::cannot;
use super::{Call, EmbedCall, Read, Reader, Refusal, Scheme, Shape, Target, Wire, refusals};
use crate::embedding::{EmbedRequest, Embedded};
use crate::error::Result;
use crate::request::GenerateRequest;

/// The wire of Bedrock.
pub(super) struct Bedrock;

impl Wire for Bedrock {
    fn call(&self, request: &GenerateRequest, target: &Target) -> Result<Call> {
        write::call(request, target)
    }

    fn reader(&self, request: &GenerateRequest, shape: Shape) -> Box<dyn Reader> {
        Box::new(read::BedrockReader::new(request, shape))
    }

    fn refusal(&self, status: u16, body: &[u8]) -> Refusal {
        refusals::read(status, body)
    }

    fn credential(&self, key: &str) -> (&'static str, String) {
        ("authorization", format!("Bearer {key}"))
    }

    fn scheme(&self) -> Scheme {
        Scheme::Aws
    }

    fn models_path(&self) -> &'static str {
        "/foundation-models"
    }

    fn models(&self, body: &[u8]) -> Read<Vec<String>> {
        read::models(body)
    }

    fn takes_urls(&self) -> bool {
        false
    }

    fn embed(&self, _request: &EmbedRequest, _target: &Target) -> Result<Vec<EmbedCall>> {
        Err(cannot("model", "makes no embeddings and ranks no documents in this dialect"))
    }

    fn embedded(&self, _call: &EmbedCall, _body: &[u8]) -> Read<Embedded> {
        Err(Refusal::broken("The provider makes no embeddings."))
    }
}
