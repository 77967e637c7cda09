//! Parses one message of a chat.

use serde_json::Value;

use super::fields::{Fields, must};
use super::{functions, parts, thoughts};
use crate::error::{Error, Result};
use crate::request::{MAX_CALLS, Message, Part, Role, Seal, Thought, ToolCall};

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
            (name, vec![(None, functions::parse_call(index, &path(name), value)?)])
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
    let refusal = text("refusal")?;
    let content = path(".content");
    let mut parts = thoughts::parse(reasoning, fields.get("reasoning_details"));
    match fields.get("content") {
        Some(Value::String(text)) => parts.push(Part::Text(text.clone())),
        Some(Value::Array(list)) if !list.is_empty() => {
            for (at, value) in list.iter().enumerate() {
                parts::parse(&format!("{content}[{at}]"), value, &mut parts)?;
            }
        }
        None if !calls.is_empty() || refusal.is_some() => {}
        _ => {
            return Err(Error::invalid(&content, must(&content, "a string or a list of parts")));
        }
    }
    parts.extend(refusal.map(Part::Refusal));
    for (seal, call) in calls {
        parts.extend(
            seal.map(|seal| Part::Thought(Thought { text: String::new(), seal: Some(seal) })),
        );
        parts.push(Part::Call(call));
    }
    parts.extend(fields.get("cache_control").cloned().map(Part::Cache));
    let (name, call_id) = (text("name")?, text("tool_call_id")?);
    Ok(Message { name, call_id, ..Message::of(role, parts) })
}

/// Calls, each behind the seal of its maker if it has one.
type Calls = Vec<(Option<Seal>, ToolCall)>;

fn parse_calls(path: &str, value: &Value) -> Result<Calls> {
    let Some(list) = value.as_array().filter(|list| list.len() <= MAX_CALLS) else {
        let what = format!("a list of at most {MAX_CALLS} calls");
        return Err(Error::invalid(path, must(path, &what)));
    };
    let parse = |(at, call): (usize, &Value)| {
        Ok((thoughts::seal_of_call(call), parse_call(&format!("{path}[{at}]"), call)?))
    };
    list.iter().enumerate().map(parse).collect()
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
