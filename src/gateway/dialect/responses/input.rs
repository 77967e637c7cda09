//! Reads `input`: a text, or items of a conversation. What an assistant thought, said and called in
//! one turn stands in several items, and is one message here.

use serde_json::{Map, Value};

use crate::dialect::fields::must;
use crate::dialect::media;
use crate::error::{Error, Result};
use crate::request::{
    Citation, Family, Foreign, MAX_CALLS, MAX_MESSAGES, Media, MediaKind, MediaSource, Message,
    Part, Role, Seal, Thought, ToolCall,
};

pub(super) fn parse_input(value: Option<Value>) -> Result<Vec<Message>> {
    let items = match value {
        Some(Value::String(text)) => return Ok(vec![Message::text(Role::User, text)]),
        Some(Value::Array(items)) if (1..=MAX_MESSAGES).contains(&items.len()) => items,
        _ => {
            let what = format!("a string or a list of 1 to {MAX_MESSAGES} items");
            return Err(Error::invalid("input", must("input", &what)));
        }
    };
    let mut messages: Vec<Message> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        parse_item(&format!("input[{index}]"), item, &mut messages)?;
    }
    for message in &mut messages {
        if message.parts.iter().all(|part| matches!(part, Part::Thought(_))) {
            message.parts.push(Part::Text(String::new()));
        }
    }
    if messages.is_empty() {
        return Err(Error::invalid("input", must("input", "a list with at least one message")));
    }
    Ok(messages)
}

fn parse_item(path: &str, item: &Value, messages: &mut Vec<Message>) -> Result<()> {
    match item["type"].as_str() {
        None | Some("message") => parse_message(path, item, messages)?,
        Some("function_call") => {
            let call = ToolCall {
                id: text(path, item, "call_id")?,
                name: text(path, item, "name")?,
                arguments: text(path, item, "arguments")?,
            };
            let turn = open_turn(messages);
            if turn.calls().count() >= MAX_CALLS {
                let message = format!("{path}: one turn may have at most {MAX_CALLS} calls.");
                return Err(Error::invalid(path, message));
            }
            turn.parts.push(Part::Call(call));
        }
        Some("function_call_output") => {
            let mut parts = Vec::new();
            parse_content(&format!("{path}.output"), &item["output"], &mut parts)?;
            let call_id = Some(text(path, item, "call_id")?);
            messages.push(Message { call_id, ..Message::of(Role::Tool, parts) });
        }
        Some("reasoning") => {
            if let Some(thought) = thought(item) {
                open_turn(messages).parts.push(Part::Thought(thought));
            }
        }
        // What a provider's own tools did, and what it keeps itself.
        Some(kind) if kind.ends_with("_call") || kind == "compaction" => {
            let foreign = Foreign { family: Family::Responses, value: item.clone(), text: None };
            open_turn(messages).parts.push(Part::Foreign(Box::new(foreign)));
        }
        Some(kind) => {
            let kind: String = kind.chars().take(40).collect();
            let message =
                format!("An item of type '{kind}' is not supported by this version of Hearth.");
            return Err(Error::invalid(path, message));
        }
    }
    Ok(())
}

fn parse_message(path: &str, item: &Value, messages: &mut Vec<Message>) -> Result<()> {
    let role = match item["role"].as_str() {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => {
            let path = format!("{path}.role");
            let roles = "one of system, developer, user, assistant";
            return Err(Error::invalid(&path, must(&path, roles)));
        }
    };
    let mut parts = Vec::new();
    parse_content(&format!("{path}.content"), &item["content"], &mut parts)?;
    match role {
        Role::Assistant => open_turn(messages).parts.append(&mut parts),
        _ => messages.push(Message::of(role, parts)),
    }
    Ok(())
}

/// The summary, or all of it, with the seal that its maker wants to see again.
fn thought(item: &Value) -> Option<Thought> {
    let found = |name: &str| item[name].as_array().filter(|list| !list.is_empty());
    let list = found("content").or(found("summary"));
    let text: String =
        list.into_iter().flatten().filter_map(|part| part["text"].as_str()).collect();
    let sealed = item["encrypted_content"].as_str().unwrap_or_default();
    let seal = Seal::of_carried(Family::Responses, sealed, true);
    (!text.is_empty() || seal.is_some()).then_some(Thought { text, seal })
}

/// The assistant's turn that is being read.
fn open_turn(messages: &mut Vec<Message>) -> &mut Message {
    if messages.last().is_none_or(|message| message.role != Role::Assistant) {
        messages.push(Message::of(Role::Assistant, Vec::new()));
    }
    let last = messages.len() - 1;
    &mut messages[last]
}

/// A text, or a list of parts.
fn parse_content(path: &str, content: &Value, parts: &mut Vec<Part>) -> Result<()> {
    match content {
        Value::String(text) => parts.push(Part::Text(text.clone())),
        Value::Array(list) => {
            for (at, part) in list.iter().enumerate() {
                parse_part(&format!("{path}[{at}]"), part, parts)?;
            }
        }
        _ => return Err(Error::invalid(path, must(path, "a string or a list of parts"))),
    }
    Ok(())
}

fn parse_part(path: &str, part: &Value, parts: &mut Vec<Part>) -> Result<()> {
    let plain = |field: &str| {
        let text = part[field].as_str().map(str::to_owned);
        text.ok_or_else(|| Error::invalid(path, must(path, "a part with its text")))
    };
    match part["type"].as_str() {
        Some("input_text" | "output_text" | "text") => {
            parts.push(Part::Text(plain("text")?));
            let notes = part["annotations"].as_array().into_iter().flatten();
            parts.extend(notes.map(annotation));
        }
        Some("refusal") => parts.push(Part::Refusal(plain("refusal")?)),
        Some("input_image") => parts.push(image(path, part)?),
        Some("input_file") => parts.push(file(path, part)?),
        Some("input_audio") => {
            let audio = &part["input_audio"];
            let mime = match media::text(path, audio, "format")? {
                "mp3" => "audio/mpeg".to_owned(),
                other => format!("audio/{other}"),
            };
            let source = media::of_base64(path, &mime, media::text(path, audio, "data")?)?;
            parts.push(media_part(MediaKind::Audio, source, None, Map::new()));
        }
        kind => {
            let kind: String = kind.unwrap_or("?").chars().take(40).collect();
            let message = format!(
                "A content part of type '{kind}' is not supported by this version of Hearth."
            );
            return Err(Error::invalid(path, message));
        }
    }
    Ok(())
}

fn image(path: &str, part: &Value) -> Result<Part> {
    let source = match (part["image_url"].as_str(), part["file_id"].as_str()) {
        (Some(url), _) => media::of_url(path, url)?,
        (None, Some(id)) => MediaSource::Id(Family::OpenAi, id.to_owned()),
        (None, None) => {
            return Err(Error::invalid(path, must(path, "a part with 'image_url' or 'file_id'")));
        }
    };
    let detail = part.get("detail").filter(|detail| !detail.is_null()).cloned();
    let rest = detail.map(|detail| ("detail".to_owned(), detail)).into_iter().collect();
    Ok(media_part(MediaKind::Image, source, None, rest))
}

fn file(path: &str, part: &Value) -> Result<Part> {
    let text = |name: &str| part[name].as_str();
    let source = match (text("file_data"), text("file_url"), text("file_id")) {
        (Some(data), ..) if data.contains(':') => media::of_url(path, data)?,
        (Some(data), ..) => media::of_base64(path, "application/pdf", data)?,
        (None, Some(url), _) => media::of_url(path, url)?,
        (None, None, Some(id)) => MediaSource::Id(Family::OpenAi, id.to_owned()),
        (None, None, None) => {
            let what = "a part with 'file_data', 'file_url' or 'file_id'";
            return Err(Error::invalid(path, must(path, what)));
        }
    };
    let name = text("filename").map(str::to_owned);
    Ok(media_part(MediaKind::File, source, name, Map::new()))
}

fn media_part(
    kind: MediaKind,
    source: MediaSource,
    name: Option<String>,
    rest: Map<String, Value>,
) -> Part {
    // The same `detail` as in chats.
    let extras = (!rest.is_empty()).then_some((Family::OpenAi, rest));
    Part::Media(Box::new(Media { kind, source, name, extras }))
}

fn annotation(raw: &Value) -> Part {
    let text = |name: &str| raw[name].as_str().map(str::to_owned);
    let place = |name: &str| raw[name].as_u64().and_then(|at| u32::try_from(at).ok());
    Part::Citation(Box::new(Citation {
        url: text("url"),
        title: text("title"),
        text: None,
        span: place("start_index").zip(place("end_index")),
        raw: Some((Family::Responses, raw.clone())),
    }))
}

fn text(path: &str, item: &Value, name: &str) -> Result<String> {
    let path = format!("{path}.{name}");
    let text = item[name].as_str().map(str::to_owned);
    text.ok_or_else(|| Error::invalid(&path, must(&path, "a string")))
}
