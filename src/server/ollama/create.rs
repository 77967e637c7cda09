//! `/api/create`: makes a model out of one that is there, or of files that were sent.

use std::collections::{BTreeMap, HashMap};

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use hearth_gateway::dialect::ollama::check_parameters;
use hearth_gateway::request::RequestId;
use hearth_hub::{Base, Changes, Digest, ModelName, ProfileMessage};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::library::read;
use crate::body::AnyBytes;
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::models::on_library;
use crate::state::AppState;

/// Most messages and licences of one model.
const MAX_TEXTS: usize = 32;

/// The body; what is not known is passed over, as in Ollama.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    model: String,
    name: String,
    from: String,
    files: BTreeMap<String, String>,
    adapters: BTreeMap<String, String>,
    template: String,
    system: String,
    license: Value,
    parameters: Option<Map<String, Value>>,
    messages: Vec<ProfileMessage>,
    quantize: String,
    quantization: String,
    stream: Option<bool>,
}

pub(crate) async fn create(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    AnyBytes(body): AnyBytes,
) -> Result<Response> {
    let wanted: Wanted = read(&state, body, id).await?;
    let name = if wanted.model.is_empty() { &wanted.name } else { &wanted.model }.clone();
    if name.parse::<ModelName>().is_err() {
        return Err(Failure::invalid("invalid model name"));
    }
    let base = match (wanted.from.as_str(), wanted.files.is_empty()) {
        ("", true) => return Err(Failure::invalid("neither 'from' or 'files' was specified")),
        ("", false) => Base::Files(digests(&wanted.files)?),
        (from, true) => {
            let served = state.gateway().model(&caller, from)?;
            Base::Model(served.name.parse::<ModelName>()?)
        }
        (_, false) => return Err(Failure::invalid("'from' and 'files' exclude each other")),
    };
    let is_streamed = wanted.stream.unwrap_or(true);
    let changes = wanted.changes()?;
    let keeps_template = changes.template.is_some();
    let now = state.now();
    on_library(&state, move |library| library.create(&name, &base, &changes, now)).await?;
    if !is_streamed {
        return Ok(axum::Json(json!({ "status": "success" })).into_response());
    }
    let mut lines = String::new();
    let template = "the template is kept but not run: this version renders the model's own";
    for status in
        keeps_template.then_some(template).into_iter().chain(["writing manifest", "success"])
    {
        lines += &format!("{}\n", json!({ "status": status }));
    }
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, kind)], lines).into_response())
}

fn digests(files: &BTreeMap<String, String>) -> Result<HashMap<String, Digest>> {
    let digest =
        |text: &String| Digest::parse(text).map_err(|_| Failure::invalid("invalid digest format"));
    files.iter().map(|(name, text)| Ok((name.clone(), digest(text)?))).collect()
}

impl Wanted {
    fn changes(self) -> Result<Changes> {
        if !self.adapters.is_empty() {
            return Err(Failure::invalid("adapters are not supported by this version of Hearth"));
        }
        if !(self.quantize.is_empty() && self.quantization.is_empty()) {
            let message = "quantization is not supported by this version of Hearth; \
                           create the model from a file that is quantized already";
            return Err(Failure::invalid(message));
        }
        let parameters = self.parameters.unwrap_or_default();
        check_parameters(&parameters)?;
        let licenses = match self.license {
            Value::Null => Vec::new(),
            Value::String(text) if text.is_empty() => Vec::new(),
            Value::String(text) => vec![text],
            Value::Array(list) => list
                .into_iter()
                .map(|text| match text {
                    Value::String(text) => Ok(text),
                    _ => Err(Failure::invalid("license must be a string or a list of strings")),
                })
                .collect::<Result<_>>()?,
            _ => return Err(Failure::invalid("license must be a string or a list of strings")),
        };
        let roles = ["system", "user", "assistant"];
        if self.messages.iter().any(|message| !roles.contains(&message.role.as_str())) {
            return Err(Failure::invalid("a message's role must be system, user or assistant"));
        }
        if licenses.len() > MAX_TEXTS || self.messages.len() > MAX_TEXTS {
            let message = format!("a model carries at most {MAX_TEXTS} messages and licenses");
            return Err(Failure::invalid(message));
        }
        let given = |text: String| (!text.is_empty()).then_some(text);
        Ok(Changes {
            system: given(self.system),
            template: given(self.template),
            parameters,
            messages: (!self.messages.is_empty()).then_some(self.messages),
            licenses,
        })
    }
}
