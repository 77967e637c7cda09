//! Calls for vectors (`/embeddings`) and scores (`/rerank`, as Jina and Cohere have it), and their
//! answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::quirks::Quirks;
use crate::embedding::{EmbedInput, EmbedRequest, Embedded, Wanted};
use crate::error::Result;
use crate::wire::answer::Count;
use crate::wire::embedding::{in_order, usage};
use crate::wire::stream::json as parse_json;
use crate::wire::{Call, EmbedCall, Read, Refusal, Target};

/// Most documents of a call for scores.
const MAX_DOCUMENTS: usize = 1000;

pub(super) fn calls(
    quirks: &Quirks,
    request: &EmbedRequest,
    target: &Target,
) -> Result<Vec<EmbedCall>> {
    let most = match request.wanted {
        Wanted::Vector => quirks.texts,
        Wanted::Score { .. } => MAX_DOCUMENTS,
    };
    Ok(request.inputs.chunks(most).map(|inputs| call(request, target, inputs)).collect())
}

fn call(request: &EmbedRequest, target: &Target, inputs: &[EmbedInput]) -> EmbedCall {
    let texts: Vec<Value> = inputs
        .iter()
        .map(|input| match input {
            EmbedInput::Text(text) | EmbedInput::Cut(text) => text.as_str().into(),
            EmbedInput::Tokens(tokens) => json!(tokens),
        })
        .collect();
    let mut body = Map::new();
    body.insert("model".into(), target.model.as_str().into());
    let path = match &request.wanted {
        Wanted::Vector => {
            body.insert("input".into(), texts.into());
            body.insert("encoding_format".into(), "float".into());
            "/embeddings"
        }
        Wanted::Score { question } => {
            body.insert("query".into(), question.as_str().into());
            body.insert("top_n".into(), texts.len().into());
            body.insert("documents".into(), texts.into());
            "/rerank"
        }
    };
    let (path, headers, warnings) = (path.to_owned(), Vec::new(), Vec::new());
    EmbedCall { call: Call { path, headers, body, warnings }, texts: inputs.len() }
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Vec<Vector>>,
    results: Option<Vec<Score>>,
    usage: Option<Usage>,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Vector {
    index: Option<usize>,
    embedding: Numbers,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Deserialize)]
struct Score {
    index: usize,
    relevance_score: f32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    prompt_tokens: Count,
    total_tokens: Count,
}

/// Cohere's place for it.
#[derive(Deserialize)]
struct Meta {
    tokens: Option<Tokens>,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    input_tokens: Count,
}

pub(super) fn read(call: &EmbedCall, body: &[u8]) -> Read<Embedded> {
    let answer: Answer = parse_json(body)?;
    let told = answer.usage.unwrap_or_default();
    let told = told.prompt_tokens.0.or(told.total_tokens.0);
    let told = told.or(answer.meta.and_then(|meta| meta.tokens?.input_tokens.0));
    let found = match (answer.data, answer.results) {
        (Some(data), _) => {
            let numbered = data.into_iter().enumerate();
            numbered
                .map(|(at, vector)| Ok((vector.index.unwrap_or(at), vector.embedding.floats()?)))
                .collect::<Read<Vec<_>>>()?
        }
        (None, Some(results)) => {
            results.into_iter().map(|score| (score.index, vec![score.relevance_score])).collect()
        }
        (None, None) => return Err(Refusal::broken("The provider's answer has no vectors.")),
    };
    Ok(Embedded { vectors: in_order(call, found)?, usage: usage(call, told) })
}

impl Numbers {
    fn floats(self) -> Read<Vec<f32>> {
        match self {
            Numbers::Floats(floats) => Ok(floats),
            Numbers::Base64(text) => {
                let bytes = STANDARD.decode(text);
                let bytes =
                    bytes.map_err(|_| Refusal::broken("The provider's vector is no base64."))?;
                let (numbers, _) = bytes.as_chunks::<4>();
                Ok(numbers.iter().map(|four| f32::from_le_bytes(*four)).collect())
            }
        }
    }
}
