//! Writes the body of chat.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::request::{
    AnswerFormat, Family, GenerateRequest, MediaKind, MediaSource, Message, Part, Role, Thinking,
    ToolChoice,
};
use crate::wire::writing::{
    CallIds, IdRule, Notes, add_extras, cannot, check_foreign_tools, check_local, number,
    only_chat, warn_of_part,
};
use crate::wire::{Call, Shape, Target};

/// Ways of drawing that the dialect has.
const SAMPLING: [&str; 6] =
    ["temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty"];

pub(super) fn call(request: &GenerateRequest, target: &Target) -> Result<Call> {
    let mut notes = Notes::default();
    check_local(request, &mut notes)?;
    check_foreign_tools(request, Family::Cohere, &mut notes)?;
    let messages = only_chat(request)?;
    let mut body = Map::new();
    body.insert("model".into(), target.model.as_str().into());
    let mut ids = CallIds::new(IdRule::Short);
    let messages: Vec<Value> = messages
        .iter()
        .map(|message| write_message(message, &mut ids, &mut notes))
        .collect::<Result<_>>()?;
    body.insert("messages".into(), messages.into());
    body.insert("stream".into(), (target.shape == Shape::Stream).into());
    write_sampling(request, &mut body, &mut notes);
    write_rules(request, &mut body, &mut notes)?;
    add_extras(request, (Family::Cohere, &[]), &mut body, &mut notes);
    let headers = Vec::new();
    Ok(Call { path: "/v2/chat".to_owned(), headers, body, warnings: notes.into_names() })
}

fn write_message(message: &Message, ids: &mut CallIds, notes: &mut Notes) -> Result<Value> {
    match message.role {
        Role::System => Ok(json!({ "role": "system", "content": texts(message, notes)? })),
        Role::User => Ok(json!({ "role": "user", "content": content(message, notes)? })),
        Role::Tool => {
            let (id, _) = ids.result(message);
            let content = texts(message, notes)?;
            Ok(json!({ "role": "tool", "tool_call_id": id, "content": content }))
        }
        Role::Assistant => {
            let mut written = Map::new();
            written.insert("role".into(), "assistant".into());
            let calls: Vec<Value> = message
                .calls()
                .map(|call| {
                    json!({ "id": ids.call(call), "type": "function",
                        "function": { "name": call.name, "arguments": call.arguments } })
                })
                .collect();
            let text = texts(message, notes)?;
            if !text.is_empty() || calls.is_empty() {
                written.insert("content".into(), text.into());
            }
            if !calls.is_empty() {
                written.insert("tool_calls".into(), calls.into());
            }
            Ok(written.into())
        }
    }
}

fn texts(message: &Message, notes: &mut Notes) -> Result<String> {
    for part in &message.parts {
        match part {
            Part::Media(_) => return Err(cannot("messages", "takes pictures of users alone")),
            part => warn_of_part(part, notes),
        }
    }
    Ok(message.joined_text())
}

fn content(message: &Message, notes: &mut Notes) -> Result<Value> {
    if message.media().next().is_none() {
        return Ok(texts(message, notes)?.into());
    }
    let mut parts = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        match part {
            Part::Text(text) => parts.push(json!({ "type": "text", "text": text })),
            Part::Media(media) if media.kind == MediaKind::Image => {
                let url = match &media.source {
                    MediaSource::Url(url) => url.clone(),
                    MediaSource::Bytes { mime, base64 } => format!("data:{mime};base64,{base64}"),
                    MediaSource::Id(..) => {
                        return Err(cannot("messages", "does not have that file"));
                    }
                };
                parts.push(json!({ "type": "image_url", "image_url": { "url": url } }));
            }
            Part::Media(_) => return Err(cannot("messages", "takes pictures, and no other files")),
            part => warn_of_part(part, notes),
        }
    }
    Ok(parts.into())
}

fn write_sampling(request: &GenerateRequest, body: &mut Map<String, Value>, notes: &mut Notes) {
    let sampling = &request.sampling;
    notes.sampling(sampling, &SAMPLING);
    let mut put = |name: &str, value: Option<Value>| {
        body.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("temperature", sampling.temperature.map(number));
    put("p", sampling.top_p.map(number));
    // 500 is the most there.
    put("k", sampling.top_k.map(|top| top.min(500).into()));
    put("seed", sampling.seed.map(|seed| (seed & 0x7fff_ffff).into()));
    put("frequency_penalty", sampling.frequency_penalty.map(number));
    put("presence_penalty", sampling.presence_penalty.map(number));
    put("max_tokens", request.max_tokens.map(Value::from));
    put("stop_sequences", (!request.stop.is_empty()).then(|| json!(request.stop)));
    if request.logprobs.is_some() {
        notes.warn("logprobs");
    }
}

fn write_rules(
    request: &GenerateRequest,
    body: &mut Map<String, Value>,
    notes: &mut Notes,
) -> Result<()> {
    let rules = &request.rules;
    if let Some(tools) = &rules.tools {
        let list: Vec<Value> = tools.list.iter().map(|tool| tool.description.clone()).collect();
        body.insert("tools".into(), list.into());
        let choice = match tools.choice {
            ToolChoice::Auto => None,
            ToolChoice::None => Some("NONE"),
            ToolChoice::Required => Some("REQUIRED"),
            ToolChoice::Named(_) => {
                return Err(cannot("tool_choice", "cannot be told to call this one tool"));
            }
        };
        body.extend(choice.map(|choice| ("tool_choice".to_owned(), choice.into())));
        if !tools.is_parallel {
            notes.warn("parallel_tool_calls");
        }
    }
    let format = match &rules.format {
        None => None,
        Some(AnswerFormat::JsonObject) => Some(json!({ "type": "json_object" })),
        Some(AnswerFormat::JsonSchema(schema)) => {
            Some(json!({ "type": "json_object", "json_schema": schema }))
        }
        Some(_) => return Err(cannot("response_format", "holds no answer to a grammar")),
    };
    body.extend(format.map(|format| ("response_format".to_owned(), format)));
    match rules.thinking {
        Thinking::AsModel => {}
        // Models that cannot think refuse either word.
        Thinking::Off | Thinking::IfAble(None) => {}
        Thinking::IfAble(Some(_)) => notes.warn("reasoning_effort"),
        Thinking::On(_) => {
            body.insert("thinking".into(), json!({ "type": "enabled" }));
        }
    }
    if !rules.template_options.is_empty() {
        notes.warn("chat_template_kwargs");
    }
    Ok(())
}
