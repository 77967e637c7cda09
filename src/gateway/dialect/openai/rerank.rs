//! `/v1/rerank`, in the shape of Jina and Cohere: which documents fit a question best.
//!
//! A model that reads question and document together scores from 0 to 1; of one that makes vectors
//! the score is the cosine of the two.

use serde_json::{Value, json};

use super::fields::{Fields, must};
use crate::embedding::{EmbedInput, EmbedRequest, Embedded, Wanted};
use crate::error::{Error, Result};
use crate::request::RequestId;

/// Most documents of one request; Cohere's own limit.
const MAX_DOCUMENTS: usize = 1000;

/// A parsed request body.
#[derive(Clone, Debug)]
pub struct RerankCall {
    /// The documents.
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
    let question = match fields.take("query") {
        Some(Value::String(question)) if !question.is_empty() => question,
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
    let mut inputs = Vec::with_capacity(documents.len());
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
    let wanted = Wanted::Score { question };
    let request = EmbedRequest { id, model, inputs, wanted, path: Vec::new() };
    Ok(RerankCall { request, top, with_documents })
}

impl RerankCall {
    /// The answer's body: the best documents first, equals in their own order.
    pub fn print(&self, embedded: &Embedded) -> Result<Value> {
        let scores = embedded.vectors.iter().map(|scores| scores.first().copied());
        let scores: Option<Vec<f32>> = scores.collect();
        let no_score = || Error::Internal("a document without a score".to_owned());
        let mut ranked: Vec<(usize, f32)> =
            scores.ok_or_else(no_score)?.into_iter().enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked.truncate(self.top);
        let results: Vec<Value> = ranked
            .into_iter()
            .map(|(index, score)| {
                let mut result = json!({ "index": index, "relevance_score": score });
                if let (true, Some(EmbedInput::Text(text))) =
                    (self.with_documents, self.request.inputs.get(index))
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
        assert_eq!(call.request.wanted, Wanted::Score { question: "q".into() });
        let vectors = vec![vec![0.0], vec![1.0], vec![0.5]];
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
