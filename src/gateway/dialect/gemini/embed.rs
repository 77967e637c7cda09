//! embedContent and batchEmbedContents: parses the bodies, prints the vectors.

use serde_json::{Value, json};

use super::fields::{in_camel_case, list, member, text, wrong};
use crate::dialect::fields::Fields;
use crate::embedding::{EmbedInput, EmbedRequest, Embedded, MAX_TEXTS, Wanted, shorten};
use crate::error::Result;
use crate::request::RequestId;

/// A parsed request body.
#[derive(Clone, Debug)]
pub struct EmbedCall {
    pub request: EmbedRequest,
    /// Leading numbers of each vector to keep, scaled to length 1 anew.
    dimensions: Vec<Option<usize>>,
    is_batch: bool,
    /// Fields that change nothing here.
    pub ignored: Vec<String>,
}

/// Parses the body of embedContent.
pub fn parse_embed(model: &str, body: &[u8], id: RequestId) -> Result<EmbedCall> {
    let body = Value::Object(Fields::parse(body)?.into_members());
    parse(model, std::slice::from_ref(&body), id, false)
}

/// Parses the body of batchEmbedContents.
pub fn parse_embed_batch(model: &str, body: &[u8], id: RequestId) -> Result<EmbedCall> {
    let body = Value::Object(Fields::parse(body)?.into_members());
    let requests = list("requests", member(&body, "requests"))?;
    if !(1..=MAX_TEXTS).contains(&requests.len()) {
        return Err(wrong("requests", &format!("a list of 1 to {MAX_TEXTS} requests")));
    }
    parse(model, requests, id, true)
}

fn parse(model: &str, requests: &[Value], id: RequestId, is_batch: bool) -> Result<EmbedCall> {
    let (mut inputs, mut dimensions, mut ignored) = (Vec::new(), Vec::new(), Vec::new());
    for request in requests {
        let content = member(request, "content").unwrap_or(&Value::Null);
        let parts = list("content.parts", member(content, "parts"))?;
        let texts: Option<Vec<&str>> = parts.iter().map(|part| text(part, "text")).collect();
        let joined = texts.filter(|texts| !texts.is_empty()).map(|texts| texts.join("\n"));
        let joined = joined.filter(|text| !text.is_empty());
        let text = joined.ok_or_else(|| wrong("content.parts", "a list of parts with a text"))?;
        inputs.push(EmbedInput::Cut(text));
        let members = in_camel_case(request.as_object().cloned().unwrap_or_default());
        let wanted = Fields::of(members.clone()).count("outputDimensionality", 1)?;
        dimensions.push(wanted.map(|wanted| wanted as usize));
        let known = ["content", "model", "outputDimensionality"];
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            if !ignored.contains(name) && ignored.len() < 8 {
                ignored.push(name.clone());
            }
        }
    }
    let model = model.to_owned();
    let request = EmbedRequest { id, model, inputs, wanted: Wanted::Vector, path: Vec::new() };
    Ok(EmbedCall { request, dimensions, is_batch, ignored })
}

impl EmbedCall {
    /// The answer's body.
    pub fn print(&self, embedded: &Embedded) -> Value {
        let print = |(vector, wanted): (&Vec<f32>, &Option<usize>)| match wanted {
            Some(wanted) if *wanted < vector.len() => json!({ "values": shorten(vector, *wanted) }),
            _ => json!({ "values": vector }),
        };
        let mut vectors = embedded.vectors.iter().zip(&self.dimensions).map(print);
        match self.is_batch {
            true => json!({ "embeddings": vectors.collect::<Vec<_>>() }),
            false => json!({ "embedding": vectors.next() }),
        }
    }
}
