//! `/api/embed` and the older `/api/embeddings`: parses the body, prints the vectors.

use std::time::Duration;

use serde_json::{Value, json};

use super::KeepAlive;
use super::print::nanos;
use super::shared::{keep_alive, model, parse_body};
use crate::dialect::fields::Fields;
use crate::embedding::{EmbedInput, EmbedRequest, Embedded, MAX_TEXTS, Wanted, shorten};
use crate::error::{Error, Result};
use crate::request::RequestId;

/// Longest vector that can be asked for; longer than any model's.
const MAX_DIMENSIONS: i64 = 1 << 17;

/// A parsed request body.
#[derive(Clone, Debug)]
pub struct EmbedCall {
    /// Without texts it asks for nothing but that the model be ready.
    pub request: EmbedRequest,
    pub keep_alive: Option<KeepAlive>,
    dimensions: Option<usize>,
    /// `/api/embeddings`, which answers with one vector.
    is_single: bool,
}

/// Parses the body of `/api/embed`.
pub fn parse_embed(body: &[u8], id: RequestId) -> Result<EmbedCall> {
    let mut fields = parse_body(body)?;
    let model = model(&fields)?;
    if model.is_empty() {
        return Err(Error::NoModel(model));
    }
    let cuts = match fields.get("truncate") {
        None => true,
        Some(_) => fields.flag("truncate")?,
    };
    let wrong = || Error::invalid("input", "invalid input type");
    let texts: Vec<String> = match fields.take("input") {
        None => Vec::new(),
        Some(Value::String(text)) if text.is_empty() => Vec::new(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(texts)) if texts.len() <= MAX_TEXTS => texts
            .into_iter()
            .map(|text| text.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect::<Result<_>>()?,
        Some(Value::Array(_)) => {
            let message = format!("input may have at most {MAX_TEXTS} entries");
            return Err(Error::invalid("input", message));
        }
        Some(_) => return Err(wrong()),
    };
    let wrap = |text| if cuts { EmbedInput::Cut(text) } else { EmbedInput::Text(text) };
    let inputs = texts.into_iter().map(wrap).collect();
    // Ollama takes 0 for all.
    let dimensions = fields.whole("dimensions", 0..=MAX_DIMENSIONS)?;
    let dimensions = dimensions.and_then(|number| usize::try_from(number).ok());
    call(&fields, id, model, inputs).map(|call| EmbedCall {
        dimensions: dimensions.filter(|number| *number > 0),
        is_single: false,
        ..call
    })
}

/// Parses the body of `/api/embeddings`.
pub fn parse_embeddings(body: &[u8], id: RequestId) -> Result<EmbedCall> {
    let fields = parse_body(body)?;
    let model = model(&fields)?;
    if model.is_empty() {
        return Err(Error::invalid("model", "model is required"));
    }
    let prompt = fields.text("prompt")?.unwrap_or_default();
    let inputs = (!prompt.is_empty()).then(|| EmbedInput::Cut(prompt.to_owned()));
    call(&fields, id, model, inputs.into_iter().collect())
}

fn call(
    fields: &Fields,
    id: RequestId,
    model: String,
    inputs: Vec<EmbedInput>,
) -> Result<EmbedCall> {
    let request = EmbedRequest { id, model, inputs, wanted: Wanted::Vector, path: Vec::new() };
    let keep_alive = keep_alive(fields)?;
    Ok(EmbedCall { request, keep_alive, dimensions: None, is_single: true })
}

impl EmbedCall {
    /// The answer's body; `total` and `load` were measured.
    pub fn print(&self, embedded: &Embedded, total: Duration, load: Duration) -> Result<Value> {
        if self.is_single {
            let vector = embedded.vectors.first().map(Vec::as_slice).unwrap_or_default();
            return Ok(json!({ "embedding": vector }));
        }
        let vectors = embedded.vectors.iter().map(|vector| match self.dimensions {
            // More than there are is all that there is, as in Ollama.
            Some(wanted) if wanted < vector.len() => shorten(vector, wanted),
            _ => vector.clone(),
        });
        let mut answer = json!({
            "model": self.request.model,
            "embeddings": vectors.collect::<Vec<_>>(),
            "total_duration": nanos(total),
            "load_duration": nanos(load),
            "prompt_eval_count": embedded.usage.prompt_tokens,
        });
        if embedded.usage.dropped_tokens > 0 {
            answer["truncated"] = true.into();
            answer["prompt_tokens_dropped"] = embedded.usage.dropped_tokens.into();
        }
        Ok(answer)
    }
}
