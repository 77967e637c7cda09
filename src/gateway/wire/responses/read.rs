//! Reads responses, whole and as streams of typed events.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::event::{Event, FinishReason};
use crate::request::{Citation, Family, GenerateRequest, Seal};
use crate::wire::answer::{Answer, CallKey, Count, Told};
use crate::wire::stream::{Parse, json as parse_json};
use crate::wire::{Read, refusals};

/// Reads one answer.
pub(super) struct ResponsesReader {
    answer: Answer,
}

impl ResponsesReader {
    pub(super) fn new(request: &GenerateRequest) -> ResponsesReader {
        ResponsesReader { answer: Answer::new(request) }
    }
}

impl Parse for ResponsesReader {
    fn piece(&mut self, data: &[u8], out: &mut Vec<Event>) -> Read<()> {
        if data.is_empty() || data == b"[DONE]" {
            return Ok(());
        }
        let event: Named = parse_json(data)?;
        let index = event.output_index.unwrap_or(0);
        let delta = event.delta.unwrap_or_default();
        let answer = &mut self.answer;
        match &*event.kind {
            "response.created" => {
                answer.start(out);
                Ok(())
            }
            "response.output_text.delta" => answer.text(0, delta, Vec::new(), out),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                answer.think(0, delta, out)
            }
            "response.refusal.delta" => answer.refuse(0, delta, out),
            "response.output_text.annotation.added" => {
                answer.cite(0, citation(event.annotation.unwrap_or_default()), out)
            }
            "response.output_item.added" => self.begin(index, &event.item.unwrap_or_default(), out),
            "response.function_call_arguments.delta" => {
                let key = CallKey { index, id: String::new() };
                answer.call(0, key, (None, delta), out)
            }
            "response.output_item.done" => self.close(event.item.unwrap_or_default(), out),
            "response.completed" | "response.incomplete" => {
                self.finish(&event.response.unwrap_or_default(), out)
            }
            "response.failed" => {
                let response = event.response.unwrap_or_default();
                Err(refusals::read_inside(&json!({ "error": response.error })))
            }
            "error" => Err(refusals::read_inside(&parse_json::<Value>(data)?)),
            _ => Ok(()),
        }
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<Event>) -> Read<()> {
        let response: Response = parse_json(body)?;
        if response.error.is_object() {
            return Err(refusals::read_inside(&json!({ "error": response.error })));
        }
        self.answer.tell(response.usage.told());
        self.answer.start(out);
        for (index, item) in (0u64..).zip(&response.output) {
            self.begin(index, item, out)?;
            self.parts(index, item, out)?;
            self.close(item.clone(), out)?;
        }
        self.finish(&response, out)
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Read<()> {
        self.answer.end(out)
    }
}

impl ResponsesReader {
    fn begin(&mut self, index: u64, item: &Value, out: &mut Vec<Event>) -> Read<()> {
        if item["type"] != "function_call" {
            return Ok(());
        }
        let id = item["call_id"].as_str().unwrap_or_default().to_owned();
        let key = CallKey { index, id };
        self.answer.call(0, key, (item["name"].as_str(), String::new()), out)
    }

    /// What comes in pieces in a stream.
    fn parts(&mut self, index: u64, item: &Value, out: &mut Vec<Event>) -> Read<()> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if item["type"] == "function_call" {
            let key = CallKey { index, id: String::new() };
            return self.answer.call(0, key, (None, text(&item["arguments"])), out);
        }
        let list = |name: &str| item[name].as_array().map(Vec::as_slice).unwrap_or_default();
        if item["type"] == "reasoning" {
            for part in list("summary").iter().chain(list("content")) {
                self.answer.think(0, text(&part["text"]), out)?;
            }
            return Ok(());
        }
        for part in list("content") {
            self.answer.text(0, text(&part["text"]), Vec::new(), out)?;
            self.answer.refuse(0, text(&part["refusal"]), out)?;
            for note in part["annotations"].as_array().into_iter().flatten() {
                self.answer.cite(0, citation(note.clone()), out)?;
            }
        }
        Ok(())
    }

    fn close(&mut self, item: Value, out: &mut Vec<Event>) -> Read<()> {
        match item["type"].as_str() {
            Some("message" | "function_call") | None => Ok(()),
            Some("reasoning") => match item["encrypted_content"].as_str() {
                Some(value) if !value.is_empty() => {
                    let value = value.to_owned();
                    let seal = Seal { family: Family::Responses, value, is_thought: true };
                    self.answer.seal(0, seal, out)
                }
                _ => Ok(()),
            },
            Some(_) => self.answer.foreign(0, (Family::Responses, item), out),
        }
    }

    fn finish(&mut self, response: &Response, out: &mut Vec<Event>) -> Read<()> {
        self.answer.tell(response.usage.told());
        let why = response.incomplete_details["reason"].as_str();
        let reason = match (response.status.as_str(), why) {
            ("incomplete", Some("content_filter")) => FinishReason::Filtered(Default::default()),
            ("incomplete", _) => FinishReason::Length,
            ("completed", _) => FinishReason::Stop,
            _ => FinishReason::Other,
        };
        self.answer.finish(0, reason, out)
    }
}

fn citation(raw: Value) -> Citation {
    let text = |name: &str| raw[name].as_str().map(str::to_owned);
    let place = |name: &str| raw[name].as_u64().and_then(|at| u32::try_from(at).ok());
    let span = place("start_index").zip(place("end_index"));
    let (url, title) = (text("url"), text("title"));
    Citation { url, title, text: None, span, raw: Some((Family::Responses, raw)) }
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    output_index: Option<u64>,
    delta: Option<String>,
    item: Option<Value>,
    annotation: Option<Value>,
    response: Option<Response>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Response {
    status: String,
    output: Vec<Value>,
    error: Value,
    incomplete_details: Value,
    usage: Usage,
}

/// Null until the end.
#[derive(Default)]
struct Usage(Option<Counts>);

impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Usage, D::Error> {
        Option::deserialize(deserializer).map(Usage)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Counts {
    input_tokens: Count,
    output_tokens: Count,
    input_tokens_details: Option<InputDetails>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Count,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Count,
}

impl Usage {
    fn told(&self) -> Told {
        let Some(counts) = &self.0 else { return Told::default() };
        Told {
            prompt: counts.input_tokens.0,
            completion: counts.output_tokens.0,
            cached: counts.input_tokens_details.as_ref().and_then(|told| told.cached_tokens.0),
            reasoning: counts
                .output_tokens_details
                .as_ref()
                .and_then(|told| told.reasoning_tokens.0),
            cache_write: None,
        }
    }
}
