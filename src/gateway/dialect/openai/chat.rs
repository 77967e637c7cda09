//! Parses the body of `/v1/chat/completions`.

use serde_json::{Map, Value};

use super::fields::{Fields, must};
use super::{Call, Tier};
use crate::error::{Error, Result};
use crate::request::{GenerateRequest, Input, MAX_LOGPROBS, Message, Part, RequestId, Role};

/// Most messages of one chat.
const MAX_MESSAGES: usize = 10_000;

/// Parses a chat. Every number of the result is in the range that [`GenerateRequest`] states.
pub fn parse_chat(body: &[u8], id: RequestId) -> Result<Call> {
    let mut fields = Fields::parse(body)?;
    let model = fields.model()?;
    let is_empty_list = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    for name in ["tools", "functions"] {
        fields.refuse(name, is_empty_list)?;
    }
    fields.refuse("response_format", |value| value["type"] == "text")?;
    fields.refuse("modalities", |value| *value == serde_json::json!(["text"]))?;
    fields.refuse("audio", |_| false)?;
    fields.refuse("web_search_options", |_| false)?;
    let messages = parse_messages(fields.take("messages"))?;
    let tier = fields.tier()?;
    let request = GenerateRequest {
        id,
        model,
        input: Input::Chat(messages),
        priority: tier.map_or_else(Default::default, Tier::priority),
        sampling: fields.sampling()?,
        max_tokens: match fields.count("max_completion_tokens", 1)? {
            Some(tokens) => Some(tokens),
            None => fields.count("max_tokens", 1)?,
        },
        stop: fields.stops()?,
        choices: fields.choices()?,
        logprobs: parse_logprobs(&fields)?,
        echo: false,
    };
    Ok(Call { requests: vec![request], stream: fields.stream()?, tier })
}

/// `logprobs` asks for them, `top_logprobs` says how many alternatives.
fn parse_logprobs(fields: &Fields) -> Result<Option<u8>> {
    let top = fields.whole("top_logprobs", 0..=i64::from(MAX_LOGPROBS))?;
    if fields.flag("logprobs")? {
        return Ok(Some(top.and_then(|top| u8::try_from(top).ok()).unwrap_or(0)));
    }
    match top {
        None | Some(0) => Ok(None),
        Some(_) => {
            Err(Error::invalid("top_logprobs", "'top_logprobs' needs 'logprobs' to be true."))
        }
    }
}

fn parse_messages(value: Option<Value>) -> Result<Vec<Message>> {
    let Some(Value::Array(messages)) = value else {
        return Err(Error::invalid("messages", must("messages", "a list of messages")));
    };
    if messages.is_empty() {
        return Err(Error::invalid("messages", "'messages' must not be empty."));
    }
    if messages.len() > MAX_MESSAGES {
        let message = format!("'messages' may have at most {MAX_MESSAGES} entries.");
        return Err(Error::invalid("messages", message));
    }
    messages.into_iter().enumerate().map(|(index, value)| parse_message(index, value)).collect()
}

fn parse_message(index: usize, value: Value) -> Result<Message> {
    let path = |field: &str| format!("messages[{index}]{field}");
    let Value::Object(members) = value else {
        return Err(Error::invalid(&path(""), must(&path(""), "an object")));
    };
    let fields = Fields::of(members);
    let roles = "one of system, developer, user, assistant, tool";
    let role = match fields.get("role").and_then(Value::as_str) {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool") => Role::Tool,
        _ => return Err(Error::invalid(&path(".role"), must(&path(".role"), roles))),
    };
    for name in ["tool_calls", "function_call"] {
        if fields.get(name).is_some_and(|value| value.as_array().is_none_or(|v| !v.is_empty())) {
            let name = path(&format!(".{name}"));
            let message = format!("'{name}' is not supported by this version of Hearth.");
            return Err(Error::invalid(&name, message));
        }
    }
    let name = match fields.get("name") {
        None => None,
        Some(Value::String(name)) => Some(name.clone()),
        Some(_) => return Err(Error::invalid(&path(".name"), must(&path(".name"), "a string"))),
    };
    let content = path(".content");
    let parts = match fields.get("content") {
        Some(Value::String(text)) => vec![Part::Text(text.clone())],
        Some(Value::Array(parts)) if !parts.is_empty() => parts
            .iter()
            .enumerate()
            .map(|(part, value)| parse_part(&format!("{content}[{part}]"), value))
            .collect::<Result<_>>()?,
        _ => {
            return Err(Error::invalid(&content, must(&content, "a string or a list of parts")));
        }
    };
    Ok(Message { role, parts, name })
}

fn parse_part(path: &str, value: &Value) -> Result<Part> {
    let empty = Map::new();
    let part = value.as_object().unwrap_or(&empty);
    match part.get("type").and_then(Value::as_str) {
        Some("text" | "input_text") => match part.get("text").and_then(Value::as_str) {
            Some(text) => Ok(Part::Text(text.to_owned())),
            None => {
                let path = format!("{path}.text");
                Err(Error::invalid(&path, must(&path, "a string")))
            }
        },
        Some(kind) => {
            let kind: String = kind.chars().take(40).collect();
            let message = format!(
                "A content part of type '{kind}' is not supported by this version of Hearth; \
                 only 'text' is."
            );
            Err(Error::invalid(path, message))
        }
        None => Err(Error::invalid(path, must(path, "an object with a 'type'"))),
    }
}
