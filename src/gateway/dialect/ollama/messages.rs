//! Reads the messages of a chat and what its assistant called.

use serde_json::Value;

use crate::dialect::fields::Fields;
use crate::dialect::media;
use crate::error::{Error, Result};
use crate::request::{
    MAX_CALLS, MAX_MESSAGES, Media, MediaKind, Message, Part, Role, Thought, ToolCall,
};

pub(super) fn parse_messages(value: Option<Value>) -> Result<Vec<Message>> {
    let list = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(Error::invalid("messages", "messages must be a list")),
    };
    if list.len() > MAX_MESSAGES {
        let message = format!("messages may have at most {MAX_MESSAGES} entries");
        return Err(Error::invalid("messages", message));
    }
    let mut messages: Vec<Message> = Vec::with_capacity(list.len());
    for value in list {
        let mut message = parse_message(value)?;
        answer_call(&mut message, &messages);
        messages.push(message);
    }
    Ok(messages)
}

fn parse_message(value: Value) -> Result<Message> {
    let wrong = |problem: &str| Error::invalid("messages", format!("messages: {problem}"));
    let Value::Object(members) = value else { return Err(wrong("each is an object")) };
    let mut fields = Fields::of(members);
    let text = |name: &str| match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(&format!("{name} must be a string"))),
    };
    let role = match text("role")?.unwrap_or_default().to_ascii_lowercase().as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => return Err(wrong("role must be one of system, user, assistant, tool")),
    };
    let content = text("content")?.unwrap_or_default();
    let (reasoning, name, call_id) = (text("thinking")?, text("tool_name")?, text("tool_call_id")?);
    let images = parse_images(fields.get("images"))?;
    let calls = match fields.take("tool_calls") {
        None => Vec::new(),
        Some(Value::Array(list)) if list.len() <= MAX_CALLS => list
            .iter()
            .map(|call| parse_call(call).ok_or_else(|| wrong("a tool call needs a function")))
            .collect::<Result<_>>()?,
        Some(_) => return Err(wrong(&format!("tool_calls is a list of at most {MAX_CALLS}"))),
    };
    let reasoning = reasoning.filter(|text| !text.is_empty());
    let mut parts: Vec<Part> =
        reasoning.map(Thought::plain).map(Part::Thought).into_iter().collect();
    if !content.is_empty() || calls.is_empty() {
        parts.push(Part::Text(content));
    }
    parts.extend(images);
    parts.extend(calls.into_iter().map(Part::Call));
    Ok(Message { name, call_id, ..Message::of(role, parts) })
}

/// Pictures in base64, without a word on their kind.
pub(super) fn parse_images(images: Option<&Value>) -> Result<Vec<Part>> {
    let wrong = || Error::invalid("images", "images must be a list of base64 strings");
    let list = match images {
        None => return Ok(Vec::new()),
        Some(images) => images.as_array().ok_or_else(wrong)?,
    };
    list.iter()
        .map(|image| {
            let data = image.as_str().ok_or_else(wrong)?;
            let source = media::of_base64("images", media::kind_of(data), data)?;
            let (kind, name, extras) = (MediaKind::Image, None, None);
            Ok(Part::Media(Box::new(Media { kind, source, name, extras })))
        })
        .collect()
}

fn parse_call(call: &Value) -> Option<ToolCall> {
    let function = &call["function"];
    let arguments = match &function["arguments"] {
        Value::Null => "{}".to_owned(),
        Value::String(text) => text.clone(),
        arguments => arguments.to_string(),
    };
    let id = call["id"].as_str().unwrap_or_default().to_owned();
    Some(ToolCall { id, name: function["name"].as_str()?.to_owned(), arguments })
}

/// A result that says only which tool it is from, or nothing, answers the call that is open: some
/// templates ask for the id.
fn answer_call(result: &mut Message, before: &[Message]) {
    if result.role != Role::Tool || result.call_id.is_some() {
        return;
    }
    let asked = before.iter().rposition(|message| message.calls().next().is_some());
    let Some(asked) = asked else { return };
    let answered = before.len() - asked - 1;
    let mut calls = before[asked].calls();
    let named = before[asked].calls().find(|call| Some(&call.name) == result.name.as_ref());
    if let Some(call) = named.or_else(|| calls.nth(answered)) {
        result.call_id = Some(call.id.clone()).filter(|id| !id.is_empty());
        result.name.get_or_insert_with(|| call.name.clone());
    }
}
