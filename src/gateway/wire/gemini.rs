//! Google's dialect: generateContent, of the Gemini API and of Vertex AI.

mod content;
mod embed;
mod read;
mod rules;
mod write;

use super::stream::{Framed, json};
use super::{Call, EmbedCall, Read, Reader, Refusal, Scheme, Shape, Target, Wire, refusals};
use crate::embedding::{EmbedRequest, Embedded};
use crate::error::Result;
use crate::request::GenerateRequest;

/// The wire of Google.
pub(super) struct Gemini {
    pub(super) is_vertex: bool,
}

impl Wire for Gemini {
    fn call(&self, request: &GenerateRequest, target: &Target) -> Result<Call> {
        write::call(request, target)
    }

    fn reader(&self, request: &GenerateRequest, _shape: Shape) -> Box<dyn Reader> {
        Box::new(Framed::sse(read::GeminiReader::new(request)))
    }

    fn refusal(&self, status: u16, body: &[u8]) -> Refusal {
        refusals::read(status, body)
    }

    fn credential(&self, key: &str) -> (&'static str, String) {
        match self.is_vertex {
            true => ("authorization", format!("Bearer {key}")),
            false => ("x-goog-api-key", key.to_owned()),
        }
    }

    fn scheme(&self) -> Scheme {
        if self.is_vertex { Scheme::Google } else { Scheme::Plain }
    }

    fn models_path(&self) -> &'static str {
        "/models?pageSize=1000"
    }

    fn models(&self, body: &[u8]) -> Read<Vec<String>> {
        read::models(body)
    }

    fn takes_urls(&self) -> bool {
        false
    }

    fn embed(&self, request: &EmbedRequest, target: &Target) -> Result<Vec<EmbedCall>> {
        embed::calls(self.is_vertex, request, target)
    }

    fn embedded(&self, call: &EmbedCall, body: &[u8]) -> Read<Embedded> {
        embed::read(call, body)
    }

    fn count(&self, request: &GenerateRequest, target: &Target) -> Result<Option<Call>> {
        write::count(self.is_vertex, request, target).map(Some)
    }

    fn counted(&self, body: &[u8]) -> Read<u32> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Counted {
            total_tokens: u32,
        }
        json::<Counted>(body).map(|counted| counted.total_tokens)
    }
}

/// A model's place in a path.
pub(super) fn model_path(model: &str, action: &str) -> String {
    let model = model.strip_prefix("models/").unwrap_or(model);
    format!("/models/{}:{action}", escape(model))
}

/// A name as one segment of a path. What is no plain letter is escaped, so that no name leaves its
/// place.
pub(super) fn escape(model: &str) -> String {
    let mut path = String::with_capacity(model.len());
    for byte in model.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'@' => {
                path.push(char::from(byte));
            }
            // Alone they would mean the folder itself or the one above.
            b'.' if model.bytes().any(|byte| byte != b'.') => path.push('.'),
            byte => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::model_path;

    #[test]
    fn no_name_of_a_model_leaves_its_place_in_the_path() {
        for (model, wanted) in [
            ("gemini-2.5-flash", "/models/gemini-2.5-flash:a"),
            ("models/x", "/models/x:a"),
            ("../../v1/secrets", "/models/..%2F..%2Fv1%2Fsecrets:a"),
            ("..", "/models/%2E%2E:a"),
            ("m?key=1#f", "/models/m%3Fkey%3D1%23f:a"),
            ("é\r\nx", "/models/%C3%A9%0D%0Ax:a"),
        ] {
            assert_eq!(model_path(model, "a"), wanted);
        }
    }
}
