//! Requests that pass through: pictures, sound and moderation. Nobody here reads what they ask for
//! beyond the model's name; a channel of the same dialect gets them as they are, and what it says
//! comes back as it is, within bounds.

use std::sync::Arc;

use bytes::Bytes;
use hearth_store::ChannelId;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::error::Result;
use crate::event::Usage;
use crate::request::RequestId;

/// Bytes of text that make a token, more or less.
const TOKEN_BYTES: u64 = 4;
/// Bytes of sound or of a picture that a provider counts as a token, at least: speech at 128 kbit/s
/// has 16,000 of them a second and 10 tokens.
const FILE_TOKEN_BYTES: u64 = 1000;
/// Most tokens that a picture costs: OpenAI counts 6,240 for a large one of high quality.
const PICTURE_TOKENS: u64 = 8192;
/// Most pictures of one request that are reckoned with; OpenAI makes ten.
const MAX_PICTURES: u64 = 128;

/// What is asked for, by the path below `/v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PassRoute {
    Images,
    ImageEdits,
    ImageVariations,
    Transcriptions,
    Translations,
    Speech,
    Moderations,
}

impl PassRoute {
    /// All of them.
    pub const ALL: [PassRoute; 7] = [
        PassRoute::Images,
        PassRoute::ImageEdits,
        PassRoute::ImageVariations,
        PassRoute::Transcriptions,
        PassRoute::Translations,
        PassRoute::Speech,
        PassRoute::Moderations,
    ];

    /// Below the base URL.
    pub fn path(self) -> &'static str {
        match self {
            PassRoute::Images => "/images/generations",
            PassRoute::ImageEdits => "/images/edits",
            PassRoute::ImageVariations => "/images/variations",
            PassRoute::Transcriptions => "/audio/transcriptions",
            PassRoute::Translations => "/audio/translations",
            PassRoute::Speech => "/audio/speech",
            PassRoute::Moderations => "/moderations",
        }
    }

    /// Whether its body may be JSON.
    pub fn takes_json(self) -> bool {
        use PassRoute::{ImageVariations, Transcriptions, Translations};
        !matches!(self, ImageVariations | Transcriptions | Translations)
    }

    /// Whether its body may be a form.
    pub fn takes_forms(self) -> bool {
        use PassRoute::{Images, Moderations, Speech};
        !matches!(self, Images | Moderations | Speech)
    }

    /// Whether its answer is a number of pictures.
    pub fn makes_pictures(self) -> bool {
        use PassRoute::{ImageEdits, ImageVariations, Images};
        matches!(self, Images | ImageEdits | ImageVariations)
    }

    /// The model of a request that names none, as OpenAI has it; `None` where one must be named.
    pub fn default_model(self) -> Option<&'static str> {
        match self {
            PassRoute::Images | PassRoute::ImageEdits | PassRoute::ImageVariations => {
                Some("dall-e-2")
            }
            PassRoute::Moderations => Some("omni-moderation-latest"),
            PassRoute::Transcriptions | PassRoute::Translations | PassRoute::Speech => None,
        }
    }
}

/// A request on its way through.
#[derive(Clone, Debug)]
pub struct PassRequest {
    pub id: RequestId,
    /// The model's public name, as the caller wrote it.
    pub model: String,
    pub route: PassRoute,
    pub body: PassBody,
}

/// What it asks for; cheap to clone. The model is told anew to whoever is asked.
#[derive(Clone, Debug)]
pub enum PassBody {
    Json(Arc<Map<String, Value>>),
    Form(Arc<[FormPart]>),
}

/// One part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormPart {
    pub name: String,
    pub file_name: Option<String>,
    pub mime: Option<String>,
    pub bytes: Bytes,
}

/// An answer on its way back. Dropping it ends the request.
#[derive(Debug)]
pub struct Passage {
    /// Who answers.
    pub channel: ChannelId,
    /// Of the kinds that are let through.
    pub kind: PassKind,
    pub pieces: mpsc::Receiver<Result<Piece>>,
}

/// Of what kind an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassKind {
    /// One JSON object, in one piece.
    Json,
    /// Server-sent events, each one piece.
    Events,
    /// Anything else that cannot do harm in a browser, of this media type.
    Bytes(String),
}

/// A piece of an answer; the last one is `Done` or an error.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Bytes(Bytes),
    Done(Usage),
}

impl PassRequest {
    /// Pictures that it asks for.
    pub fn pictures(&self) -> u64 {
        if !self.route.makes_pictures() {
            return 0;
        }
        let told = match &self.body {
            PassBody::Json(members) => members.get("n").and_then(Value::as_u64),
            PassBody::Form(parts) => {
                let number = parts.iter().find(|part| part.name == "n");
                number.and_then(|part| std::str::from_utf8(&part.bytes).ok()?.trim().parse().ok())
            }
        };
        told.unwrap_or(1).clamp(1, MAX_PICTURES)
    }

    /// Tokens of its prompt, more or less: providers of such models seldom count them.
    pub fn prompt_tokens(&self) -> u32 {
        let tokens = match &self.body {
            PassBody::Json(members) => {
                let texts = ["prompt", "input", "instructions"];
                let bytes = texts.iter().filter_map(|name| members.get(*name)).map(bytes_of);
                bytes.sum::<u64>().div_ceil(TOKEN_BYTES)
            }
            PassBody::Form(parts) => {
                let tokens = |part: &FormPart| match part.file_name {
                    Some(_) => (part.bytes.len() as u64).div_ceil(FILE_TOKEN_BYTES),
                    None if part.name == "prompt" => {
                        (part.bytes.len() as u64).div_ceil(TOKEN_BYTES)
                    }
                    None => 0,
                };
                parts.iter().map(tokens).sum()
            }
        };
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }

    /// Most tokens that its answer may have, more or less.
    pub fn answer_tokens(&self) -> u64 {
        match self.route {
            PassRoute::Moderations => 0,
            _ => PICTURE_TOKENS * self.pictures().max(1),
        }
    }
}

/// Bytes of the text in a value, however it is nested.
fn bytes_of(value: &Value) -> u64 {
    match value {
        // What is not written out in words is no text: pictures come as data URLs.
        Value::String(text) if text.starts_with("data:") => 0,
        Value::String(text) => text.len() as u64,
        Value::Array(values) => values.iter().map(bytes_of).sum(),
        Value::Object(members) => members.values().map(bytes_of).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(route: PassRoute, body: Value) -> PassRequest {
        let Value::Object(members) = body else { panic!("an object") };
        let body = PassBody::Json(Arc::new(members));
        PassRequest { id: RequestId("r".to_owned()), model: "m".to_owned(), route, body }
    }

    #[test]
    fn what_a_request_may_use_is_reckoned_from_what_it_says_and_never_absurd() {
        let drawn = request(PassRoute::Images, json!({ "prompt": "12345678", "n": 3 }));
        assert_eq!((drawn.prompt_tokens(), drawn.pictures()), (2, 3));
        assert_eq!(drawn.answer_tokens(), 3 * PICTURE_TOKENS);
        for n in [json!(-1), json!(0), json!("2"), json!(1e300), json!(null)] {
            assert_eq!(request(PassRoute::Images, json!({ "n": n })).pictures(), 1);
        }
        assert_eq!(request(PassRoute::Images, json!({ "n": u64::MAX })).pictures(), MAX_PICTURES);
        let judged = json!({ "n": 9, "input": [{ "type": "text", "text": "1234" }, "5678"] });
        let judged = request(PassRoute::Moderations, judged);
        assert_eq!((judged.prompt_tokens(), judged.pictures(), judged.answer_tokens()), (3, 0, 0));
    }
}
