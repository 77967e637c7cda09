//! Calls for vectors and scores, and their answers.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::embedding::{EmbedInput, EmbedRequest, Embedded, Wanted};
use crate::error::Result;
use crate::wire::answer::Count;
use crate::wire::embedding::{in_order, usage};
use crate::wire::stream::json as parse_json;
use crate::wire::writing::cannot;
use crate::wire::{Call, EmbedCall, Read, Refusal, Target};

/// Most texts of a call for vectors, and most documents of one for scores.
const MAX_TEXTS: usize = 96;
const MAX_DOCUMENTS: usize = 1000;

pub(super) fn calls(request: &EmbedRequest, target: &Target) -> Result<Vec<EmbedCall>> {
    let most = match request.wanted {
        Wanted::Vector => MAX_TEXTS,
        Wanted::Score { .. } => MAX_DOCUMENTS,
    };
    request.inputs.chunks(most).map(|inputs| call(request, target, inputs)).collect()
}

fn call(request: &EmbedRequest, target: &Target, inputs: &[EmbedInput]) -> Result<EmbedCall> {
    let text = |input: &EmbedInput| match input {
        EmbedInput::Text(text) | EmbedInput::Cut(text) => Ok(Value::from(text.as_str())),
        EmbedInput::Tokens(_) => Err(cannot("input", "takes texts, not tokens")),
    };
    let texts: Vec<Value> = inputs.iter().map(text).collect::<Result<_>>()?;
    let mut body = Map::new();
    body.insert("model".into(), target.model.as_str().into());
    let path = match &request.wanted {
        Wanted::Vector => {
            // Nobody says whether a text is a question; documents are what most are.
            body.insert("input_type".into(), "search_document".into());
            body.insert("embedding_types".into(), json!(["float"]));
            body.insert("texts".into(), texts.into());
            "/v2/embed"
        }
        Wanted::Score { question } => {
            body.insert("query".into(), question.as_str().into());
            body.insert("documents".into(), texts.into());
            "/v2/rerank"
        }
    };
    let (path, headers, warnings) = (path.to_owned(), Vec::new(), Vec::new());
    Ok(EmbedCall { call: Call { path, headers, body, warnings }, texts: inputs.len() })
}

#[derive(Deserialize)]
struct Answer {
    embeddings: Option<Vectors>,
    results: Option<Vec<Score>>,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Vectors {
    float: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Score {
    index: usize,
    relevance_score: f32,
}

#[derive(Deserialize)]
struct Meta {
    billed_units: Option<Units>,
}

#[derive(Deserialize)]
struct Units {
    #[serde(default)]
    input_tokens: Count,
}

pub(super) fn read(call: &EmbedCall, body: &[u8]) -> Read<Embedded> {
    let answer: Answer = parse_json(body)?;
    let told = answer.meta.and_then(|meta| meta.billed_units?.input_tokens.0);
    let found = match (answer.embeddings, answer.results) {
        (Some(vectors), _) => vectors.float.into_iter().enumerate().collect(),
        (None, Some(results)) => {
            results.into_iter().map(|score| (score.index, vec![score.relevance_score])).collect()
        }
        (None, None) => return Err(Refusal::broken("The provider's answer has no vectors.")),
    };
    Ok(Embedded { vectors: in_order(call, found)?, usage: usage(call, told) })
}
