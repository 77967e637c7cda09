//! Reads the answers of chat, whole and as streams of events.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::event::{Event, FinishReason};
use crate::request::{Citation, Family, GenerateRequest};
use crate::wire::answer::{Answer, CallKey, Count, Told};
use crate::wire::stream::{Parse, json as parse_json};
use crate::wire::{Read, Refusal, refusals};

/// Reads one answer.
pub(super) struct CohereReader {
    answer: Answer,
}

impl CohereReader {
    pub(super) fn new(request: &GenerateRequest) -> CohereReader {
        CohereReader { answer: Answer::new(request) }
    }
}

impl Parse for CohereReader {
    fn piece(&mut self, data: &[u8], out: &mut Vec<Event>) -> Read<()> {
        if data.is_empty() || data == b"[DONE]" {
            return Ok(());
        }
        let event: Named = parse_json(data)?;
        let delta = event.delta.unwrap_or_default();
        let message = delta.message.unwrap_or_default();
        let answer = &mut self.answer;
        match &*event.kind {
            "message-start" => {
                answer.start(out);
                Ok(())
            }
            "content-start" | "content-delta" => {
                let content: Part = of(message.content)?;
                answer.think(0, content.thinking, out)?;
                answer.text(0, content.text, Vec::new(), out)
            }
            "tool-plan-delta" => answer.think(0, message.tool_plan, out),
            "tool-call-start" | "tool-call-delta" => {
                let call: Call = of(message.tool_calls)?;
                let key = CallKey { index: event.index.unwrap_or(0), id: call.id };
                let Function { name, arguments } = call.function;
                answer.call(0, key, (Some(&name), arguments), out)
            }
            "citation-start" => answer.cite(0, citation(message.citations), out),
            "message-end" => {
                answer.tell(delta.usage.unwrap_or_default().told());
                if let Some(error) = delta.error {
                    return Err(refusals::read_inside(&json!({ "error": error })));
                }
                answer.finish(0, reason(delta.finish_reason.as_deref())?, out)
            }
            _ => Ok(()),
        }
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<Event>) -> Read<()> {
        let whole: Whole = parse_json(body)?;
        let Some(message) = whole.message else {
            return Err(refusals::read_inside(&parse_json::<Value>(body)?));
        };
        let answer = &mut self.answer;
        answer.tell(whole.usage.unwrap_or_default().told());
        answer.think(0, message.tool_plan, out)?;
        for part in message.content.as_array().into_iter().flatten() {
            let part: Part = of(part.clone())?;
            answer.think(0, part.thinking, out)?;
            answer.text(0, part.text, Vec::new(), out)?;
        }
        let citations = message.citations.as_array().cloned().unwrap_or_default();
        for raw in citations {
            answer.cite(0, citation(raw), out)?;
        }
        let calls = message.tool_calls.as_array().cloned().unwrap_or_default();
        for (index, call) in (0u64..).zip(calls) {
            let call: Call = of(call)?;
            let key = CallKey { index, id: call.id };
            answer.call(0, key, (Some(&call.function.name), call.function.arguments), out)?;
        }
        answer.finish(0, reason(whole.finish_reason.as_deref())?, out)
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Read<()> {
        self.answer.end(out)
    }
}

fn reason(word: Option<&str>) -> Read<FinishReason> {
    Ok(match word {
        Some("COMPLETE" | "STOP_SEQUENCE") => FinishReason::Stop,
        Some("MAX_TOKENS") => FinishReason::Length,
        Some("TOOL_CALL") => FinishReason::ToolCalls,
        Some("ERROR_TOXIC") => FinishReason::Filtered(Default::default()),
        Some("ERROR" | "TIMEOUT" | "ERROR_LIMIT") => {
            return Err(Refusal::broken("The provider ended its answer with an error."));
        }
        _ => FinishReason::Other,
    })
}

fn citation(raw: Value) -> Citation {
    let place = |name: &str| raw[name].as_u64().and_then(|at| u32::try_from(at).ok());
    let source = &raw["sources"][0]["document"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Citation {
        url: text(&source["url"]),
        title: text(&source["title"]),
        text: text(&raw["text"]),
        span: place("start").zip(place("end")),
        raw: Some((Family::Cohere, raw)),
    }
}

/// A value as what it should be; nothing as the least that it can be.
fn of<T: Default + serde::de::DeserializeOwned>(value: Value) -> Read<T> {
    match value {
        Value::Null => Ok(T::default()),
        value => serde_json::from_value(value).map_err(|error| {
            Refusal::broken(format!("The provider's answer cannot be read: {error}."))
        }),
    }
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    index: Option<u64>,
    delta: Option<Delta>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delta {
    message: Option<Message>,
    finish_reason: Option<String>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    content: Value,
    tool_plan: String,
    tool_calls: Value,
    citations: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Part {
    text: String,
    thinking: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Call {
    id: String,
    function: Function,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Function {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct Whole {
    message: Option<Message>,
    finish_reason: Option<String>,
    usage: Option<Usage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    tokens: Option<Tokens>,
    cached_tokens: Count,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    input_tokens: Count,
    output_tokens: Count,
}

impl Usage {
    fn told(self) -> Told {
        let tokens = self.tokens.unwrap_or_default();
        Told {
            prompt: tokens.input_tokens.0,
            completion: tokens.output_tokens.0,
            cached: self.cached_tokens.0,
            ..Told::default()
        }
    }
}
