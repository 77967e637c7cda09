//! Writes messages.

use serde_json::{Map, Value, json};

use super::quirks::{Quirks, Thoughts};
use crate::error::Result;
use crate::request::{
    Family, Media, MediaKind, MediaSource, Message, Part, Role, Thought, ToolCall,
};
use crate::wire::writing::{CallIds, Notes, cannot, warn_of_part};

/// What a tool's message says whose result is pictures alone.
const SEE_BELOW: &str = "The result is in the next message.";

pub(super) fn write_messages(
    quirks: &Quirks,
    messages: &[Message],
    notes: &mut Notes,
) -> Result<Vec<Value>> {
    let mut ids = CallIds::new(quirks.ids);
    let mut written = Vec::with_capacity(messages.len());
    // Pictures in results: this dialect has them in users' messages alone, and results follow each
    // other without a message between.
    let mut shown: Vec<Value> = Vec::new();
    for message in messages {
        if message.role != Role::Tool && !shown.is_empty() {
            let content = std::mem::take(&mut shown);
            written.push(json!({ "role": "user", "content": content }));
        }
        written.push(match message.role {
            Role::System => plain(quirks, "system", message, notes)?,
            Role::User => plain(quirks, "user", message, notes)?,
            Role::Assistant => assistant(quirks, message, &mut ids, notes)?,
            Role::Tool => tool(quirks, message, (&mut ids, &mut shown), notes)?,
        });
    }
    if !shown.is_empty() {
        written.push(json!({ "role": "user", "content": shown }));
    }
    Ok(written)
}

fn plain(quirks: &Quirks, role: &str, message: &Message, notes: &mut Notes) -> Result<Value> {
    let mut written = json!({ "role": role, "content": content(quirks, message, notes)? });
    if let Some(name) = &message.name {
        written["name"] = name.as_str().into();
    }
    Ok(written)
}

/// A text if that is all; else parts.
fn content(quirks: &Quirks, message: &Message, notes: &mut Notes) -> Result<Value> {
    if let [Part::Text(text)] = message.parts.as_slice() {
        return Ok(text.as_str().into());
    }
    let has_marks = quirks.has_cache && message.parts.iter().any(|p| matches!(p, Part::Cache(_)));
    let is_text = message.media().next().is_none() && message.role != Role::User;
    if !quirks.has_parts || (is_text && !has_marks) {
        if let Some(media) = message.media().next() {
            return Err(no_media(media));
        }
        message.parts.iter().for_each(|part| warn_of_part(part, notes));
        return Ok(message.joined_text().into());
    }
    let mut parts: Vec<Value> = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        match part {
            Part::Text(text) | Part::Refusal(text) => {
                parts.push(json!({ "type": "text", "text": text }));
            }
            Part::Media(media) => parts.push(write_media(quirks, media, notes)?),
            Part::Cache(mark) if quirks.has_cache => {
                if let Some(last) = parts.last_mut() {
                    last["cache_control"] = mark.clone();
                }
            }
            Part::Foreign(foreign) => match &foreign.text {
                Some(text) => parts.push(json!({ "type": "text", "text": text })),
                None => {
                    let kind = foreign.value["type"].as_str().unwrap_or("?");
                    return Err(cannot(
                        "messages",
                        &format!("does not know a part of type {kind}"),
                    ));
                }
            },
            other => warn_of_part(other, notes),
        }
    }
    Ok(parts.into())
}

fn assistant(
    quirks: &Quirks,
    message: &Message,
    ids: &mut CallIds,
    notes: &mut Notes,
) -> Result<Value> {
    let mut written = Map::new();
    written.insert("role".into(), "assistant".into());
    let (mut text, mut refusal) = (String::new(), String::new());
    let (mut thoughts, mut calls) = (Vec::new(), Vec::new());
    // A seal without a thought is of the call behind it.
    let mut seal: Option<&Thought> = None;
    for part in &message.parts {
        match part {
            Part::Text(said) => text.push_str(said),
            Part::Refusal(said) => refusal.push_str(said),
            Part::Thought(thought) => {
                thoughts.push(thought);
                seal = Some(thought);
            }
            Part::Call(call) => calls.push(write_call(call, seal.take(), ids)),
            Part::Media(media) => return Err(no_media(media)),
            other => {
                if let Part::Foreign(foreign) = other {
                    text.push_str(foreign.text.as_deref().unwrap_or_default());
                }
                warn_of_part(other, notes);
            }
        }
    }
    write_thoughts(quirks, &thoughts, &mut written, notes);
    let is_silent = text.is_empty() && !(calls.is_empty() && refusal.is_empty());
    written.insert("content".into(), if is_silent { Value::Null } else { text.into() });
    if !refusal.is_empty() {
        written.insert("refusal".into(), refusal.into());
    }
    if !calls.is_empty() {
        written.insert("tool_calls".into(), calls.into());
    }
    written.extend(message.name.clone().map(|name| ("name".to_owned(), name.into())));
    Ok(written.into())
}

fn write_call(call: &ToolCall, seal: Option<&Thought>, ids: &mut CallIds) -> Value {
    let mut written = json!({ "id": ids.call(call), "type": "function",
        "function": { "name": call.name, "arguments": call.arguments } });
    // Google's own route of this dialect wants it here.
    if let Some(seal) = seal.and_then(|thought| thought.seal.as_ref())
        && seal.family == Family::Gemini
    {
        written["extra_content"] = json!({ "google": { "thought_signature": seal.value } });
    }
    written
}

fn write_thoughts(
    quirks: &Quirks,
    thoughts: &[&Thought],
    written: &mut Map<String, Value>,
    notes: &mut Notes,
) {
    let text: String = thoughts.iter().map(|thought| thought.text.as_str()).collect();
    let name = match quirks.thoughts {
        Thoughts::No => {
            if !text.is_empty() {
                notes.warn("reasoning");
            }
            return;
        }
        Thoughts::Field(name) | Thoughts::Details(name) => name,
    };
    if !text.is_empty() {
        written.insert(name.to_owned(), text.into());
    }
    if let Thoughts::Details(_) = quirks.thoughts {
        let sealed = thoughts.iter().filter_map(|thought| Some((*thought, thought.seal.as_ref()?)));
        let details: Vec<Value> = sealed
            .enumerate()
            .map(|(at, (thought, seal))| {
                crate::dialect::openai::print_detail(seal, &thought.text, at)
            })
            .collect();
        if !details.is_empty() {
            written.insert("reasoning_details".into(), details.into());
        }
    }
}

fn tool(
    quirks: &Quirks,
    message: &Message,
    (ids, shown): (&mut CallIds, &mut Vec<Value>),
    notes: &mut Notes,
) -> Result<Value> {
    let (id, _) = ids.result(message);
    let mut has_media = false;
    for part in &message.parts {
        match part {
            Part::Media(media) if quirks.has_parts => {
                if !has_media {
                    let text = format!("What the tool gave to call {id}:");
                    shown.push(json!({ "type": "text", "text": text }));
                }
                has_media = true;
                shown.push(write_media(quirks, media, notes)?);
            }
            Part::Media(media) => return Err(no_media(media)),
            other => warn_of_part(other, notes),
        }
    }
    let mut text = message.joined_text();
    if text.is_empty() && has_media {
        text = SEE_BELOW.to_owned();
    }
    Ok(json!({ "role": "tool", "tool_call_id": id, "content": text }))
}

fn write_media(quirks: &Quirks, media: &Media, notes: &mut Notes) -> Result<Value> {
    let url = match &media.source {
        MediaSource::Url(_) if !quirks.takes_urls => {
            return Err(cannot("messages", "fetches no URL of a picture or file"));
        }
        MediaSource::Url(url) => url.clone(),
        MediaSource::Bytes { mime, base64 } => format!("data:{mime};base64,{base64}"),
        MediaSource::Id(Family::OpenAi, id) if media.kind == MediaKind::File => {
            return Ok(json!({ "type": "file", "file": { "file_id": id } }));
        }
        MediaSource::Id(..) => {
            return Err(cannot("messages", "does not have the file that another one keeps"));
        }
    };
    let mut extras = Map::new();
    match &media.extras {
        Some((Family::OpenAi, own)) => extras = own.clone(),
        Some((_, other)) => other.keys().for_each(|name| notes.warn(name)),
        None => {}
    }
    let with_url = |name: &str, mut inner: Map<String, Value>| {
        let mut all = Map::new();
        all.insert("url".into(), url.as_str().into());
        all.append(&mut inner);
        json!({ "type": name, name: all })
    };
    Ok(match (media.kind, &media.source) {
        (MediaKind::Image, _) => with_url("image_url", extras),
        (MediaKind::Video, _) => with_url("video_url", extras),
        (MediaKind::Audio, MediaSource::Bytes { mime, base64 }) => {
            let format = match mime.as_str() {
                "audio/mpeg" | "audio/mp3" => "mp3",
                "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
                other => other.split('/').nth(1).unwrap_or("wav"),
            };
            json!({ "type": "input_audio", "input_audio": { "data": base64, "format": format } })
        }
        (MediaKind::Audio, _) => return Err(cannot("messages", "takes audio as data alone")),
        (MediaKind::File, _) => {
            let name = media.name.as_deref().unwrap_or("document.pdf");
            json!({ "type": "file", "file": { "filename": name, "file_data": url } })
        }
    })
}

fn no_media(media: &Media) -> crate::error::Error {
    let what = match media.kind {
        MediaKind::Image => "takes no image here",
        MediaKind::Audio => "takes no audio here",
        MediaKind::Video => "takes no video here",
        MediaKind::File => "takes no file here",
    };
    cannot("messages", what)
}
