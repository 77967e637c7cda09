//! Writes the bodies of chat, generate and embed.

use serde_json::{Map, Value, json};

use super::text_of;
use crate::embedding::EmbedInput;
use crate::error::Result;
use crate::request::{
    AnswerFormat, Family, GenerateRequest, Input, MediaKind, MediaSource, Message, Overflow, Part,
    Role, Sampling, Thinking, ToolChoice,
};
use crate::wire::writing::{
    CallIds, IdRule, Notes, arguments, cannot, check_foreign_tools, number, warn_of_part,
};
use crate::wire::{Call, EmbedCall, Shape, Target};

/// Ways of drawing that the dialect has.
const SAMPLING: [&str; 8] = [
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
];

pub(super) fn call(request: &GenerateRequest, target: &Target) -> Result<Call> {
    let mut notes = Notes::default();
    check(request, &mut notes)?;
    let mut body = Map::new();
    body.insert("model".into(), target.model.as_str().into());
    let path = match &request.input {
        Input::Chat(messages) => {
            body.insert("messages".into(), write_messages(messages, &mut notes)?.into());
            "/api/chat"
        }
        Input::Text(text) => {
            body.insert("prompt".into(), text.as_str().into());
            body.insert("raw".into(), true.into());
            "/api/generate"
        }
        Input::Infill { prompt, suffix } => {
            body.insert("prompt".into(), prompt.as_str().into());
            body.insert("suffix".into(), suffix.as_str().into());
            "/api/generate"
        }
        Input::Tokens(_) => return Err(cannot("prompt", "takes texts, not tokens")),
    };
    if let Some(template) = &request.rules.template {
        body.insert("template".into(), template.as_str().into());
    }
    body.insert("stream".into(), (target.shape == Shape::Stream).into());
    if request.window.overflow == Overflow::Refuse {
        body.insert("truncate".into(), false.into());
    }
    write_rules(request, &mut body, &mut notes)?;
    let mut options = write_options(request, &mut notes);
    for (name, value) in request.extras.iter().flat_map(|extras| &extras.raw) {
        let is_same = request.extras.as_ref().is_some_and(|e| e.family == Family::Ollama);
        match (is_same, name.as_str(), value) {
            (true, "options", Value::Object(own)) => options.extend(own.clone()),
            (true, name, value) => {
                body.insert(name.to_owned(), value.clone());
            }
            (false, ..) => {}
        }
    }
    if !options.is_empty() {
        body.insert("options".into(), options.into());
    }
    let headers = Vec::new();
    Ok(Call { path: path.to_owned(), headers, body, warnings: notes.into_names() })
}

/// A call for the vectors of some texts.
pub(super) fn embed(target: &Target, inputs: &[EmbedInput]) -> Result<EmbedCall> {
    let texts: Vec<(&str, bool)> = inputs.iter().map(text_of).collect::<Result<_>>()?;
    let cuts = texts.iter().all(|(_, cuts)| *cuts);
    let texts: Vec<&str> = texts.into_iter().map(|(text, _)| text).collect();
    let mut body = Map::new();
    body.insert("model".into(), target.model.as_str().into());
    body.insert("input".into(), json!(texts));
    body.insert("truncate".into(), cuts.into());
    let (path, headers, warnings) = ("/api/embed".to_owned(), Vec::new(), Vec::new());
    Ok(EmbedCall { call: Call { path, headers, body, warnings }, texts: inputs.len() })
}

fn check(request: &GenerateRequest, notes: &mut Notes) -> Result<()> {
    check_foreign_tools(request, Family::Ollama, notes)?;
    if !request.window.before.is_empty() {
        return Err(cannot("context", "does not go on with tokens of an earlier answer"));
    }
    if request.choices > 1 {
        return Err(cannot("n", "gives one answer at a time"));
    }
    if request.echo {
        return Err(cannot("echo", "repeats no prompt"));
    }
    notes.sampling(&request.sampling, &SAMPLING);
    if !request.rules.template_options.is_empty() {
        notes.warn("chat_template_kwargs");
    }
    // What was an option of Ollama's goes with the others.
    if let Some(extras) = &request.extras
        && extras.family != Family::Ollama
    {
        extras.fields.keys().for_each(|name| notes.warn(name));
    }
    Ok(())
}

fn write_messages(messages: &[Message], notes: &mut Notes) -> Result<Vec<Value>> {
    let mut ids = CallIds::new(IdRule::Short);
    messages.iter().map(|message| write_message(message, &mut ids, notes)).collect()
}

fn write_message(message: &Message, ids: &mut CallIds, notes: &mut Notes) -> Result<Value> {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let mut written = Map::new();
    written.insert("role".into(), role.into());
    written.insert("content".into(), message.joined_text().into());
    let (mut images, mut calls) = (Vec::new(), Vec::new());
    for part in &message.parts {
        match part {
            Part::Media(media) => match (media.kind, &media.source) {
                (MediaKind::Image, MediaSource::Bytes { base64, .. }) => {
                    images.push(Value::from(base64.as_str()));
                }
                (MediaKind::Image, MediaSource::Url(_)) => {
                    return Err(cannot("messages", "fetches no URL of a picture"));
                }
                _ => return Err(cannot("messages", "takes pictures, and no other files")),
            },
            Part::Call(call) => {
                let id = ids.call(call);
                let index = calls.len();
                let function =
                    json!({ "index": index, "name": call.name, "arguments": arguments(call) });
                calls.push(json!({ "id": id, "function": function }));
            }
            // Thoughts go without their seals.
            Part::Thought(thought) if !thought.text.is_empty() => {}
            other => warn_of_part(other, notes),
        }
    }
    let mut put = |name: &str, value: Option<Value>| {
        written.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("thinking", message.reasoning().map(Value::from));
    put("images", (!images.is_empty()).then(|| images.into()));
    put("tool_calls", (!calls.is_empty()).then(|| calls.into()));
    if message.role == Role::Tool {
        let (id, name) = ids.result(message);
        put("tool_call_id", Some(id.into()));
        put("tool_name", (!name.is_empty()).then(|| name.into()));
    }
    Ok(written.into())
}

fn write_rules(
    request: &GenerateRequest,
    body: &mut Map<String, Value>,
    notes: &mut Notes,
) -> Result<()> {
    let rules = &request.rules;
    let mut put = |name: &str, value: Value| {
        body.insert(name.to_owned(), value);
    };
    if let Some(tools) = &rules.tools {
        match tools.choice {
            ToolChoice::None => notes.warn("tools"),
            ToolChoice::Auto => {
                if tools.list.iter().any(|tool| tool.cache.is_some()) {
                    notes.warn("tools.cache_control");
                }
                if !tools.is_parallel {
                    notes.warn("parallel_tool_calls");
                }
                put("tools", tools.list.iter().map(|tool| tool.description.clone()).collect());
            }
            ToolChoice::Required | ToolChoice::Named(_) => {
                return Err(cannot("tool_choice", "cannot be told to call a tool"));
            }
        }
    }
    match &rules.format {
        None => {}
        Some(AnswerFormat::JsonObject) => put("format", "json".into()),
        Some(AnswerFormat::JsonSchema(schema)) => put("format", schema.clone()),
        Some(_) => return Err(cannot("response_format", "holds no answer to a grammar")),
    }
    match rules.thinking {
        Thinking::AsModel | Thinking::IfAble(None) => {}
        Thinking::Off => put("think", false.into()),
        Thinking::On(None) => put("think", true.into()),
        Thinking::On(Some(effort)) => put("think", effort.name().into()),
        // A model that cannot think would refuse.
        Thinking::IfAble(Some(_)) => notes.warn("reasoning_effort"),
    }
    if let Some(top) = request.logprobs {
        put("logprobs", true.into());
        if top > 0 {
            put("top_logprobs", top.into());
        }
    }
    Ok(())
}

fn write_options(request: &GenerateRequest, notes: &mut Notes) -> Map<String, Value> {
    let Sampling { temperature, top_k, top_p, min_p, repetition_penalty, .. } = request.sampling;
    let Sampling { presence_penalty, frequency_penalty, seed, .. } = request.sampling;
    let mut options = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        options.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("num_ctx", request.window.limit_tokens.map(Value::from));
    // 0 means for ever there.
    if request.max_tokens == Some(0) {
        notes.warn("max_tokens");
    }
    put("num_predict", request.max_tokens.map(|most| most.max(1).into()));
    put("temperature", temperature.map(number));
    put("top_k", top_k.map(Value::from));
    put("top_p", top_p.map(number));
    put("min_p", min_p.map(number));
    put("repeat_penalty", repetition_penalty.map(number));
    put("presence_penalty", presence_penalty.map(number));
    put("frequency_penalty", frequency_penalty.map(number));
    put("seed", seed.map(|seed| seed.cast_signed().into()));
    put("stop", (!request.stop.is_empty()).then(|| json!(request.stop)));
    options
}
