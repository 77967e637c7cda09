//! Writes the blocks of messages.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::request::{Family, Media, MediaKind, MediaSource, Message, Part, Role, Seal, Thought};
use crate::wire::writing::{CallIds, Notes, arguments, cannot, warn_of_part};

/// `system`: a text if that is all, else blocks.
pub(super) fn write_system(messages: &[&Message], notes: &mut Notes) -> Result<Option<Value>> {
    let parts: Vec<&Part> = messages.iter().flat_map(|message| &message.parts).collect();
    match parts.as_slice() {
        [] => Ok(None),
        [Part::Text(text)] => Ok((!text.is_empty()).then(|| text.as_str().into())),
        parts => {
            let mut blocks = Vec::with_capacity(parts.len());
            for part in parts {
                write_part(part, &mut blocks, notes)?;
            }
            Ok((!blocks.is_empty()).then(|| blocks.into()))
        }
    }
}

/// The blocks of what one side says.
pub(super) fn write_turn(
    messages: &[&Message],
    ids: &mut CallIds,
    notes: &mut Notes,
) -> Result<Vec<Value>> {
    let mut blocks = Vec::new();
    for message in messages {
        if message.role == Role::Tool {
            blocks.push(write_result(message, ids, notes)?);
            continue;
        }
        for part in &message.parts {
            match part {
                Part::Call(call) => blocks.push(json!({
                    "type": "tool_use", "id": ids.call(call), "name": call.name,
                    "input": arguments(call),
                })),
                part => write_part(part, &mut blocks, notes)?,
            }
        }
    }
    Ok(blocks)
}

fn write_result(message: &Message, ids: &mut CallIds, notes: &mut Notes) -> Result<Value> {
    let (id, _) = ids.result(message);
    let mut block = json!({ "type": "tool_result", "tool_use_id": id });
    let (mark, parts) = match message.parts.split_last() {
        Some((Part::Cache(mark), parts)) => (Some(mark), parts),
        _ => (None, message.parts.as_slice()),
    };
    match parts {
        [] => {}
        [Part::Text(text)] => block["content"] = text.as_str().into(),
        parts => {
            let mut inner = Vec::with_capacity(parts.len());
            for part in parts {
                write_part(part, &mut inner, notes)?;
            }
            block["content"] = inner.into();
        }
    }
    if message.is_error {
        block["is_error"] = true.into();
    }
    if let Some(mark) = mark {
        block["cache_control"] = mark.clone();
    }
    Ok(block)
}

fn write_part(part: &Part, blocks: &mut Vec<Value>, notes: &mut Notes) -> Result<()> {
    match part {
        // Empty texts are refused.
        Part::Text(text) | Part::Refusal(text) if text.is_empty() => {}
        Part::Text(text) | Part::Refusal(text) => {
            blocks.push(json!({ "type": "text", "text": text }));
        }
        Part::Thought(thought) => write_thought(thought, blocks, notes),
        Part::Media(media) => blocks.push(write_media(media, notes)?),
        Part::Citation(citation) => match (&citation.raw, blocks.last_mut()) {
            (Some((Family::Anthropic, raw)), Some(block)) if block["type"] == "text" => {
                match block.get_mut("citations").and_then(Value::as_array_mut) {
                    Some(list) => list.push(raw.clone()),
                    None => block["citations"] = json!([raw]),
                }
            }
            _ => warn_of_part(part, notes),
        },
        Part::Cache(mark) => match blocks.last_mut() {
            Some(block) => block["cache_control"] = mark.clone(),
            None => notes.warn("cache_control"),
        },
        Part::Foreign(foreign) if foreign.family == Family::Anthropic => {
            blocks.push(foreign.value.clone());
        }
        Part::Foreign(foreign) => match &foreign.text {
            Some(text) => blocks.push(json!({ "type": "text", "text": text })),
            None => warn_of_part(part, notes),
        },
        // Only an assistant calls.
        Part::Call(_) => {}
    }
    Ok(())
}

/// Thoughts are taken back only with their seals.
fn write_thought(thought: &Thought, blocks: &mut Vec<Value>, notes: &mut Notes) {
    match &thought.seal {
        Some(Seal { family: Family::Anthropic, value, is_thought: true }) => {
            blocks.push(json!({ "type": "redacted_thinking", "data": value }));
        }
        Some(Seal { family: Family::Anthropic, value, is_thought: false }) => {
            let text = &thought.text;
            blocks.push(json!({ "type": "thinking", "thinking": text, "signature": value }));
        }
        _ => notes.warn("reasoning"),
    }
}

fn write_media(media: &Media, notes: &mut Notes) -> Result<Value> {
    let source = match &media.source {
        MediaSource::Bytes { mime, base64 } => {
            json!({ "type": "base64", "media_type": mime, "data": base64 })
        }
        MediaSource::Url(url) => json!({ "type": "url", "url": url }),
        MediaSource::Id(Family::Anthropic, id) => json!({ "type": "file", "file_id": id }),
        MediaSource::Id(..) => {
            return Err(cannot("messages", "does not have the file that another one keeps"));
        }
    };
    let mut block = Map::new();
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::File => "document",
        MediaKind::Audio | MediaKind::Video => {
            return Err(cannot("messages", "takes neither audio nor video"));
        }
    };
    block.insert("type".into(), kind.into());
    block.insert("source".into(), source);
    if let (MediaKind::File, Some(name)) = (media.kind, &media.name) {
        block.insert("title".into(), name.as_str().into());
    }
    match &media.extras {
        Some((Family::Anthropic, own)) => block.extend(own.clone()),
        Some((_, other)) => other.keys().for_each(|name| notes.warn(name)),
        None => {}
    }
    Ok(block.into())
}
