//! Reads contents and their parts. Results of functions are messages of their own.

use serde_json::{Map, Value};

use super::fields::{in_camel_case, list, member, text, wrong};
use crate::dialect::media;
use crate::error::{Error, Result};
use crate::request::{
    Family, Foreign, MAX_CALLS, MAX_MESSAGES, Media, MediaKind, MediaSource, Message, Part, Role,
    Seal, Thought, ToolCall,
};

/// Reads contents in order, and knows which calls have no result yet.
#[derive(Default)]
struct Reading {
    messages: Vec<Message>,
    /// Names and tools.
    open: Vec<(String, String)>,
    calls: usize,
}

/// `contents`: one or a list.
pub(super) fn parse_contents(value: Option<&Value>) -> Result<Vec<Message>> {
    let contents = match value {
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        other => list("contents", other)?,
    };
    if contents.is_empty() {
        return Err(Error::invalid("contents", "contents is not specified"));
    }
    if contents.len() > MAX_MESSAGES {
        return Err(wrong("contents", &format!("at most {MAX_MESSAGES} entries")));
    }
    let mut reading = Reading::default();
    for (at, content) in contents.iter().enumerate() {
        reading.content(&format!("contents[{at}]"), content)?;
    }
    Ok(reading.messages)
}

/// `systemInstruction`: a text, or a content of texts.
pub(super) fn parse_system(value: Option<&Value>) -> Result<Option<Message>> {
    let Some(value) = value else { return Ok(None) };
    if let Some(text) = value.as_str() {
        return Ok(Some(Message::text(Role::System, text)));
    }
    let mut parts = Vec::new();
    for (at, part) in parts_of("systemInstruction.parts", value)?.iter().enumerate() {
        let Some(text) = text(part, "text") else {
            let path = format!("systemInstruction.parts[{at}]");
            return Err(wrong(&path, "a part with a text"));
        };
        parts.push(Part::Text(text.to_owned()));
    }
    Ok((!parts.is_empty()).then(|| Message::of(Role::System, parts)))
}

/// The parts of a content: one or a list.
fn parts_of<'a>(path: &str, content: &'a Value) -> Result<&'a [Value]> {
    match member(content, "parts") {
        Some(one @ Value::Object(_)) => Ok(std::slice::from_ref(one)),
        other => list(path, other),
    }
}

impl Reading {
    fn content(&mut self, path: &str, content: &Value) -> Result<()> {
        let role = match text(content, "role") {
            None | Some("user" | "function" | "tool" | "") => Role::User,
            Some("model") => Role::Assistant,
            Some("system") => Role::System,
            Some(_) => return Err(wrong(&format!("{path}.role"), "user or model")),
        };
        let path = format!("{path}.parts");
        let mut parts = Vec::new();
        let mut results = Vec::new();
        for (at, part) in parts_of(&path, content)?.iter().enumerate() {
            let path = format!("{path}[{at}]");
            match member(part, "functionResponse") {
                Some(response) => results.push(self.result(&path, response)?),
                None => self.part(&path, part, role, &mut parts)?,
            }
        }
        self.messages.append(&mut results);
        if !parts.is_empty() {
            self.messages.push(Message::of(role, parts));
        }
        Ok(())
    }

    fn part(&mut self, path: &str, part: &Value, role: Role, parts: &mut Vec<Part>) -> Result<()> {
        let sealed = text(part, "thoughtSignature").unwrap_or_default();
        let seal = Seal::of_carried(Family::Gemini, sealed, false);
        if member(part, "thought") == Some(&Value::Bool(true)) {
            let text = text(part, "text").unwrap_or_default().to_owned();
            parts.push(Part::Thought(Thought { text, seal }));
            return Ok(());
        }
        if seal.is_some() {
            parts.push(Part::Thought(Thought { text: String::new(), seal }));
        }
        if let Some(text) = text(part, "text") {
            // What an answer ended with only to carry its signature.
            if !(text.is_empty() && matches!(parts.last(), Some(Part::Thought(_)))) {
                parts.push(Part::Text(text.to_owned()));
            }
        } else if let Some(call) = member(part, "functionCall") {
            if role != Role::Assistant {
                return Err(wrong(path, "a part of the model, if it is a functionCall"));
            }
            parts.push(Part::Call(self.call(path, call)?));
        } else if let Some(data) = member(part, "inlineData") {
            let mime = text(data, "mimeType").unwrap_or_default();
            let bytes = text(data, "data").unwrap_or_default();
            let source = media::of_base64(path, mime, bytes)?;
            parts.push(media_part(mime, source, rest_of(part, "inlineData")));
        } else if let Some(file) = member(part, "fileData") {
            let uri = text(file, "fileUri").ok_or_else(|| wrong(path, "a part with a fileUri"))?;
            let mut rest = rest_of(part, "fileData");
            let mime = text(file, "mimeType").unwrap_or_default();
            if !mime.is_empty() {
                rest.insert("mimeType".into(), mime.into());
            }
            let source = MediaSource::Id(Family::Gemini, uri.to_owned());
            parts.push(media_part(mime, source, rest));
        } else if ["executableCode", "codeExecutionResult"]
            .iter()
            .any(|n| member(part, n).is_some())
        {
            let foreign = Foreign { family: Family::Gemini, value: part.clone(), text: None };
            parts.push(Part::Foreign(Box::new(foreign)));
        } else {
            return Err(wrong(path, "a part of a kind that this version of Hearth knows"));
        }
        Ok(())
    }

    fn call(&mut self, path: &str, call: &Value) -> Result<ToolCall> {
        let name = text(call, "name").filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| wrong(path, "a functionCall with a name"))?.to_owned();
        let arguments = match member(call, "args") {
            None => "{}".to_owned(),
            Some(args @ Value::Object(_)) => args.to_string(),
            Some(_) => return Err(wrong(path, "a functionCall whose args are an object")),
        };
        self.calls += 1;
        if self.calls > MAX_MESSAGES || self.open.len() >= MAX_CALLS {
            return Err(wrong(path, "one of fewer calls"));
        }
        // Nine letters and digits, which is what some chat templates insist on.
        let made_up = || format!("call{:05}", self.calls);
        let id = text(call, "id").filter(|id| !id.is_empty()).map_or_else(made_up, str::to_owned);
        self.open.push((id.clone(), name.clone()));
        Ok(ToolCall { id, name, arguments })
    }

    /// A result answers the call of its id, else the first open one of its name, else the first.
    fn result(&mut self, path: &str, response: &Value) -> Result<Message> {
        let name = text(response, "name").unwrap_or_default();
        let id = text(response, "id").unwrap_or_default();
        let by_id = self.open.iter().position(|(known, _)| known == id);
        let by_name = || self.open.iter().position(|(_, known)| known == name);
        let at = by_id.or_else(by_name).or((!self.open.is_empty()).then_some(0));
        let Some((id, tool)) = at.map(|at| self.open.remove(at)) else {
            return Err(wrong(path, "the functionResponse of a functionCall before it"));
        };
        let text = match member(response, "response") {
            None => "{}".to_owned(),
            Some(value) => value.to_string(),
        };
        let mut message = Message::text(Role::Tool, text);
        let inner = list(path, member(response, "parts"))?;
        for (at, part) in inner.iter().enumerate() {
            self.part(&format!("{path}.parts[{at}]"), part, Role::User, &mut message.parts)?;
        }
        (message.call_id, message.name) = (Some(id), Some(tool));
        Ok(message)
    }
}

fn media_part(mime: &str, source: MediaSource, rest: Map<String, Value>) -> Part {
    let kind = match mime.split('/').next() {
        Some("image") => MediaKind::Image,
        Some("audio") => MediaKind::Audio,
        Some("video") => MediaKind::Video,
        _ => MediaKind::File,
    };
    let extras = (!rest.is_empty()).then_some((Family::Gemini, rest));
    Part::Media(Box::new(Media { kind, source, name: None, extras }))
}

/// What a part says beside this member, such as `videoMetadata`.
fn rest_of(part: &Value, name: &str) -> Map<String, Value> {
    let mut rest = in_camel_case(part.as_object().cloned().unwrap_or_default());
    rest.remove(name);
    rest.remove("thoughtSignature");
    rest
}
