//! Reads messages and their blocks. One message may become several: results of tools are messages
//! of their own here.

use serde_json::{Map, Value};

use super::blocks;
use crate::error::{Error, Result};
use crate::request::{MAX_CALLS, Message, Part, Role};

/// `system`: a text or blocks of text.
pub(super) fn parse_system(value: Option<Value>) -> Result<Option<Message>> {
    let Some(value) = value else { return Ok(None) };
    let parts = texts("system", value)?;
    Ok((!parts.is_empty()).then(|| Message::of(Role::System, parts)))
}

/// One entry of `messages`.
pub(super) fn parse_message(index: usize, mut value: Value) -> Result<Vec<Message>> {
    let path = format!("messages.{index}.content");
    let role = match value["role"].as_str() {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => Role::System,
        _ => {
            let path = format!("messages.{index}.role");
            return Err(wrong(&path, "must be \"user\" or \"assistant\""));
        }
    };
    let content = value["content"].take();
    match role {
        Role::Assistant => assistant(&path, content).map(|one| vec![one]),
        Role::System => Ok(vec![Message::of(role, texts(&path, content)?)]),
        Role::User | Role::Tool => user(&path, content),
    }
}

fn user(path: &str, content: Value) -> Result<Vec<Message>> {
    let mut results = Vec::new();
    let mut parts = Vec::new();
    for (at, block) in blocks_of(path, content)?.into_iter().enumerate() {
        let path = format!("{path}.{at}");
        match block["type"].as_str() {
            Some("tool_result") => results.push(tool_result(&path, block)?),
            _ => blocks::parse_user(&path, block, &mut parts)?,
        }
    }
    if parts.is_empty() && results.is_empty() {
        return Err(wrong(path, "must not be empty"));
    }
    if !parts.is_empty() {
        // Behind the results: what is said comes after what was found.
        results.push(Message::of(Role::User, parts));
    }
    Ok(results)
}

fn tool_result(path: &str, mut block: Value) -> Result<Message> {
    let Some(id) = block["tool_use_id"].as_str().map(str::to_owned) else {
        return Err(wrong(&format!("{path}.tool_use_id"), "must be a string"));
    };
    let mut parts = Vec::new();
    match block["content"].take() {
        Value::Null => {}
        content => {
            let path = format!("{path}.content");
            for (at, inner) in blocks_of(&path, content)?.into_iter().enumerate() {
                blocks::parse_user(&format!("{path}.{at}"), inner, &mut parts)?;
            }
        }
    }
    blocks::take_cache(&mut block, &mut parts);
    let is_error = block["is_error"] == true;
    Ok(Message { call_id: Some(id), is_error, ..Message::of(Role::Tool, parts) })
}

fn assistant(path: &str, content: Value) -> Result<Message> {
    let mut message = Message::of(Role::Assistant, Vec::new());
    for (at, block) in blocks_of(path, content)?.into_iter().enumerate() {
        blocks::parse_assistant(&format!("{path}.{at}"), block, &mut message.parts)?;
    }
    if message.calls().count() > MAX_CALLS {
        return Err(wrong(path, &format!("may have at most {MAX_CALLS} calls")));
    }
    if message.parts.is_empty() {
        message.parts.push(Part::Text(String::new()));
    }
    Ok(message)
}

/// Blocks of text, with their marks.
fn texts(path: &str, content: Value) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for (at, block) in blocks_of(path, content)?.into_iter().enumerate() {
        let path = format!("{path}.{at}");
        blocks::parse_user(&path, block, &mut parts)?;
        if !matches!(parts.last(), Some(Part::Text(_) | Part::Cache(_) | Part::Foreign(_))) {
            return Err(wrong(&path, "must be a block of text"));
        }
    }
    Ok(parts)
}

/// A text, or a list of blocks.
fn blocks_of(path: &str, content: Value) -> Result<Vec<Value>> {
    match content {
        Value::String(text) => {
            let members = [("type", "text".into()), ("text", text.into())];
            let block: Map<String, Value> =
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            Ok(vec![Value::Object(block)])
        }
        Value::Array(blocks) => Ok(blocks),
        _ => Err(wrong(path, "must be a string or a list of blocks")),
    }
}

pub(super) fn wrong(path: &str, what: &str) -> Error {
    Error::invalid(path, format!("{path}: {what}"))
}
