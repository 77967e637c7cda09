//! Writes the parts of contents.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::request::{Family, Media, MediaSource, Message, Part, Role, Seal};
use crate::wire::writing::{CallIds, Notes, arguments, cannot, warn_of_part};

/// What models of the third generation take for the signature of a call that another has made.
const ANY_SIGNATURE: &str = "skip_thought_signature_validator";

/// The parts of what one side says.
pub(super) fn write_turn(
    messages: &[&Message],
    (model, ids): (&str, &mut CallIds),
    notes: &mut Notes,
) -> Result<Vec<Value>> {
    let mut parts = Vec::new();
    // A signature belongs to the part that comes next.
    let mut signature: Option<&str> = None;
    for message in messages {
        if message.role == Role::Tool {
            write_result(message, ids, &mut parts, notes)?;
            continue;
        }
        let mut needs_signature = model.contains("gemini-3");
        for part in &message.parts {
            let written = match part {
                Part::Text(text) | Part::Refusal(text) if text.is_empty() => continue,
                Part::Text(text) | Part::Refusal(text) => json!({ "text": text }),
                Part::Thought(thought) => {
                    match &thought.seal {
                        None => {}
                        Some(Seal { family: Family::Gemini, value, .. }) => signature = Some(value),
                        Some(_) => {
                            notes.warn("reasoning");
                            continue;
                        }
                    }
                    if thought.text.is_empty() {
                        continue;
                    }
                    parts.push(json!({ "text": thought.text, "thought": true }));
                    continue;
                }
                Part::Call(call) => {
                    ids.call(call);
                    let written =
                        json!({ "functionCall": { "name": call.name, "args": arguments(call) } });
                    // The first call of a turn is looked at.
                    if std::mem::take(&mut needs_signature) {
                        signature = signature.or(Some(ANY_SIGNATURE));
                    }
                    written
                }
                Part::Media(media) => write_media(media, notes)?,
                Part::Foreign(foreign) if foreign.family == Family::Gemini => foreign.value.clone(),
                Part::Foreign(foreign) => {
                    warn_of_part(part, notes);
                    match &foreign.text {
                        Some(text) => json!({ "text": text }),
                        None => continue,
                    }
                }
                Part::Citation(_) | Part::Cache(_) => {
                    warn_of_part(part, notes);
                    continue;
                }
            };
            parts.push(signed(written, signature.take()));
        }
        // Of a text that has ended.
        if let Some(signature) = signature.take() {
            parts.push(signed(json!({ "text": "" }), Some(signature)));
        }
    }
    Ok(parts)
}

fn signed(mut part: Value, signature: Option<&str>) -> Value {
    if let Some(signature) = signature {
        part["thoughtSignature"] = signature.into();
    }
    part
}

fn write_result(
    message: &Message,
    ids: &mut CallIds,
    parts: &mut Vec<Value>,
    notes: &mut Notes,
) -> Result<()> {
    let (_, name) = ids.result(message);
    let text = message.texts().collect::<Vec<_>>().join("\n");
    let response = match (serde_json::from_str::<Map<String, Value>>(&text), message.is_error) {
        (Ok(object), false) => Value::Object(object),
        (_, true) => json!({ "error": text }),
        (Err(_), false) => json!({ "result": text }),
    };
    parts.push(json!({ "functionResponse": { "name": name, "response": response } }));
    for part in &message.parts {
        match part {
            Part::Media(media) => parts.push(write_media(media, notes)?),
            part => warn_of_part(part, notes),
        }
    }
    Ok(())
}

fn write_media(media: &Media, notes: &mut Notes) -> Result<Value> {
    let mut extras = Map::new();
    match &media.extras {
        Some((Family::Gemini, own)) => extras = own.clone(),
        Some((_, other)) => other.keys().for_each(|name| notes.warn(name)),
        None => {}
    }
    let mut part = match &media.source {
        MediaSource::Bytes { mime, base64 } => {
            json!({ "inlineData": { "mimeType": mime, "data": base64 } })
        }
        MediaSource::Id(Family::Gemini, uri) => {
            let mut file = Map::new();
            file.insert("fileUri".into(), uri.as_str().into());
            file.extend(extras.remove("mimeType").map(|mime| ("mimeType".to_owned(), mime)));
            json!({ "fileData": file })
        }
        MediaSource::Id(..) => {
            return Err(cannot("messages", "does not have the file that another one keeps"));
        }
        MediaSource::Url(_) => {
            return Err(cannot("messages", "fetches no URL of a picture or file"));
        }
    };
    if let Some(part) = part.as_object_mut() {
        part.extend(extras);
    }
    Ok(part)
}
