//! `/v1/embeddings`: parses the body, prints the vectors.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::fields::{Fields, must};
use crate::embedding::{self, EmbedInput, EmbedRequest, Embedded, MAX_TEXTS, Wanted};
use crate::error::{Error, Result};
use crate::request::RequestId;

/// Longest vector that can be asked for; longer than any model's.
const MAX_DIMENSIONS: i64 = 1 << 17;

/// A parsed request body.
#[derive(Clone, Debug)]
pub struct EmbeddingCall {
    pub request: EmbedRequest,
    /// Leading numbers of each vector to keep, scaled to length 1 anew.
    dimensions: Option<usize>,
    encoding: Encoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Float,
    /// Little-endian 32-bit floats.
    Base64,
}

/// Parses the body of a request for vectors.
pub fn parse_embeddings(body: &[u8], id: RequestId) -> Result<EmbeddingCall> {
    let mut fields = Fields::parse(body)?;
    let model = fields.model()?;
    let dimensions = fields.whole("dimensions", 1..=MAX_DIMENSIONS)?;
    let encoding = match fields.text("encoding_format")? {
        None | Some("float") => Encoding::Float,
        Some("base64") => Encoding::Base64,
        Some(_) => {
            let message = must("encoding_format", "float or base64");
            return Err(Error::invalid("encoding_format", message));
        }
    };
    let inputs = parse_inputs(fields.take("input"))?;
    let request = EmbedRequest { id, model, inputs, wanted: Wanted::Vector, path: Vec::new() };
    let dimensions = dimensions.and_then(|number| usize::try_from(number).ok());
    Ok(EmbeddingCall { request, dimensions, encoding })
}

/// A text, a list of texts, a list of token ids, or a list of those.
fn parse_inputs(value: Option<Value>) -> Result<Vec<EmbedInput>> {
    let wrong = || {
        let what = "a string, a list of strings, a list of token ids, or a list of such lists; \
                    none of them empty";
        Error::invalid("input", must("input", what))
    };
    let items = match value {
        Some(Value::Array(items)) if items.first().is_some_and(Value::is_number) => {
            return Ok(vec![parse_input(Value::Array(items)).ok_or_else(wrong)?]);
        }
        Some(Value::Array(items)) => items,
        Some(single @ Value::String(_)) => vec![single],
        _ => return Err(wrong()),
    };
    if items.len() > MAX_TEXTS {
        let message = format!("'input' may have at most {MAX_TEXTS} entries.");
        return Err(Error::invalid("input", message));
    }
    let inputs: Option<Vec<EmbedInput>> = items.into_iter().map(parse_input).collect();
    inputs.filter(|inputs| !inputs.is_empty()).ok_or_else(wrong)
}

fn parse_input(value: Value) -> Option<EmbedInput> {
    match value {
        Value::String(text) if !text.is_empty() => Some(EmbedInput::Text(text)),
        Value::Array(ids) if !ids.is_empty() => {
            let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
            Some(EmbedInput::Tokens(ids.iter().map(id).collect::<Option<_>>()?))
        }
        _ => None,
    }
}

impl EmbeddingCall {
    /// The answer's body.
    pub fn print(&self, embedded: &Embedded) -> Result<Value> {
        let mut data = Vec::with_capacity(embedded.vectors.len());
        for (index, vector) in embedded.vectors.iter().enumerate() {
            let embedding = match (self.shorten(vector)?, self.encoding) {
                (vector, Encoding::Float) => json!(vector),
                (vector, Encoding::Base64) => {
                    let bytes: Vec<u8> =
                        vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                    json!(STANDARD.encode(bytes))
                }
            };
            data.push(json!({ "object": "embedding", "index": index, "embedding": embedding }));
        }
        let tokens = embedded.usage.prompt_tokens;
        Ok(json!({
            "object": "list", "data": data, "model": self.request.model,
            "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
        }))
    }

    fn shorten(&self, vector: &[f32]) -> Result<Vec<f32>> {
        match self.dimensions {
            None => Ok(vector.to_vec()),
            Some(wanted) if wanted > vector.len() => {
                let most = vector.len();
                let message =
                    format!("'dimensions' may be at most {most}, the width of this model.");
                Err(Error::invalid("dimensions", message))
            }
            Some(wanted) if wanted == vector.len() => Ok(vector.to_vec()),
            Some(wanted) => Ok(embedding::shorten(vector, wanted)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Usage;

    fn parse(body: Value) -> Result<EmbeddingCall> {
        parse_embeddings(body.to_string().as_bytes(), RequestId("r".into()))
    }

    fn embedded(vectors: &[&[f32]]) -> Embedded {
        let usage = Usage { prompt_tokens: 7, ..Usage::default() };
        Embedded { vectors: vectors.iter().map(|vector| vector.to_vec()).collect(), usage }
    }

    #[test]
    fn all_four_forms_of_input_are_taken() {
        let text = |text: &str| EmbedInput::Text(text.into());
        let ids = |ids: &[u32]| EmbedInput::Tokens(ids.to_vec());
        for (input, wanted) in [
            (json!("a"), vec![text("a")]),
            (json!(["a", " "]), vec![text("a"), text(" ")]),
            (json!([1, 2]), vec![ids(&[1, 2])]),
            (json!([[1], [2, 3]]), vec![ids(&[1]), ids(&[2, 3])]),
        ] {
            let call = parse(json!({ "model": "m", "input": input })).unwrap();
            assert_eq!(call.request.inputs, wanted);
        }
    }

    #[test]
    fn bad_fields_are_named() {
        let many = vec!["a"; MAX_TEXTS + 1];
        for (body, param) in [
            (json!({ "model": "m" }), "input"),
            (json!({ "model": "m", "input": "" }), "input"),
            (json!({ "model": "m", "input": [] }), "input"),
            (json!({ "model": "m", "input": ["a", ""] }), "input"),
            (json!({ "model": "m", "input": [[]] }), "input"),
            (json!({ "model": "m", "input": [1, -1] }), "input"),
            (json!({ "model": "m", "input": [1, "a"] }), "input"),
            (json!({ "model": "m", "input": many }), "input"),
            (json!({ "input": "a" }), "model"),
            (json!({ "model": "m", "input": "a", "dimensions": 0 }), "dimensions"),
            (json!({ "model": "m", "input": "a", "encoding_format": "hex" }), "encoding_format"),
        ] {
            let error = parse(body.clone()).expect_err("accepted");
            let Error::Invalid { param: found, .. } = error else { panic!("{error}") };
            assert_eq!(found.as_deref(), Some(param), "{body}");
        }
    }

    #[test]
    fn base64_holds_the_same_floats() {
        let body = json!({ "model": "m", "input": "a", "encoding_format": "base64" });
        let answer = parse(body).unwrap().print(&embedded(&[&[0.5, -2.0]])).unwrap();
        let bytes = STANDARD.decode(answer["data"][0]["embedding"].as_str().unwrap()).unwrap();
        assert_eq!(bytes, [0.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat());
        assert_eq!(answer["usage"], json!({ "prompt_tokens": 7, "total_tokens": 7 }));
    }

    #[test]
    fn fewer_dimensions_are_scaled_anew_and_more_are_refused() {
        let call = parse(json!({ "model": "m", "input": "a", "dimensions": 2 })).unwrap();
        let answer = call.print(&embedded(&[&[3.0, 4.0, 12.0], &[0.0, 0.0, 1.0]])).unwrap();
        let numbers: Vec<f64> =
            serde_json::from_value(answer["data"][0]["embedding"].clone()).unwrap();
        assert!((numbers[0] - 0.6).abs() < 1e-6 && (numbers[1] - 0.8).abs() < 1e-6);
        assert_eq!(answer["data"][1]["embedding"], json!([0.0, 0.0]), "never not a number");
        assert!(call.print(&embedded(&[&[1.0]])).is_err());
    }
}
