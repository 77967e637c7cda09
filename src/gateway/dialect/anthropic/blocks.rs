//! Reads the blocks of messages. What only Anthropic knows is kept as it is, with a text in its
//! place where there is one.

use serde_json::{Map, Value};

use super::content::wrong;
use crate::dialect::media;
use crate::error::Result;
use crate::request::{
    Citation, Family, Foreign, Media, MediaKind, MediaSource, Part, Seal, Thought, ToolCall,
};

/// What assistants' blocks end with that Anthropic's own servers wrote.
const SERVER_BLOCKS: [&str; 4] = ["_tool_result", "_tool_use", "container_upload", "compaction"];

/// A block of a user, of the system or of a tool's result.
pub(super) fn parse_user(path: &str, mut block: Value, parts: &mut Vec<Part>) -> Result<()> {
    let cache = block.as_object_mut().and_then(|block| block.remove("cache_control"));
    match block["type"].as_str() {
        Some("text") => parts.push(Part::Text(text(path, &mut block, "text")?)),
        Some("image") => {
            let source = source(path, &block["source"], "image/png")?;
            parts.push(media(MediaKind::Image, source, None, Map::new()));
        }
        Some("document") => parts.push(document(path, block)?),
        Some("search_result") => {
            let title = block["title"].as_str().unwrap_or_default();
            let inner = block["content"].as_array().map(Vec::as_slice).unwrap_or_default();
            let texts: Vec<&str> = inner.iter().filter_map(|part| part["text"].as_str()).collect();
            let text = Some(format!("{title}\n{}", texts.join("\n")));
            parts.push(foreign(block, text));
        }
        Some("tool_reference" | "container_upload") => parts.push(foreign(block, None)),
        kind => return Err(unknown(path, kind)),
    }
    parts.extend(cache.filter(|cache| !cache.is_null()).map(Part::Cache));
    Ok(())
}

/// A block of an assistant.
pub(super) fn parse_assistant(path: &str, mut block: Value, parts: &mut Vec<Part>) -> Result<()> {
    let cache = block.as_object_mut().and_then(|block| block.remove("cache_control"));
    match block["type"].as_str() {
        Some("text") => {
            parts.push(Part::Text(text(path, &mut block, "text")?));
            if let Value::Array(citations) = block["citations"].take() {
                parts.extend(citations.into_iter().map(citation));
            }
        }
        Some("tool_use") => parts.push(Part::Call(tool_use(path, &block)?)),
        Some("thinking") => {
            let signature = block["signature"].as_str().unwrap_or_default();
            let seal = Seal::of_carried(Family::Anthropic, signature, false);
            let text = block["thinking"].as_str().unwrap_or_default().to_owned();
            if !text.is_empty() || seal.is_some() {
                parts.push(Part::Thought(Thought { text, seal }));
            }
        }
        Some("redacted_thinking") => {
            let data = block["data"].as_str().unwrap_or_default();
            let seal = Seal::of_carried(Family::Anthropic, data, true);
            if seal.is_some() {
                parts.push(Part::Thought(Thought { text: String::new(), seal }));
            }
        }
        Some(kind) if SERVER_BLOCKS.iter().any(|end| kind.ends_with(end)) => {
            parts.push(foreign(block, None));
        }
        Some("fallback") => parts.push(foreign(block, None)),
        kind => return Err(unknown(path, kind)),
    }
    parts.extend(cache.filter(|cache| !cache.is_null()).map(Part::Cache));
    Ok(())
}

/// Moves a block's mark behind its parts.
pub(super) fn take_cache(block: &mut Value, parts: &mut Vec<Part>) {
    let cache = block.as_object_mut().and_then(|block| block.remove("cache_control"));
    parts.extend(cache.filter(|cache| !cache.is_null()).map(Part::Cache));
}

fn document(path: &str, mut block: Value) -> Result<Part> {
    let title = block["title"].as_str().map(str::to_owned);
    match block["source"]["type"].as_str() {
        // Documents of text are read as text where nobody knows documents.
        Some("text" | "content") => {
            let content = &block["source"]["content"];
            let inner = content.as_array().map(Vec::as_slice).unwrap_or_default();
            let texts = inner.iter().filter_map(|part| part["text"].as_str());
            let texts: Vec<&str> = block["source"]["data"]
                .as_str()
                .into_iter()
                .chain(content.as_str())
                .chain(texts)
                .collect();
            let title = title.map(|title| format!("{title}\n\n")).unwrap_or_default();
            let text = Some(format!("{title}{}", texts.join("\n")));
            Ok(foreign(block, text))
        }
        _ => {
            let source = source(path, &block["source"], "application/pdf")?;
            let rest = block.as_object_mut().map(std::mem::take).unwrap_or_default();
            let known = ["type", "source", "title"];
            let rest = rest.into_iter().filter(|(name, _)| !known.contains(&name.as_str()));
            Ok(media(MediaKind::File, source, title, rest.collect()))
        }
    }
}

fn source(path: &str, source: &Value, mime: &str) -> Result<MediaSource> {
    let path = format!("{path}.source");
    match source["type"].as_str() {
        Some("base64") => {
            let mime = source["media_type"].as_str().unwrap_or(mime);
            media::of_base64(&path, mime, media::text(&path, source, "data")?)
        }
        Some("url") => match media::of_url(&path, media::text(&path, source, "url")?)? {
            MediaSource::Bytes { .. } => Err(wrong(&path, "a data: URL is not taken here")),
            found => Ok(found),
        },
        Some("file") => {
            let id = media::text(&path, source, "file_id")?;
            Ok(MediaSource::Id(Family::Anthropic, id.to_owned()))
        }
        _ => Err(wrong(&path, "type must be base64, url or file")),
    }
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

/// What all citations have in common, beside the whole.
fn citation(raw: Value) -> Part {
    let text = |name: &str| raw[name].as_str().map(str::to_owned);
    let title = text("title").or_else(|| text("document_title"));
    let (url, cited) = (text("url"), text("cited_text"));
    let raw = Some((Family::Anthropic, raw));
    Part::Citation(Box::new(Citation { url, title, text: cited, span: None, raw }))
}

fn media(
    kind: MediaKind,
    source: MediaSource,
    name: Option<String>,
    rest: Map<String, Value>,
) -> Part {
    let extras = (!rest.is_empty()).then_some((Family::Anthropic, rest));
    Part::Media(Box::new(Media { kind, source, name, extras }))
}

fn foreign(value: Value, text: Option<String>) -> Part {
    Part::Foreign(Box::new(Foreign { family: Family::Anthropic, value, text }))
}

fn text(path: &str, block: &mut Value, name: &str) -> Result<String> {
    match block[name].take() {
        Value::String(text) => Ok(text),
        _ => Err(wrong(path, "must be a block with its type and text")),
    }
}

fn unknown(path: &str, kind: Option<&str>) -> crate::error::Error {
    let Some(kind) = kind else { return wrong(path, "must be a block with its type and text") };
    let kind: String = kind.chars().take(40).collect();
    wrong(path, &format!("a block of type {kind:?} is not supported by this version of Hearth"))
}
