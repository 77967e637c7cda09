//! Writes the blocks of messages.

use serde_json::{Value, json};

use crate::error::Result;
use crate::request::{Family, Media, MediaKind, MediaSource, Message, Part, Role, Seal, Thought};
use crate::wire::writing::{CallIds, Notes, arguments, cannot, warn_of_part};

/// Longest name of a document.
const MAX_NAME_CHARS: usize = 200;

/// `system`: texts and marks.
pub(super) fn write_system(messages: &[&Message], notes: &mut Notes) -> Result<Vec<Value>> {
    let mut blocks = Vec::new();
    for part in messages.iter().flat_map(|message| &message.parts) {
        write_part(part, &mut blocks, notes)?;
    }
    Ok(blocks)
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
            write_result(message, ids, &mut blocks, notes)?;
            continue;
        }
        for part in &message.parts {
            match part {
                Part::Call(call) => blocks.push(json!({ "toolUse": {
                    "toolUseId": ids.call(call), "name": call.name, "input": arguments(call),
                } })),
                part => write_part(part, &mut blocks, notes)?,
            }
        }
    }
    Ok(blocks)
}

fn write_result(
    message: &Message,
    ids: &mut CallIds,
    blocks: &mut Vec<Value>,
    notes: &mut Notes,
) -> Result<()> {
    let (id, _) = ids.result(message);
    let (mut inner, mut marks) = (Vec::new(), Vec::new());
    for part in &message.parts {
        let list = if matches!(part, Part::Cache(_)) { &mut marks } else { &mut inner };
        write_part(part, list, notes)?;
    }
    if inner.is_empty() {
        inner.push(json!({ "text": "" }));
    }
    let status = if message.is_error { "error" } else { "success" };
    let result = json!({ "toolUseId": id, "content": inner, "status": status });
    blocks.push(json!({ "toolResult": result }));
    // A mark stands behind a result, not in it.
    blocks.append(&mut marks);
    Ok(())
}

fn write_part(part: &Part, blocks: &mut Vec<Value>, notes: &mut Notes) -> Result<()> {
    match part {
        // Empty texts are refused.
        Part::Text(text) | Part::Refusal(text) if text.is_empty() => {}
        Part::Text(text) | Part::Refusal(text) => blocks.push(json!({ "text": text })),
        Part::Thought(thought) => write_thought(thought, blocks, notes),
        Part::Media(media) => blocks.push(write_media(media, blocks.len(), notes)?),
        Part::Cache(mark) => {
            let mut point = json!({ "type": "default" });
            if let Some(ttl) = mark.get("ttl") {
                point["ttl"] = ttl.clone();
            }
            blocks.push(json!({ "cachePoint": point }));
        }
        Part::Foreign(foreign) => match &foreign.text {
            Some(text) => blocks.push(json!({ "text": text })),
            None => warn_of_part(part, notes),
        },
        Part::Citation(_) => warn_of_part(part, notes),
        // Only an assistant calls.
        Part::Call(_) => {}
    }
    Ok(())
}

/// Thoughts are taken back only with their seals, which are Anthropic's, wherever the model runs.
fn write_thought(thought: &Thought, blocks: &mut Vec<Value>, notes: &mut Notes) {
    let block = match &thought.seal {
        Some(Seal { family: Family::Anthropic, value, is_thought: true }) => {
            json!({ "redactedContent": value })
        }
        Some(Seal { family: Family::Anthropic, value, is_thought: false }) => {
            json!({ "reasoningText": { "text": thought.text, "signature": value } })
        }
        _ => return notes.warn("reasoning"),
    };
    blocks.push(json!({ "reasoningContent": block }));
}

fn write_media(media: &Media, place: usize, notes: &mut Notes) -> Result<Value> {
    let MediaSource::Bytes { mime, base64 } = &media.source else {
        return Err(cannot("messages", "does not have the file that another one keeps"));
    };
    if let Some((_, extras)) = &media.extras {
        extras.keys().for_each(|name| notes.warn(name));
    }
    let source = json!({ "bytes": base64 });
    let format = format(mime).ok_or_else(|| {
        let mime: String = mime.chars().filter(|letter| !letter.is_control()).take(60).collect();
        cannot("messages", &format!("takes no file of the kind `{mime}`"))
    })?;
    match media.kind {
        MediaKind::Image => Ok(json!({ "image": { "format": format, "source": source } })),
        MediaKind::Video => Ok(json!({ "video": { "format": format, "source": source } })),
        MediaKind::File => {
            let name = plain_name(media.name.as_deref(), place);
            Ok(json!({ "document": { "format": format, "name": name, "source": source } }))
        }
        MediaKind::Audio => Err(cannot("messages", "takes no audio")),
    }
}

/// What Bedrock calls a kind of file.
fn format(mime: &str) -> Option<&'static str> {
    Some(match mime {
        "image/png" => "png",
        "image/jpeg" | "image/jpg" => "jpeg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "application/pdf" => "pdf",
        "text/csv" => "csv",
        "text/html" => "html",
        "text/plain" => "txt",
        "text/markdown" => "md",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "video/mp4" => "mp4",
        "video/webm" => "webm",
        "video/quicktime" => "mov",
        "video/x-matroska" => "mkv",
        _ => return None,
    })
}

/// A name of letters, digits, single spaces, hyphens and brackets: no other is taken.
fn plain_name(name: Option<&str>, place: usize) -> String {
    let plain = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() || "-()[]".contains(letter) => letter,
        _ => ' ',
    };
    let text: String = name.unwrap_or_default().chars().map(plain).take(MAX_NAME_CHARS).collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.is_empty() {
        true => format!("document {}", place + 1),
        false => words.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn names_of_documents_keep_to_what_is_taken() {
        assert_eq!(plain_name(Some("a..b\r\nc (1).pdf"), 0), "a b c (1) pdf");
        assert_eq!(plain_name(Some("報告"), 2), "document 3");
        assert_eq!(plain_name(None, 0), "document 1");
    }
}
