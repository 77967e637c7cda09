//! Writes messages as the items of an input.

use serde_json::{Value, json};

use crate::error::Result;
use crate::request::{Family, Media, MediaKind, MediaSource, Message, Part, Role, Seal, Thought};
use crate::wire::writing::{CallIds, IdRule, Notes, cannot, warn_of_part};

pub(super) fn write(messages: &[Message], notes: &mut Notes) -> Result<Vec<Value>> {
    let mut ids = CallIds::new(IdRule::Plain);
    let mut items = Vec::with_capacity(messages.len());
    for message in messages {
        match message.role {
            Role::System => items.push(plain("system", message, notes)?),
            Role::User => items.push(plain("user", message, notes)?),
            Role::Assistant => assistant(message, &mut ids, &mut items, notes)?,
            Role::Tool => {
                let (id, _) = ids.result(message);
                let output = match message.media().next() {
                    None => {
                        message.parts.iter().for_each(|part| warn_of_part(part, notes));
                        message.joined_text().into()
                    }
                    Some(_) => content(message, notes)?,
                };
                items.push(json!({
                    "type": "function_call_output", "call_id": id, "output": output,
                }));
            }
        }
    }
    Ok(items)
}

fn plain(role: &str, message: &Message, notes: &mut Notes) -> Result<Value> {
    Ok(json!({ "role": role, "content": content(message, notes)? }))
}

fn content(message: &Message, notes: &mut Notes) -> Result<Value> {
    if let [Part::Text(text)] = message.parts.as_slice() {
        return Ok(text.as_str().into());
    }
    let mut parts = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        match part {
            Part::Text(text) | Part::Refusal(text) => {
                parts.push(json!({ "type": "input_text", "text": text }));
            }
            Part::Media(media) => parts.push(write_media(media, notes)?),
            part => {
                if let Part::Foreign(foreign) = part
                    && let Some(text) = &foreign.text
                {
                    parts.push(json!({ "type": "input_text", "text": text }));
                }
                warn_of_part(part, notes);
            }
        }
    }
    Ok(parts.into())
}

/// What is thought, said and called, in its order.
fn assistant(
    message: &Message,
    ids: &mut CallIds,
    items: &mut Vec<Value>,
    notes: &mut Notes,
) -> Result<()> {
    for part in &message.parts {
        match part {
            Part::Text(text) if text.is_empty() => {}
            Part::Text(text) => items.push(said(json!({
                "type": "output_text", "text": text, "annotations": [],
            }))),
            Part::Refusal(text) => {
                items.push(said(json!({ "type": "refusal", "refusal": text })));
            }
            Part::Thought(thought) => match write_thought(thought, items.len()) {
                Some(item) => items.push(item),
                None => notes.warn("reasoning"),
            },
            Part::Call(call) => items.push(json!({
                "type": "function_call", "call_id": ids.call(call), "name": call.name,
                "arguments": call.arguments,
            })),
            Part::Citation(citation) => match (&citation.raw, items.last_mut()) {
                (Some((Family::Responses, raw)), Some(item)) => {
                    let notes = item.pointer_mut("/content/0/annotations");
                    if let Some(list) = notes.and_then(Value::as_array_mut) {
                        list.push(raw.clone());
                    }
                }
                _ => warn_of_part(part, notes),
            },
            Part::Foreign(foreign) if foreign.family == Family::Responses => {
                items.push(foreign.value.clone());
            }
            Part::Media(_) => return Err(cannot("messages", "takes no picture of an assistant")),
            part => warn_of_part(part, notes),
        }
    }
    Ok(())
}

fn said(part: Value) -> Value {
    json!({ "type": "message", "role": "assistant", "content": [part] })
}

/// Thoughts are taken back only with their seals.
fn write_thought(thought: &Thought, number: usize) -> Option<Value> {
    let Seal { family: Family::Responses, value, .. } = thought.seal.as_ref()? else { return None };
    let mut summary = Vec::new();
    if !thought.text.is_empty() {
        summary.push(json!({ "type": "summary_text", "text": thought.text }));
    }
    // Nothing is found by its name, but it must have one.
    Some(json!({ "type": "reasoning", "id": format!("rs_{number}"), "summary": summary,
        "encrypted_content": value }))
}

fn write_media(media: &Media, notes: &mut Notes) -> Result<Value> {
    let detail = match &media.extras {
        Some((Family::OpenAi, own)) => own.get("detail").cloned(),
        Some((_, other)) => {
            other.keys().for_each(|name| notes.warn(name));
            None
        }
        None => None,
    };
    let data = match &media.source {
        MediaSource::Bytes { mime, base64 } => Some(format!("data:{mime};base64,{base64}")),
        MediaSource::Url(url) => Some(url.clone()),
        MediaSource::Id(Family::OpenAi, _) => None,
        MediaSource::Id(..) => {
            return Err(cannot("messages", "does not have the file that another one keeps"));
        }
    };
    let mut part = match media.kind {
        MediaKind::Image => json!({ "type": "input_image",
            "detail": detail.unwrap_or("auto".into()) }),
        MediaKind::File => json!({ "type": "input_file" }),
        MediaKind::Audio | MediaKind::Video => {
            return Err(cannot("messages", "takes neither audio nor video"));
        }
    };
    match (&media.source, data, media.kind) {
        (MediaSource::Id(_, id), ..) => part["file_id"] = id.as_str().into(),
        (_, Some(url), MediaKind::Image) => part["image_url"] = url.into(),
        (MediaSource::Url(_), Some(url), _) => part["file_url"] = url.into(),
        (_, Some(data), _) => {
            part["file_data"] = data.into();
            part["filename"] = media.name.as_deref().unwrap_or("document.pdf").into();
        }
        (_, None, _) => {}
    }
    Ok(part)
}
