//! Parses one message of a chat.

use serde_json::{Map, Value};

use super::fields::{Fields, must};
use super::functions;
use crate::error::{Error, Result};
use crate::request::{MAX_CALLS, Message, Part, Role, ToolCall};

pub(super) fn parse_message(index: usize, value: Value) -> Result<Message> {
    let path = |field: &str| format!("messages[{index}]{field}");
    let Value::Object(members) = value else {
        return Err(Error::invalid(&path(""), must(&path(""), "an object")));
    };
    let fields = Fields::of(members);
    let roles = "one of system, developer, user, assistant, tool, function";
    let role = match fields.get("role").and_then(Value::as_str) {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool" | "function") => Role::Tool,
        _ => return Err(Error::invalid(&path(".role"), must(&path(".role"), roles))),
    };
    let text = |field: &str| match fields.get(field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => {
            let path = path(&format!(".{field}"));
            Err(Error::invalid(&path, must(&path, "a string")))
        }
    };
    let (name, calls) = match (fields.get("tool_calls"), fields.get("function_call")) {
        (None, Some(value)) => {
            let name = ".function_call";
            (name, vec![functions::parse_call(index, &path(name), value)?])
        }
        (Some(value), _) => (".tool_calls", parse_calls(&path(".tool_calls"), value)?),
        (None, None) => (".tool_calls", Vec::new()),
    };
    if role != Role::Assistant && !calls.is_empty() {
        let path = path(name);
        return Err(Error::invalid(&path, format!("'{path}' may only be the assistant's.")));
    }
    // The second name is what some clients and servers write.
    let reasoning = match text("reasoning_content")? {
        Some(text) => Some(text),
        None => text("reasoning")?,
    };
    let content = path(".content");
    let parts = match fields.get("content") {
        Some(Value::String(text)) => vec![Part::Text(text.clone())],
        Some(Value::Array(parts)) if !parts.is_empty() => parts
            .iter()
            .enumerate()
            .map(|(part, value)| parse_part(&format!("{content}[{part}]"), value))
            .collect::<Result<_>>()?,
        None if !calls.is_empty() => Vec::new(),
        _ => {
            return Err(Error::invalid(&content, must(&content, "a string or a list of parts")));
        }
    };
    let (name, call_id) = (text("name")?, text("tool_call_id")?);
    Ok(Message { role, parts, name, reasoning, calls, call_id })
}

fn parse_calls(path: &str, value: &Value) -> Result<Vec<ToolCall>> {
    let Some(list) = value.as_array().filter(|list| list.len() <= MAX_CALLS) else {
        let what = format!("a list of at most {MAX_CALLS} calls");
        return Err(Error::invalid(path, must(path, &what)));
    };
    list.iter().enumerate().map(|(at, call)| parse_call(&format!("{path}[{at}]"), call)).collect()
}

fn parse_call(path: &str, call: &Value) -> Result<ToolCall> {
    let text = |pointer: &str| {
        let path = format!("{path}{}", pointer.replace('/', "."));
        let text = call.pointer(pointer).and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| Error::invalid(&path, must(&path, "a string")))
    };
    let arguments = match call.pointer("/function/arguments") {
        // Some clients send what they parsed.
        Some(object @ Value::Object(_)) => object.to_string(),
        _ => text("/function/arguments")?,
    };
    Ok(ToolCall { id: text("/id")?, name: text("/function/name")?, arguments })
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
