//! Calls for vectors and their answers.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::model_path;
use crate::embedding::{EmbedInput, EmbedRequest, Embedded, Wanted};
use crate::error::Result;
use crate::wire::embedding::{in_order, usage};
use crate::wire::stream::json as parse_json;
use crate::wire::writing::cannot;
use crate::wire::{Call, EmbedCall, Read, Target};

/// Most texts of a call.
const MAX_TEXTS: usize = 100;

pub(super) fn calls(
    is_vertex: bool,
    request: &EmbedRequest,
    target: &Target,
) -> Result<Vec<EmbedCall>> {
    if is_vertex {
        return Err(cannot("model", "makes no embeddings in this dialect"));
    }
    if request.wanted != Wanted::Vector {
        return Err(cannot("model", "ranks no documents"));
    }
    request.inputs.chunks(MAX_TEXTS).map(|inputs| call(target, inputs)).collect()
}

fn call(target: &Target, inputs: &[EmbedInput]) -> Result<EmbedCall> {
    let model = target.model.strip_prefix("models/").unwrap_or(&target.model);
    let model = format!("models/{model}");
    let request = |input: &EmbedInput| match input {
        EmbedInput::Text(text) | EmbedInput::Cut(text) => {
            Ok(json!({ "model": model, "content": { "parts": [{ "text": text }] } }))
        }
        EmbedInput::Tokens(_) => Err(cannot("input", "takes texts, not tokens")),
    };
    let requests: Vec<Value> = inputs.iter().map(request).collect::<Result<_>>()?;
    let body: Map<String, Value> = [("requests".to_owned(), requests.into())].into_iter().collect();
    let (headers, warnings) = (Vec::new(), Vec::new());
    let path = model_path(&target.model, "batchEmbedContents");
    Ok(EmbedCall { call: Call { path, headers, body, warnings }, texts: inputs.len() })
}

pub(super) fn read(call: &EmbedCall, body: &[u8]) -> Read<Embedded> {
    #[derive(Deserialize)]
    struct Vector {
        values: Vec<f32>,
    }
    #[derive(Deserialize)]
    struct Answer {
        embeddings: Vec<Vector>,
    }
    let answer: Answer = parse_json(body)?;
    let found = answer.embeddings.into_iter().map(|vector| vector.values).enumerate().collect();
    Ok(Embedded { vectors: in_order(call, found)?, usage: usage(call, None) })
}
