//! Writes the body of a request for a message.

use serde_json::{Map, Value, json};

use super::{content, rules};
use crate::error::Result;
use crate::request::{Family, GenerateRequest};
use crate::wire::writing::{
    CallIds, IdRule, Notes, add_extras, check_foreign_tools, check_local, number, only_chat, turns,
};
use crate::wire::{Call, Shape, Target};

/// The version of the dialect.
const VERSION: &str = "2023-06-01";
/// Ways of drawing that the dialect has.
const SAMPLING: [&str; 3] = ["temperature", "top_k", "top_p"];
/// Fields of a request that its count does not take.
const NOT_COUNTED: [&str; 6] =
    ["max_tokens", "stop_sequences", "stream", "temperature", "top_k", "top_p"];

pub(super) fn call(request: &GenerateRequest, target: &Target) -> Result<Call> {
    let mut notes = Notes::default();
    check_local(request, &mut notes)?;
    check_foreign_tools(request, Family::Anthropic, &mut notes)?;
    let messages = only_chat(request)?;
    let mut body = Map::new();
    body.insert("model".into(), target.model.as_str().into());
    body.insert(
        "max_tokens".into(),
        request.max_tokens.unwrap_or(rules::DEFAULT_MAX_TOKENS).into(),
    );
    let (system, turns) = turns(messages);
    if messages
        .iter()
        .skip_while(|m| m.role == crate::request::Role::System)
        .any(|m| m.role == crate::request::Role::System)
    {
        // They all come first here.
        notes.warn("messages.system");
    }
    if let Some(system) = content::write_system(&system, &mut notes)? {
        body.insert("system".into(), system);
    }
    let mut ids = CallIds::new(IdRule::Plain);
    let mut written: Vec<Value> = Vec::with_capacity(turns.len());
    for (is_model, turn) in turns {
        let role = if is_model { "assistant" } else { "user" };
        let content = content::write_turn(&turn, &mut ids, &mut notes)?;
        if !content.is_empty() {
            written.push(json!({ "role": role, "content": content }));
        }
    }
    body.insert("messages".into(), written.into());
    write_sampling(request, &mut body, &mut notes);
    rules::write(request, &target.model, &mut body, &mut notes)?;
    if target.shape == Shape::Stream {
        body.insert("stream".into(), true.into());
    }
    add_extras(request, (Family::Anthropic, &[]), &mut body, &mut notes);
    let own = request.extras.iter().filter(|extras| extras.family == Family::Anthropic);
    let mut headers = vec![("anthropic-version", VERSION.to_owned())];
    headers.extend(own.flat_map(|extras| extras.headers.clone()));
    Ok(Call { path: "/messages".to_owned(), headers, body, warnings: notes.into_names() })
}

/// The same prompt, to be counted.
pub(super) fn count(request: &GenerateRequest, target: &Target) -> Result<Call> {
    let mut call = call(request, &Target { shape: Shape::Whole, ..target.clone() })?;
    call.path = "/messages/count_tokens".to_owned();
    call.body.retain(|name, _| !NOT_COUNTED.contains(&name.as_str()));
    Ok(call)
}

fn write_sampling(request: &GenerateRequest, body: &mut Map<String, Value>, notes: &mut Notes) {
    let sampling = &request.sampling;
    notes.sampling(sampling, &SAMPLING);
    if request.logprobs.is_some() {
        notes.warn("logprobs");
    }
    let mut put = |name: &str, value: Option<Value>| {
        body.extend(value.map(|value| (name.to_owned(), value)));
    };
    // This dialect ends at 1.
    if sampling.temperature.is_some_and(|temperature| temperature > 1.0) {
        notes.warn("temperature");
    }
    put("temperature", sampling.temperature.map(|value| number(value.min(1.0))));
    put("top_p", sampling.top_p.map(number));
    put("top_k", sampling.top_k.map(Value::from));
    put("stop_sequences", (!request.stop.is_empty()).then(|| json!(request.stop)));
}
