//! Reads answers that pass through: lets by what is whole and harmless, and finds the usage in it.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::answer::Count;
use super::lines::Sse;
use super::{MAX_BODY_BYTES, Read, Refusal, refusals};
use crate::event::Usage;
use crate::passage::{PassKind, PassRequest, PassRoute};

/// Longest event: a large picture as Base64.
const MAX_EVENT_BYTES: usize = 32 << 20;
/// Longest answer that is no JSON, in bytes.
const MAX_STREAM_BYTES: u64 = 256 << 20;
/// Longest JSON that is taken apart to name the model as the caller knows it.
const MAX_NAMED_BYTES: usize = 1 << 20;
/// Bytes of text that make a token, more or less.
const TOKEN_BYTES: usize = 4;

/// What becomes of an answer's bytes.
pub(crate) struct PassReader {
    framing: Framing,
    route: PassRoute,
    /// The model as the caller knows it.
    model: String,
    prompt_tokens: u32,
    told: Option<Told>,
    read_bytes: u64,
    /// Whether an event was the last of an answer.
    has_ended: bool,
}

enum Framing {
    Json(Vec<u8>),
    Events(Sse),
    Bytes,
}

/// What counts of a JSON answer, or of an event.
#[derive(Deserialize)]
struct Known<'a> {
    #[serde(default, borrow, rename = "type")]
    kind: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    data: Option<IgnoredAny>,
}

/// Tokens, in either of OpenAI's words.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    #[serde(alias = "prompt_tokens")]
    input_tokens: Count,
    #[serde(alias = "completion_tokens")]
    output_tokens: Count,
}

impl PassReader {
    /// A reader for an answer of this media type, and of what kind it is then.
    pub(crate) fn new(request: &PassRequest, mime: &str) -> Read<(PassReader, PassKind)> {
        let essence = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (framing, kind) = match essence.as_str() {
            "application/json" => (Framing::Json(Vec::new()), PassKind::Json),
            "text/event-stream" => {
                (Framing::Events(Sse::within(MAX_EVENT_BYTES)), PassKind::Events)
            }
            // A page would run in the name of whoever opens it here.
            "text/html" | "application/xhtml+xml" => {
                return Err(Refusal::broken("The provider answered with a page for people."));
            }
            _ => (Framing::Bytes, PassKind::Bytes(harmless(&essence))),
        };
        let (route, model) = (request.route, request.model.clone());
        let prompt_tokens = request.prompt_tokens();
        let (told, read_bytes, has_ended) = (None, 0, false);
        let reader =
            PassReader { framing, route, model, prompt_tokens, told, read_bytes, has_ended };
        Ok((reader, kind))
    }

    /// More bytes have come, cut anywhere; `out` gets what may go on.
    pub(crate) fn feed(&mut self, bytes: Bytes, out: &mut Vec<Bytes>) -> Read<()> {
        self.read_bytes += bytes.len() as u64;
        if self.read_bytes > MAX_STREAM_BYTES {
            let most = MAX_STREAM_BYTES >> 20;
            return Err(Refusal::broken(format!("The answer has more than {most} MiB.")));
        }
        match &mut self.framing {
            Framing::Json(body) => {
                if body.len() + bytes.len() > MAX_BODY_BYTES {
                    let most = MAX_BODY_BYTES >> 20;
                    return Err(Refusal::broken(format!("The answer has more than {most} MiB.")));
                }
                body.extend_from_slice(&bytes);
            }
            Framing::Events(sse) => {
                let (told, has_ended) = (&mut self.told, &mut self.has_ended);
                sse.feed(&bytes, |data| event(data, told, has_ended, out))?;
            }
            Framing::Bytes if bytes.is_empty() => {}
            Framing::Bytes => out.push(bytes),
        }
        Ok(())
    }

    /// No more will come: what is left goes on, and what was used is told.
    pub(crate) fn end(&mut self, out: &mut Vec<Bytes>) -> Read<Usage> {
        let mut answer_tokens = 0;
        match &mut self.framing {
            Framing::Json(body) => {
                let body = std::mem::take(body);
                let known: Known<'_> = serde_json::from_slice(&body).map_err(unreadable)?;
                if let (Some(error), None) = (&known.error, &known.data) {
                    return Err(refusals::read_inside(&serde_json::json!({ "error": error })));
                }
                self.told = known.usage.and_then(|usage| serde_json::from_value(usage).ok());
                let is_text =
                    matches!(self.route, PassRoute::Transcriptions | PassRoute::Translations);
                answer_tokens = if is_text { body.len().div_ceil(TOKEN_BYTES) } else { 0 };
                out.push(self.named(body));
            }
            Framing::Events(sse) => {
                let (told, has_ended) = (&mut self.told, &mut self.has_ended);
                sse.end(|data| event(data, told, has_ended, out))?;
                if !self.has_ended {
                    let message = "The provider broke off before the end of its answer.";
                    return Err(Refusal::broken(message));
                }
            }
            Framing::Bytes if self.read_bytes == 0 => {
                return Err(Refusal::broken("The provider's answer is empty."));
            }
            Framing::Bytes => {}
        }
        let told = self.told.unwrap_or_default();
        let (prompt, completion) = (told.input_tokens.0, told.output_tokens.0);
        let guess = u32::try_from(answer_tokens).unwrap_or(u32::MAX);
        Ok(Usage {
            prompt_tokens: prompt.unwrap_or(self.prompt_tokens),
            completion_tokens: completion.unwrap_or(guess),
            is_estimated: prompt.is_none() || completion.is_none(),
            ..Usage::default()
        })
    }

    /// The answer with the model's public name, where it names one.
    fn named(&self, body: Vec<u8>) -> Bytes {
        if self.route != PassRoute::Moderations || body.len() > MAX_NAMED_BYTES {
            return body.into();
        }
        match serde_json::from_slice::<Value>(&body) {
            Ok(mut value) if value["model"].is_string() => {
                value["model"] = Value::String(self.model.clone());
                value.to_string().into()
            }
            _ => body.into(),
        }
    }
}

/// Writes one event anew, so that whatever stood around its JSON goes no further.
fn event(
    data: &[u8],
    told: &mut Option<Told>,
    has_ended: &mut bool,
    out: &mut Vec<Bytes>,
) -> Read<()> {
    if data == b"[DONE]" {
        *has_ended = true;
        out.push(Bytes::from_static(b"data: [DONE]\n\n"));
        return Ok(());
    }
    let known: Known<'_> = serde_json::from_slice(data).map_err(unreadable)?;
    let kind = known.kind.as_deref().unwrap_or_default();
    if known.error.is_some() || kind == "error" {
        let value: Value = serde_json::from_slice(data).map_err(unreadable)?;
        return Err(refusals::read_inside(&value));
    }
    let usage = known.usage.and_then(|usage| serde_json::from_value(usage).ok());
    *told = usage.or(*told);
    *has_ended |= [".completed", ".done"].iter().any(|end| kind.ends_with(end));
    let is_plain = kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let mut frame = Vec::with_capacity(data.len() + kind.len() + 16);
    if is_plain && !kind.is_empty() {
        frame.extend_from_slice(b"event: ");
        frame.extend_from_slice(kind.as_bytes());
        frame.push(b'\n');
    }
    frame.extend_from_slice(b"data: ");
    // Between two values a line break is as good as a space; inside of one there is none.
    frame.extend(data.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
    frame.extend_from_slice(b"\n\n");
    out.push(frame.into());
    Ok(())
}

/// The media type if a browser does nothing with it but show or play it.
fn harmless(essence: &str) -> String {
    let is_plain = |rest: &str| {
        !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-".contains(&byte))
    };
    let is_sound = essence.strip_prefix("audio/").is_some_and(is_plain);
    match essence {
        "text/plain" => "text/plain; charset=utf-8".to_owned(),
        "text/vtt" | "application/x-subrip" | "text/srt" => format!("{essence}; charset=utf-8"),
        _ if is_sound => essence.to_owned(),
        _ => "application/octet-stream".to_owned(),
    }
}

fn unreadable(error: serde_json::Error) -> Refusal {
    Refusal::broken(format!("The provider's answer cannot be read: {error}."))
}

#[cfg(test)]
mod tests;
