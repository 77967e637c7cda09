//! Reads messages and their blocks. One message may become several: results of tools are messages
//! of their own here.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::request::{MAX_CALLS, Message, Part, Role, ToolCall};

/// `system`: a text or blocks of text.
pub(super) fn parse_system(value: Option<Value>) -> Result<Option<Message>> {
    let Some(value) = value else { return Ok(None) };
    let texts = texts("system", &value)?;
    Ok((!texts.is_empty()).then(|| Message::text(Role::System, texts.join("\n"))))
}

/// One entry of `messages`.
pub(super) fn parse_message(index: usize, value: Value) -> Result<Vec<Message>> {
    let path = format!("messages.{index}");
    let content = &value["content"];
    match value["role"].as_str() {
        Some("user") => user(&format!("{path}.content"), content),
        Some("assistant") => assistant(&format!("{path}.content"), content).map(|one| vec![one]),
        Some("system") => {
            let texts = texts(&format!("{path}.content"), content)?;
            Ok(vec![Message::text(Role::System, texts.join("\n"))])
        }
        _ => Err(wrong(&format!("{path}.role"), "must be \"user\" or \"assistant\"")),
    }
}

fn user(path: &str, content: &Value) -> Result<Vec<Message>> {
    let Value::Array(blocks) = content else {
        return Ok(vec![Message::text(Role::User, texts(path, content)?.concat())]);
    };
    let mut results = Vec::new();
    let mut parts = Vec::new();
    for (at, block) in blocks.iter().enumerate() {
        let path = format!("{path}.{at}");
        match block["type"].as_str() {
            Some("tool_result") => results.push(tool_result(&path, block)?),
            _ => parts.push(Part::Text(text_of(&path, block)?)),
        }
    }
    if parts.is_empty() && results.is_empty() {
        return Err(wrong(path, "must not be empty"));
    }
    if !parts.is_empty() {
        // Behind the results: what is said comes after what was found.
        results.push(Message { parts, ..Message::text(Role::User, "") });
    }
    Ok(results)
}

fn tool_result(path: &str, block: &Value) -> Result<Message> {
    let Some(id) = block["tool_use_id"].as_str() else {
        return Err(wrong(&format!("{path}.tool_use_id"), "must be a string"));
    };
    let texts = match &block["content"] {
        Value::Null => Vec::new(),
        content => texts(&format!("{path}.content"), content)?,
    };
    let mut text = texts.join("\n");
    if block["is_error"] == true {
        text = format!("Error: {text}");
    }
    Ok(Message { call_id: Some(id.to_owned()), ..Message::text(Role::Tool, text) })
}

fn assistant(path: &str, content: &Value) -> Result<Message> {
    let Value::Array(blocks) = content else {
        return Ok(Message::text(Role::Assistant, texts(path, content)?.concat()));
    };
    let mut message = Message { parts: Vec::new(), ..Message::text(Role::Assistant, "") };
    let mut reasoning = String::new();
    for (at, block) in blocks.iter().enumerate() {
        let path = format!("{path}.{at}");
        match block["type"].as_str() {
            Some("tool_use") => message.calls.push(tool_use(&path, block)?),
            Some("thinking") => reasoning += block["thinking"].as_str().unwrap_or_default(),
            // Nobody but who wrote it can read it.
            Some("redacted_thinking") => {}
            _ => message.parts.push(Part::Text(text_of(&path, block)?)),
        }
    }
    if message.calls.len() > MAX_CALLS {
        return Err(wrong(path, &format!("may have at most {MAX_CALLS} calls")));
    }
    if message.parts.is_empty() && message.calls.is_empty() {
        message.parts.push(Part::Text(String::new()));
    }
    message.reasoning = (!reasoning.is_empty()).then_some(reasoning);
    Ok(message)
}

fn tool_use(path: &str, block: &Value) -> Result<ToolCall> {
    let text = |name: &str| {
        let text = block[name].as_str().map(str::to_owned);
        text.ok_or_else(|| wrong(&format!("{path}.{name}"), "must be a string"))
    };
    let arguments = match &block["input"] {
        Value::Null => "{}".to_owned(),
        input @ Value::Object(_) => input.to_string(),
        _ => return Err(wrong(&format!("{path}.input"), "must be an object")),
    };
    Ok(ToolCall { id: text("id")?, name: text("name")?, arguments })
}

/// A text, or a list of blocks of text.
fn texts(path: &str, content: &Value) -> Result<Vec<String>> {
    match content {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(blocks) => blocks
            .iter()
            .enumerate()
            .map(|(at, block)| text_of(&format!("{path}.{at}"), block))
            .collect(),
        _ => Err(wrong(path, "must be a string or a list of blocks")),
    }
}

/// The text of a block; of a document that is text, that.
fn text_of(path: &str, block: &Value) -> Result<String> {
    let found = match block["type"].as_str() {
        Some("text") => block["text"].as_str().map(str::to_owned),
        Some("document") if block["source"]["type"] == "text" => {
            let title = block["title"].as_str().map(|title| format!("{title}\n\n"));
            let data = block["source"]["data"].as_str();
            data.map(|data| format!("{}{data}", title.unwrap_or_default()))
        }
        Some("search_result") => {
            let title = block["title"].as_str().unwrap_or_default();
            let content = texts(&format!("{path}.content"), &block["content"])?;
            Some(format!("{title}\n{}", content.join("\n")))
        }
        Some(kind) => {
            let kind: String = kind.chars().take(40).collect();
            let message =
                format!("a block of type {kind:?} is not supported by this version of Hearth");
            return Err(wrong(path, &message));
        }
        None => None,
    };
    found.ok_or_else(|| wrong(path, "must be a block with its type and text"))
}

fn wrong(path: &str, what: &str) -> Error {
    Error::invalid(path, format!("{path}: {what}"))
}
