//! Reads conversations, whole and as streams of frames.

use serde::Deserialize;
use serde_json::Value;

use super::frames::{Frame, Frames};
use crate::event::{Event, Filter, FinishReason};
use crate::request::{Citation, Family, GenerateRequest, Seal};
use crate::wire::answer::{Answer, CallKey, Count, Told};
use crate::wire::stream::json;
use crate::wire::{MAX_BODY_BYTES, MAX_LINE_BYTES, Read, Reader, Refusal, Shape, refusals};

/// Reads one answer.
pub(super) struct BedrockReader {
    answer: Answer,
    /// Whether the request has one stop text, so that it is known which one was met.
    stops: bool,
    framing: Framing,
    /// The signature of what is being thought.
    signature: String,
}

enum Framing {
    Frames(Frames),
    Whole(Vec<u8>),
}

impl BedrockReader {
    pub(super) fn new(request: &GenerateRequest, shape: Shape) -> BedrockReader {
        let framing = match shape {
            Shape::Whole => Framing::Whole(Vec::new()),
            Shape::Stream => Framing::Frames(Frames::default()),
        };
        let stops = request.stop.len() == 1;
        BedrockReader { answer: Answer::new(request), stops, framing, signature: String::new() }
    }
}

impl Reader for BedrockReader {
    fn feed(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Read<()> {
        match &mut self.framing {
            Framing::Whole(body) if body.len() + bytes.len() > MAX_BODY_BYTES => {
                let most = MAX_BODY_BYTES >> 20;
                Err(Refusal::broken(format!("The provider's answer has more than {most} MiB.")))
            }
            Framing::Whole(body) => {
                body.extend_from_slice(bytes);
                Ok(())
            }
            Framing::Frames(frames) => {
                let mut frames = std::mem::take(frames);
                let fed = frames.feed(bytes, |frame| self.frame(&frame, events));
                self.framing = Framing::Frames(frames);
                fed
            }
        }
    }

    fn end(&mut self, events: &mut Vec<Event>) -> Read<()> {
        match &mut self.framing {
            Framing::Frames(frames) => frames.end()?,
            Framing::Whole(body) => {
                let body = std::mem::take(body);
                self.whole(&body, events)?;
            }
        }
        self.answer.end(events)
    }
}

impl BedrockReader {
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<Event>) -> Read<()> {
        if frame.message_type != "event" {
            let mut error: Value = serde_json::from_slice(frame.payload).unwrap_or_default();
            error["code"] = status_of(frame.kind).into();
            error["type"] = frame.kind.into();
            return Err(refusals::read_inside(&error));
        }
        match frame.kind {
            "messageStart" => {
                self.answer.start(out);
                Ok(())
            }
            "contentBlockStart" => {
                let start: Start = json(frame.payload)?;
                match start.start.tool_use {
                    Some(call) => self.call(start.content_block_index, call, out),
                    None => Ok(()),
                }
            }
            "contentBlockDelta" => {
                let piece: Piece = json(frame.payload)?;
                self.delta(piece.content_block_index, piece.delta, out)
            }
            "contentBlockStop" => self.close(out),
            "messageStop" => {
                let stop: Stop = json(frame.payload)?;
                self.close(out)?;
                self.finish(stop.stop_reason.as_deref(), out)
            }
            "metadata" => {
                let told: Metadata = json(frame.payload)?;
                self.answer.tell(told.usage.told());
                Ok(())
            }
            // What may come.
            _ => Ok(()),
        }
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<Event>) -> Read<()> {
        let whole: Whole = json(body)?;
        self.answer.tell(whole.usage.told());
        self.answer.start(out);
        for (index, block) in (0u64..).zip(whole.output.message.content) {
            if let Some(call) = block.tool_use {
                self.call(index, call, out)?;
            }
            let thought = block.reasoning_content.map(|thought| Reasoning {
                redacted_content: thought.redacted_content,
                ..thought.reasoning_text.unwrap_or_default()
            });
            let (text, cited) = match block.citations_content {
                None => (block.text, Vec::new()),
                Some(cited) => {
                    let texts = cited.content.into_iter().filter_map(|piece| piece.text);
                    (Some(texts.collect()), cited.citations)
                }
            };
            let delta = Delta { text, reasoning_content: thought, ..Delta::default() };
            self.delta(index, delta, out)?;
            for citation in cited {
                let delta = Delta { citation: Some(citation), ..Delta::default() };
                self.delta(index, delta, out)?;
            }
            self.close(out)?;
        }
        self.finish(whole.stop_reason.as_deref(), out)
    }

    fn call(&mut self, index: u64, call: Call, out: &mut Vec<Event>) -> Read<()> {
        let key = CallKey { index, id: call.tool_use_id };
        let input = match call.input {
            Some(Value::String(text)) => text,
            Some(value) => value.to_string(),
            None => String::new(),
        };
        self.answer.call(0, key, (call.name.as_deref(), input), out)
    }

    fn delta(&mut self, index: u64, delta: Delta, out: &mut Vec<Event>) -> Read<()> {
        if let Some(text) = delta.text {
            self.answer.text(0, text, Vec::new(), out)?;
        }
        if let Some(piece) = delta.tool_use {
            let key = CallKey { index, id: String::new() };
            self.answer.call(0, key, (None, piece.input.unwrap_or_default()), out)?;
        }
        if let Some(raw) = delta.citation {
            self.answer.cite(0, citation(&raw), out)?;
        }
        let Some(thought) = delta.reasoning_content else { return Ok(()) };
        self.answer.think(0, thought.text.unwrap_or_default(), out)?;
        let more = thought.signature.unwrap_or_default();
        if self.signature.len() + more.len() > MAX_LINE_BYTES {
            return Err(Refusal::broken("The provider's answer has a block that is too long."));
        }
        self.signature.push_str(&more);
        match thought.redacted_content {
            Some(value) => {
                let seal = Seal { family: Family::Anthropic, value, is_thought: true };
                self.answer.seal(0, seal, out)
            }
            None => Ok(()),
        }
    }

    /// A block has ended: what was thought in it is sealed.
    fn close(&mut self, out: &mut Vec<Event>) -> Read<()> {
        let value = std::mem::take(&mut self.signature);
        if value.is_empty() {
            return Ok(());
        }
        let seal = Seal { family: Family::Anthropic, value, is_thought: false };
        self.answer.seal(0, seal, out)
    }

    fn finish(&mut self, reason: Option<&str>, out: &mut Vec<Event>) -> Read<()> {
        let reason = match reason {
            None => return Ok(()),
            // Which one it was is not told.
            Some("stop_sequence") if self.stops => FinishReason::StopText(0),
            Some("end_turn" | "stop_sequence") => FinishReason::Stop,
            Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
            Some("tool_use") => FinishReason::ToolCalls,
            Some("guardrail_intervened" | "content_filtered") => {
                FinishReason::Filtered(Filter::Safety)
            }
            Some("malformed_tool_use") => FinishReason::BadCall,
            Some(_) => FinishReason::Other,
        };
        self.answer.finish(0, reason, out)
    }
}

/// The status that an exception would have had before the stream began.
fn status_of(exception: &str) -> u16 {
    match exception {
        "throttlingException" => 429,
        "validationException" => 400,
        "accessDeniedException" => 403,
        "serviceUnavailableException" | "modelNotReadyException" => 503,
        _ => 500,
    }
}

fn citation(raw: &Value) -> Citation {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Citation {
        url: text(&raw["location"]["web"]["url"]),
        title: text(&raw["title"]),
        text: text(&raw["sourceContent"][0]["text"]),
        span: None,
        raw: None,
    }
}

/// The models of a list.
pub(super) fn models(body: &[u8]) -> Read<Vec<String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Model {
        model_id: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct List {
        model_summaries: Vec<Model>,
    }
    Ok(json::<List>(body)?.model_summaries.into_iter().map(|model| model.model_id).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    #[serde(default)]
    content_block_index: u64,
    start: Begun,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    tool_use: Option<Call>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call {
    tool_use_id: String,
    name: Option<String>,
    input: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Piece {
    #[serde(default)]
    content_block_index: u64,
    delta: Delta,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Delta {
    text: Option<String>,
    tool_use: Option<Input>,
    reasoning_content: Option<Reasoning>,
    citation: Option<Value>,
}

#[derive(Deserialize)]
struct Input {
    input: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Reasoning {
    text: Option<String>,
    signature: Option<String>,
    /// As Base64.
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stop {
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    usage: Usage,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    output: Output,
    stop_reason: Option<String>,
    #[serde(default)]
    usage: Usage,
}

#[derive(Deserialize)]
struct Output {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Vec<Block>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Block {
    text: Option<String>,
    tool_use: Option<Call>,
    reasoning_content: Option<Thought>,
    citations_content: Option<Cited>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thought {
    reasoning_text: Option<Reasoning>,
    redacted_content: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cited {
    content: Vec<Said>,
    citations: Vec<Value>,
}

#[derive(Deserialize)]
struct Said {
    text: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Usage {
    input_tokens: Count,
    output_tokens: Count,
    cache_read_input_tokens: Count,
    cache_write_input_tokens: Count,
}

impl Usage {
    fn told(self) -> Told {
        let cache = [self.cache_read_input_tokens, self.cache_write_input_tokens];
        Told::beside_cache(self.input_tokens, self.output_tokens, cache)
    }
}
