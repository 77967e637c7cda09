//! `/v1/rerank`, in the shape of Jina and Cohere: which documents fit a question best.
//!
//! The score is the cosine of the vectors of question and document.

use serde_json::{Value, json};

use super::fields::{Fields, must};
use crate::embedding::{EmbedInput, EmbedRequest, Embedded};
use crate::error::{Error, Result};
use crate::request::RequestId;

/// Most documents of one request; Cohere's own limit.
const MAX_DOCUMENTS: usize = 1000;

/// A parsed request body.
#[derive(Clone, Debug)]
pub struct RerankCall {
    /// The question first, then the documents.
    pub request: EmbedRequest,
    /// Most results.
    top: usize,
    with_documents: bool,
}

/// Parses the body of a request to rank documents.
pub fn parse_rerank(body: &[u8], id: RequestId) -> Result<RerankCall> {
    let mut fields = Fields::parse(body)?;
    let model = fields.model()?;
    let with_documents = fields.flag("return_documents")?;
    let top = fields.whole("top_n", 1..=i64::from(u32::MAX))?;
    let query = match fields.take("query") {
        Some(Value::String(query)) if !query.is_empty() => query,
        _ => return Err(Error::invalid("query", must("query", "a string that is not empty"))),
    };
    let wrong = || {
        let what =
            format!("a list of 1 to {MAX_DOCUMENTS} strings or objects with a string 'text'");
        Error::invalid("documents", must("documents", &what))
    };
    let documents = match fields.take("documents") {
        Some(Value::Array(documents)) if (1..=MAX_DOCUMENTS).contains(&documents.len()) => {
            documents
        }
        _ => return Err(wrong()),
    };
    let mut inputs = Vec::with_capacity(documents.len() + 1);
    inputs.push(EmbedInput::Text(query));
    for document in documents {
        let text = match document {
            Value::String(text) => text,
            Value::Object(mut members) => match members.remove("text") {
                Some(Value::String(text)) => text,
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        inputs.push(EmbedInput::Text(text));
    }
    let top = top.and_then(|top| usize::try_from(top).ok()).unwrap_or(usize::MAX);
    Ok(RerankCall { request: EmbedRequest { id, model, inputs }, top, with_documents })
}

impl RerankCall {
    /// The answer's body: the best documents first, equals in their own order.
    pub fn print(&self, embedded: &Embedded) -> Result<Value> {
        let Some((query, documents)) = embedded.vectors.split_first() else {
            return Err(Error::Internal("no vectors to rank by".to_owned()));
        };
        let scores = documents.iter().map(|document| cosine(query, document));
        let mut ranked: Vec<(usize, f64)> = scores.enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked.truncate(self.top);
        let results: Vec<Value> = ranked
            .into_iter()
            .map(|(index, score)| {
                let mut result = json!({ "index": index, "relevance_score": score });
                if let (true, Some(EmbedInput::Text(text))) =
                    (self.with_documents, self.request.inputs.get(index + 1))
                {
                    result["document"] = json!({ "text": text });
                }
                result
            })
            .collect();
        let tokens = embedded.usage.prompt_tokens;
        Ok(json!({
            "id": self.request.id.0, "object": "list", "model": self.request.model,
            "results": results,
            "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
        }))
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    // A vector of nothing is like no other.
    dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt()).max(1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Usage;

    fn parse(body: Value) -> Result<RerankCall> {
        parse_rerank(body.to_string().as_bytes(), RequestId("r".into()))
    }

    #[test]
    fn the_best_come_first_and_no_more_than_asked_for() {
        let call = parse(json!({
            "model": "m", "query": "q", "documents": ["far", { "text": "near" }, "mid"],
            "top_n": 2, "return_documents": true,
        }))
        .unwrap();
        let vectors = vec![vec![2.0, 0.0], vec![0.0, 3.0], vec![5.0, 0.0], vec![1.0, 1.0]];
        let embedded = Embedded { vectors, usage: Usage::default() };
        let answer = call.print(&embedded).unwrap();
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results.len(), 2);
        let wanted = json!({
            "index": 1, "relevance_score": 1.0, "document": { "text": "near" },
        });
        assert_eq!(results[0], wanted);
        assert_eq!(results[1]["index"], 2);
    }

    #[test]
    fn bad_fields_are_named() {
        let many = vec!["a"; MAX_DOCUMENTS + 1];
        for (field, value) in [
            ("query", json!("")),
            ("query", json!(["q"])),
            ("documents", json!([])),
            ("documents", json!("d")),
            ("documents", json!([{ "body": "d" }])),
            ("documents", json!(many)),
            ("top_n", json!(0)),
            ("return_documents", json!("yes")),
        ] {
            let mut body = json!({ "model": "m", "query": "q", "documents": ["d"] });
            body[field] = value;
            let error = parse(body).expect_err("accepted");
            let Error::Invalid { param, .. } = error else { panic!("{error}") };
            assert_eq!(param.as_deref(), Some(field));
        }
    }
}
