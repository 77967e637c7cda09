//! Writes the bodies of chat completions and completions.

use serde_json::{Map, Value, json};

use super::messages::write_messages;
use super::quirks::Quirks;
use super::rules;
use crate::error::Result;
use crate::request::{Family, GenerateRequest, Input, Sampling};
use crate::wire::writing::{Notes, add_extras, cannot, check_foreign_tools, check_local, number};
use crate::wire::{Call, Shape, Target};

/// Fields that other dialects of OpenAI's share with this one.
const SHARED: [&str; 4] = ["metadata", "prompt_cache_key", "safety_identifier", "user"];
/// Tiers that cost more; they are an admin's to allow, by the channel's overrides.
const DEAR_TIERS: [&str; 2] = ["priority", "scale"];

pub(super) fn call(quirks: &Quirks, request: &GenerateRequest, target: &Target) -> Result<Call> {
    let mut notes = Notes::default();
    check_local(request, &mut notes)?;
    check_foreign_tools(request, Family::OpenAi, &mut notes)?;
    let mut body = Map::new();
    body.insert("model".into(), target.model.as_str().into());
    let path = match &request.input {
        Input::Chat(messages) => {
            if request.echo {
                return Err(cannot("echo", "repeats no prompt of a chat"));
            }
            let messages = write_messages(quirks, messages, &mut notes)?;
            body.insert("messages".into(), messages.into());
            "/chat/completions"
        }
        _ if !quirks.completes => return Err(cannot("prompt", "answers chats only")),
        input => {
            write_prompt(request, input, &mut body);
            "/completions"
        }
    };
    write_limits(quirks, request, &mut body, &mut notes)?;
    rules::write(quirks, (request, target), &mut body, &mut notes)?;
    if target.shape == Shape::Stream {
        body.insert("stream".into(), true.into());
        if quirks.asks_usage {
            body.insert("stream_options".into(), json!({ "include_usage": true }));
        }
    }
    add_extras(request, (Family::OpenAi, &SHARED), &mut body, &mut notes);
    if body.get("service_tier").and_then(Value::as_str).is_some_and(|t| DEAR_TIERS.contains(&t)) {
        body.remove("service_tier");
        notes.warn("service_tier");
    }
    rules::tidy_raw(quirks, &mut body, &mut notes);
    let warnings = notes.into_names();
    Ok(Call { path: path.to_owned(), headers: Vec::new(), body, warnings })
}

fn write_prompt(request: &GenerateRequest, input: &Input, body: &mut Map<String, Value>) {
    match input {
        Input::Text(text) => body.insert("prompt".into(), text.as_str().into()),
        Input::Tokens(tokens) => body.insert("prompt".into(), json!(tokens)),
        Input::Infill { prompt, suffix } => {
            body.insert("suffix".into(), suffix.as_str().into());
            body.insert("prompt".into(), prompt.as_str().into())
        }
        Input::Chat(_) => None,
    };
    if request.echo {
        body.insert("echo".into(), true.into());
    }
}

fn write_limits(
    quirks: &Quirks,
    request: &GenerateRequest,
    body: &mut Map<String, Value>,
    notes: &mut Notes,
) -> Result<()> {
    let knows = |name: &str| quirks.sampling.contains(&name);
    let is_chat = matches!(request.input, Input::Chat(_));
    if let Some(most) = request.max_tokens {
        let name = if is_chat { quirks.max_tokens } else { "max_tokens" };
        body.insert(name.into(), most.into());
    }
    if !request.stop.is_empty() {
        body.insert("stop".into(), json!(request.stop));
    }
    if request.choices > 1 {
        if !knows("n") {
            return Err(cannot("n", "gives one answer at a time"));
        }
        body.insert("n".into(), request.choices.into());
    }
    match (request.logprobs, knows("logprobs")) {
        (None, _) => {}
        (Some(_), false) => notes.warn("logprobs"),
        (Some(top), true) if is_chat => {
            body.insert("logprobs".into(), true.into());
            if top > 0 {
                body.insert("top_logprobs".into(), top.into());
            }
        }
        (Some(top), true) => {
            body.insert("logprobs".into(), top.into());
        }
    }
    write_sampling(quirks, &request.sampling, body);
    notes.sampling(&request.sampling, quirks.sampling);
    Ok(())
}

fn write_sampling(quirks: &Quirks, sampling: &Sampling, body: &mut Map<String, Value>) {
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value
            && quirks.sampling.contains(&name)
        {
            let name = if name == "seed" { quirks.seed } else { name };
            body.insert(name.to_owned(), value);
        }
    };
    put("temperature", sampling.temperature.map(number));
    put("top_p", sampling.top_p.map(number));
    put("top_k", sampling.top_k.map(Value::from));
    put("min_p", sampling.min_p.map(number));
    put("repetition_penalty", sampling.repetition_penalty.map(number));
    put("presence_penalty", sampling.presence_penalty.map(number));
    put("frequency_penalty", sampling.frequency_penalty.map(number));
    // Negative seeds came in as such.
    put("seed", sampling.seed.map(|seed| seed.cast_signed().into()));
    let biases = &sampling.logit_bias;
    let biases: Map<String, Value> =
        biases.iter().map(|(id, bias)| (id.to_string(), number(*bias))).collect();
    put("logit_bias", (!biases.is_empty()).then_some(Value::Object(biases)));
}
