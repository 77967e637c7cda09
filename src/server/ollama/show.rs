//! `/api/show`: all that is known of a model.

use std::fmt::Write;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use hearth_gateway::request::RequestId;
use hearth_hub::Profile;
use hearth_hub::modelfile::quoted;
use serde_json::{Map, Value, json};

use super::library::{Named, read};
use super::{Details, time_of};
use crate::body::AnyBytes;
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::models::on_library;
use crate::state::AppState;

pub(crate) async fn show(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    AnyBytes(body): AnyBytes,
) -> Result<axum::Json<Value>> {
    let named: Named = read(&state, body, id).await?;
    if named.model().is_empty() {
        return Err(Failure::invalid("model is required"));
    }
    let served = state.gateway().model(&caller, named.model())?;
    let entry = state.library().find(&served.name)?;
    let (name, is_verbose) = (entry.name.clone(), named.verbose);
    let read = move |library: &hearth_hub::Library| {
        let (profile, facts) = (library.profile(&name)?, library.file_facts(&name, is_verbose)?);
        let own = facts.chat_template.clone();
        let beside = profile.template.clone();
        let template = match profile.is_asked_by_code && own.is_some() {
            true => own,
            false => library.chosen_template(own, beside),
        };
        Ok((profile, facts, template))
    };
    let (profile, facts, template) = on_library(&state, read).await?;
    let tensors = facts
        .tensors
        .into_iter()
        .map(|(name, kind, shape)| json!({ "name": name, "type": kind, "shape": shape }));
    let mut metadata = facts.metadata;
    if is_copilot(&headers) {
        metadata.insert("general.basename".to_owned(), named.model().into());
    }
    let mut shown = json!({
        "modelfile": modelfile(named.model(), &profile),
        "parameters": parameter_lines(&profile.parameters, ""),
        "template": template.unwrap_or_default(),
        "details": Details::of(&entry),
        "model_info": metadata,
        "tensors": tensors.collect::<Vec<_>>(),
        "capabilities": entry.description.capabilities,
        "modified_at": time_of(entry.description.created_at),
    });
    if !profile.licenses.is_empty() {
        shown["license"] = profile.licenses.join("\n").into();
    }
    if let Some(system) = &profile.system {
        shown["system"] = system.as_str().into();
    }
    if !profile.messages.is_empty() {
        shown["messages"] = json!(profile.messages);
    }
    Ok(axum::Json(shown))
}

/// GitHub's Copilot shows a model by its basename, so it is told the name that it asked for.
fn is_copilot(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    agent.is_some_and(|agent| agent.starts_with("GitHubCopilotChat/"))
}

/// One line per value, as Ollama aligns them.
fn parameter_lines(parameters: &Map<String, Value>, start: &str) -> String {
    let mut lines = String::new();
    for (name, value) in parameters {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            if !lines.is_empty() {
                lines.push('\n');
            }
            let name = format!("{start}{name}");
            // Writing to a text does not fail.
            let _ = match value.as_str() {
                _ if start.is_empty() => write!(lines, "{name:<30} {value}"),
                Some(text) => write!(lines, "{name} {}", quoted(text)),
                None => write!(lines, "{name} {value}"),
            };
        }
    }
    lines
}

/// A file from which the same model can be made.
fn modelfile(name: &str, profile: &Profile) -> String {
    let mut text = format!("# Modelfile of {name}, as Hearth shows it\n\nFROM {name}\n");
    let block = |word: &str, content: &str| format!("{word} \"\"\"{content}\"\"\"\n");
    if let Some(template) = &profile.template {
        text += &block("TEMPLATE", template);
    }
    if let Some(system) = &profile.system {
        text += &block("SYSTEM", system);
    }
    if !profile.parameters.is_empty() {
        text += &parameter_lines(&profile.parameters, "PARAMETER ");
        text.push('\n');
    }
    for message in &profile.messages {
        text += &block(&format!("MESSAGE {}", message.role), &message.content);
    }
    for license in &profile.licenses {
        text += &block("LICENSE", license);
    }
    text
}
