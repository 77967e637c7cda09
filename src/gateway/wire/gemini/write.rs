//! Writes the body of generateContent.

use serde_json::{Map, Value, json};

use super::{content, model_path, rules};
use crate::error::Result;
use crate::request::{Family, GenerateRequest, Input};
use crate::wire::writing::{
    CallIds, IdRule, Notes, add_extras, cannot, check_foreign_tools, check_local, number, turns,
};
use crate::wire::{Call, Shape, Target};

/// Ways of drawing that the dialect has.
const SAMPLING: [&str; 6] =
    ["temperature", "top_k", "top_p", "presence_penalty", "frequency_penalty", "seed"];
/// What a count looks at.
const COUNTED: [&str; 3] = ["contents", "systemInstruction", "tools"];

pub(super) fn call(request: &GenerateRequest, target: &Target) -> Result<Call> {
    let mut notes = Notes::default();
    check_local(request, &mut notes)?;
    check_foreign_tools(request, Family::Gemini, &mut notes)?;
    let Input::Chat(messages) = &request.input else {
        return Err(cannot("prompt", "answers chats only"));
    };
    if request.echo {
        return Err(cannot("echo", "repeats no prompt"));
    }
    let mut body = Map::new();
    let (system, turns) = turns(messages);
    let mut ids = CallIds::new(IdRule::Plain);
    let mut contents: Vec<Value> = Vec::with_capacity(turns.len());
    for (is_model, turn) in turns {
        let role = if is_model { "model" } else { "user" };
        let parts = content::write_turn(&turn, (&target.model, &mut ids), &mut notes)?;
        if !parts.is_empty() {
            contents.push(json!({ "role": role, "parts": parts }));
        }
    }
    body.insert("contents".into(), contents.into());
    if !system.is_empty() {
        let parts = content::write_turn(&system, (&target.model, &mut ids), &mut notes)?;
        body.insert("systemInstruction".into(), json!({ "parts": parts }));
    }
    rules::write_tools(request, &mut body, &mut notes);
    let mut config = Map::new();
    write_sampling(request, &mut config, &mut notes);
    rules::write_config(request, &target.model, &mut config, &mut notes)?;
    add_extras(request, (Family::Gemini, &[]), &mut body, &mut notes);
    // What the client itself wrote of it goes over what was made of it.
    if let Some(Value::Object(own)) = body.remove("generationConfig") {
        config.extend(own);
    }
    if !config.is_empty() {
        body.insert("generationConfig".into(), config.into());
    }
    let path = match target.shape {
        Shape::Whole => model_path(&target.model, "generateContent"),
        Shape::Stream => model_path(&target.model, "streamGenerateContent?alt=sse"),
    };
    Ok(Call { path, headers: Vec::new(), body, warnings: notes.into_names() })
}

/// The same prompt, to be counted.
pub(super) fn count(is_vertex: bool, request: &GenerateRequest, target: &Target) -> Result<Call> {
    let mut call = call(request, target)?;
    call.path = model_path(&target.model, "countTokens");
    call.body.retain(|name, _| COUNTED.contains(&name.as_str()));
    if !is_vertex {
        let model = target.model.strip_prefix("models/").unwrap_or(&target.model);
        call.body.insert("model".into(), format!("models/{model}").into());
        let inner = std::mem::take(&mut call.body);
        call.body.insert("generateContentRequest".into(), inner.into());
    }
    Ok(call)
}

fn write_sampling(request: &GenerateRequest, config: &mut Map<String, Value>, notes: &mut Notes) {
    let sampling = &request.sampling;
    notes.sampling(sampling, &SAMPLING);
    let mut put = |name: &str, value: Option<Value>| {
        config.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("temperature", sampling.temperature.map(number));
    put("topP", sampling.top_p.map(number));
    put("topK", sampling.top_k.map(Value::from));
    put("presencePenalty", sampling.presence_penalty.map(number));
    put("frequencyPenalty", sampling.frequency_penalty.map(number));
    // Seeds have 32 bits here.
    put("seed", sampling.seed.map(|seed| (seed & 0x7fff_ffff).into()));
    put("maxOutputTokens", request.max_tokens.map(Value::from));
    put("stopSequences", (!request.stop.is_empty()).then(|| json!(request.stop)));
    put("candidateCount", (request.choices > 1).then(|| request.choices.into()));
    if let Some(top) = request.logprobs {
        put("responseLogprobs", Some(true.into()));
        put("logprobs", (top > 0).then(|| top.into()));
    }
}
