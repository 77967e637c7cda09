//! Reads messages, whole and as streams of events.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::event::{Aside, Event, FinishReason};
use crate::request::{Citation, Family, GenerateRequest, Seal};
use crate::wire::answer::{Answer, CallKey, Count, Told};
use crate::wire::stream::{Parse, json};
use crate::wire::{MAX_LINE_BYTES, Read, Refusal, refusals};

/// Most citations of one block.
const MAX_CITATIONS: usize = 1000;

/// Reads one answer.
pub(super) struct AnthropicReader {
    answer: Answer,
    open: Open,
    /// Whether the last thing was a text, so that a new block of text is a piece of its own.
    after_text: bool,
}

/// The block that is being read.
enum Open {
    Nothing,
    Text(Vec<Value>),
    Thinking(String),
    Call(CallKey),
    /// One that is kept as it is, with the arguments that come in pieces.
    Foreign(Value, String),
}

impl AnthropicReader {
    pub(super) fn new(request: &GenerateRequest) -> AnthropicReader {
        AnthropicReader { answer: Answer::new(request), open: Open::Nothing, after_text: false }
    }
}

impl Parse for AnthropicReader {
    fn piece(&mut self, data: &[u8], out: &mut Vec<Event>) -> Read<()> {
        let event: Named = json(data)?;
        match &*event.kind {
            "message_start" => {
                let message = event.message.unwrap_or_default();
                self.answer.tell(message.usage.told());
                self.answer.start(out);
                Ok(())
            }
            "content_block_start" => {
                let index = event.index.unwrap_or(0);
                self.begin(index, event.content_block.unwrap_or_default(), out)
            }
            "content_block_delta" => match event.delta {
                Some(delta) => self.more(delta, out),
                None => Ok(()),
            },
            "content_block_stop" => self.close(out),
            "message_delta" => {
                self.answer.tell(event.usage.unwrap_or_default().told());
                let delta = event.delta.unwrap_or_default();
                self.finish(delta.stop_reason.as_deref(), delta.stop_sequence.as_deref(), out)
            }
            "error" => Err(refusals::read_inside(&json::<Value>(data)?)),
            // `ping`, `message_stop`, and what may come.
            _ => Ok(()),
        }
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<Event>) -> Read<()> {
        let message: Message = json(body)?;
        if message.kind == "error" {
            return Err(refusals::read_inside(&json::<Value>(body)?));
        }
        self.answer.tell(message.usage.told());
        self.answer.start(out);
        for (index, mut block) in (0u64..).zip(message.content) {
            // What comes in pieces in a stream.
            let mut take = |name: &str| match block.get_mut(name).map(Value::take) {
                Some(Value::String(text)) => Some(text),
                _ => None,
            };
            let (text, thinking) = (take("text"), take("thinking"));
            let signature = take("signature");
            let citations = match block.get_mut("citations").map(Value::take) {
                Some(Value::Array(list)) => list,
                _ => Vec::new(),
            };
            self.begin(index, block, out)?;
            self.more(Delta { text, thinking, signature, ..Delta::default() }, out)?;
            for citation in citations {
                self.more(Delta { citation: Some(citation), ..Delta::default() }, out)?;
            }
            self.close(out)?;
        }
        self.finish(message.stop_reason.as_deref(), message.stop_sequence.as_deref(), out)
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Read<()> {
        self.close(out)?;
        self.answer.end(out)
    }
}

impl AnthropicReader {
    fn begin(&mut self, index: u64, block: Value, out: &mut Vec<Event>) -> Read<()> {
        self.close(out)?;
        let text = |name: &str| block[name].as_str().unwrap_or_default().to_owned();
        let after_text = std::mem::take(&mut self.after_text);
        match block["type"].as_str() {
            Some("text") => {
                if after_text {
                    self.answer.aside(0, Aside::Break, out)?;
                }
                self.open = Open::Text(Vec::new());
                self.more(Delta { text: Some(text("text")), ..Delta::default() }, out)
            }
            Some("thinking") => {
                self.open = Open::Thinking(text("signature"));
                self.answer.think(0, text("thinking"), out)
            }
            Some("redacted_thinking") => {
                let seal =
                    Seal { family: Family::Anthropic, value: text("data"), is_thought: true };
                self.answer.seal(0, seal, out)
            }
            Some("tool_use") => {
                let key = CallKey { index, id: text("id") };
                // Some send the arguments at once.
                let input = block["input"].as_object().filter(|input| !input.is_empty());
                let input = input.map(|_| block["input"].to_string()).unwrap_or_default();
                self.answer.call(0, key.clone(), (block["name"].as_str(), input), out)?;
                self.open = Open::Call(key);
                Ok(())
            }
            _ => {
                self.open = Open::Foreign(block, String::new());
                Ok(())
            }
        }
    }

    fn more(&mut self, delta: Delta, out: &mut Vec<Event>) -> Read<()> {
        match &mut self.open {
            Open::Nothing => Ok(()),
            Open::Text(citations) => {
                if let Some(citation) = delta.citation {
                    if citations.len() >= MAX_CITATIONS {
                        return Err(Refusal::broken(
                            "The provider's answer has too many citations.",
                        ));
                    }
                    citations.push(citation);
                }
                let text = delta.text.unwrap_or_default();
                self.after_text |= !text.is_empty();
                self.answer.text(0, text, Vec::new(), out)
            }
            Open::Thinking(signature) => {
                push(signature, delta.signature.as_deref().unwrap_or_default())?;
                self.answer.think(0, delta.thinking.unwrap_or_default(), out)
            }
            Open::Call(key) => {
                let (key, arguments) = (key.clone(), delta.partial_json.unwrap_or_default());
                self.answer.call(0, key, (None, arguments), out)
            }
            Open::Foreign(_, input) => {
                push(input, delta.partial_json.as_deref().unwrap_or_default())
            }
        }
    }

    fn close(&mut self, out: &mut Vec<Event>) -> Read<()> {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing | Open::Call(_) => Ok(()),
            Open::Text(citations) => {
                for raw in citations {
                    self.answer.cite(0, citation(raw), out)?;
                }
                Ok(())
            }
            Open::Thinking(value) if value.is_empty() => Ok(()),
            Open::Thinking(value) => {
                let seal = Seal { family: Family::Anthropic, value, is_thought: false };
                self.answer.seal(0, seal, out)
            }
            Open::Foreign(mut block, input) => {
                if !input.is_empty() {
                    let input: Map<String, Value> = json(input.as_bytes())?;
                    block["input"] = input.into();
                }
                self.answer.foreign(0, (Family::Anthropic, block), out)
            }
        }
    }

    fn finish(
        &mut self,
        reason: Option<&str>,
        stop: Option<&str>,
        out: &mut Vec<Event>,
    ) -> Read<()> {
        let reason = match (reason, stop) {
            (None, _) => return Ok(()),
            (Some("stop_sequence"), Some(text)) => self.answer.stop_text(text),
            (Some("end_turn" | "stop_sequence"), _) => FinishReason::Stop,
            (Some("max_tokens" | "model_context_window_exceeded"), _) => FinishReason::Length,
            (Some("tool_use"), _) => FinishReason::ToolCalls,
            (Some("refusal"), _) => FinishReason::Refusal,
            (Some("pause_turn"), _) => FinishReason::Paused,
            (Some(_), _) => FinishReason::Other,
        };
        self.answer.finish(0, reason, out)
    }
}

/// More of what is kept until its block ends.
fn push(kept: &mut String, more: &str) -> Read<()> {
    if kept.len() + more.len() > MAX_LINE_BYTES {
        return Err(Refusal::broken("The provider's answer has a block that is too long."));
    }
    kept.push_str(more);
    Ok(())
}

fn citation(raw: Value) -> Citation {
    let text = |name: &str| raw[name].as_str().map(str::to_owned);
    Citation {
        url: text("url"),
        title: text("title").or_else(|| text("document_title")),
        text: text("cited_text"),
        span: None,
        raw: Some((Family::Anthropic, raw)),
    }
}

/// The models of a list.
pub(super) fn models(body: &[u8]) -> Read<Vec<String>> {
    #[derive(Deserialize)]
    struct Model {
        id: String,
    }
    #[derive(Deserialize)]
    struct List {
        data: Vec<Model>,
    }
    Ok(json::<List>(body)?.data.into_iter().map(|model| model.id).collect())
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    message: Option<Message>,
    index: Option<u64>,
    content_block: Option<Value>,
    delta: Option<Delta>,
    usage: Option<Usage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    content: Vec<Value>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    usage: Usage,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delta {
    text: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    partial_json: Option<String>,
    citation: Option<Value>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    input_tokens: Count,
    output_tokens: Count,
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
}

impl Usage {
    fn told(self) -> Told {
        let cache = [self.cache_read_input_tokens, self.cache_creation_input_tokens];
        Told::beside_cache(self.input_tokens, self.output_tokens, cache)
    }
}
