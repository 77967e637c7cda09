//! Ollama's dialect: chat, generate and embed.

mod read;
mod write;

use super::stream::{Framed, json};
use super::{Call, EmbedCall, Read, Reader, Refusal, Shape, Target, Wire, embedding, refusals};
use crate::embedding::{EmbedInput, EmbedRequest, Embedded, Wanted};
use crate::error::Result;
use crate::request::GenerateRequest;

/// Most texts of a call for vectors.
const MAX_TEXTS: usize = 512;

/// The wire of an Ollama.
pub(super) struct Ollama;

impl Wire for Ollama {
    fn call(&self, request: &GenerateRequest, target: &Target) -> Result<Call> {
        write::call(request, target)
    }

    fn reader(&self, request: &GenerateRequest, shape: Shape) -> Box<dyn Reader> {
        Box::new(Framed::lines(read::OllamaReader::new(request), shape))
    }

    fn refusal(&self, status: u16, body: &[u8]) -> Refusal {
        refusals::read(status, body)
    }

    fn credential(&self, key: &str) -> (&'static str, String) {
        ("authorization", format!("Bearer {key}"))
    }

    fn models_path(&self) -> &'static str {
        "/api/tags"
    }

    fn models(&self, body: &[u8]) -> Read<Vec<String>> {
        read::models(body)
    }

    fn takes_urls(&self) -> bool {
        false
    }

    fn embed(&self, request: &EmbedRequest, target: &Target) -> Result<Vec<EmbedCall>> {
        if request.wanted != Wanted::Vector {
            return Err(super::writing::cannot("model", "ranks no documents"));
        }
        let call = |inputs| write::embed(target, inputs);
        request.inputs.chunks(MAX_TEXTS).map(call).collect()
    }

    fn embedded(&self, call: &EmbedCall, body: &[u8]) -> Read<Embedded> {
        #[derive(serde::Deserialize)]
        struct Answer {
            embeddings: Vec<Vec<f32>>,
            #[serde(default)]
            prompt_eval_count: super::answer::Count,
        }
        let answer: Answer = json(body)?;
        let found = answer.embeddings.into_iter().enumerate().collect();
        let usage = embedding::usage(call, answer.prompt_eval_count.0);
        Ok(Embedded { vectors: embedding::in_order(call, found)?, usage })
    }
}

/// A text to embed, and whether it may be cut.
fn text_of(input: &EmbedInput) -> Result<(&str, bool)> {
    match input {
        EmbedInput::Text(text) => Ok((text, false)),
        EmbedInput::Cut(text) => Ok((text, true)),
        EmbedInput::Tokens(_) => Err(super::writing::cannot("input", "takes texts, not tokens")),
    }
}
