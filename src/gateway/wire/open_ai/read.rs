//! Reads chat completions and completions, whole and in chunks.

use std::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Value, json};

use crate::event::{Event, FinishReason, TokenLogprob};
use crate::request::{Citation, Family, GenerateRequest, Seal};
use crate::wire::answer::{Answer, CallKey, Count, Told};
use crate::wire::logprobs::Token;
use crate::wire::stream::{Parse, json as parse_json};
use crate::wire::{Read, Refusal, refusals};

/// Reads one answer.
pub(super) struct OpenAiReader {
    answer: Answer,
    has_logprobs: bool,
}

impl OpenAiReader {
    pub(super) fn new(request: &GenerateRequest) -> OpenAiReader {
        OpenAiReader { answer: Answer::new(request), has_logprobs: request.logprobs.is_some() }
    }
}

impl Parse for OpenAiReader {
    fn piece(&mut self, data: &[u8], out: &mut Vec<Event>) -> Read<()> {
        if data.trim_ascii() == b"[DONE]" || data.is_empty() {
            return Ok(());
        }
        self.take(data, out)
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<Event>) -> Read<()> {
        self.take(body, out)
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Read<()> {
        self.answer.end(out)
    }
}

impl OpenAiReader {
    fn take(&mut self, data: &[u8], out: &mut Vec<Event>) -> Read<()> {
        let chunk: Chunk = parse_json(data)?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(refusals::read_inside(&json!({ "error": error })));
        }
        if let Some(usage) = chunk.usage {
            self.answer.tell(usage.told());
        }
        for choice in chunk.choices.unwrap_or_default() {
            self.choice(choice, out)?;
        }
        Ok(())
    }

    fn choice(&mut self, choice: Choice, out: &mut Vec<Event>) -> Read<()> {
        let index = choice.index.unwrap_or(0);
        if let Some(usage) = choice.usage {
            self.answer.tell(usage.told());
        }
        let mut tokens = match (self.has_logprobs, choice.logprobs) {
            (true, Some(logprobs)) => logprobs.tokens(),
            _ => Vec::new(),
        };
        if let Some(text) = choice.text {
            self.answer.text(index, text, std::mem::take(&mut tokens), out)?;
        }
        if let Some(delta) = choice.delta.or(choice.message) {
            self.delta(index, delta, tokens, out)?;
        }
        match choice.finish_reason.as_deref() {
            None | Some("") => Ok(()),
            Some(word) => {
                let reason = match (word, choice.stop_reason.as_ref().and_then(Value::as_str)) {
                    // vLLM says which text it was.
                    ("stop", Some(text)) => self.answer.stop_text(text),
                    (word, _) => reason(word)?,
                };
                self.answer.finish(index, reason, out)
            }
        }
    }

    fn delta(
        &mut self,
        index: u16,
        delta: Delta,
        tokens: Vec<TokenLogprob>,
        out: &mut Vec<Event>,
    ) -> Read<()> {
        let answer = &mut self.answer;
        if let Some(Words::Text(text)) = delta.reasoning_content.or(delta.reasoning) {
            answer.think(index, text, out)?;
        }
        for detail in delta.reasoning_details.unwrap_or_default() {
            if let Some(seal) = seal_of(&detail) {
                answer.seal(index, seal, out)?;
            }
        }
        match delta.content {
            Some(Words::Text(text)) => answer.text(index, text, tokens, out)?,
            Some(Words::Parts(parts)) => {
                for part in parts {
                    self.part(index, &part, out)?;
                }
            }
            None if !tokens.is_empty() => answer.text(index, String::new(), tokens, out)?,
            None => {}
        }
        let answer = &mut self.answer;
        answer.refuse(index, delta.refusal.unwrap_or_default(), out)?;
        for note in delta.annotations.unwrap_or_default() {
            answer.cite(index, citation(note), out)?;
        }
        for (name, value) in [("images", delta.images), ("audio", delta.audio)] {
            if let Some(value) = value.filter(|value| !value.is_null()) {
                answer.foreign(index, (Family::OpenAi, json!({ name: value })), out)?;
            }
        }
        let older = delta.function_call.map(|function| Call { function, ..Call::default() });
        for call in delta.tool_calls.unwrap_or_default().into_iter().chain(older) {
            self.call(index, call, out)?;
        }
        Ok(())
    }

    /// Mistral's models that think answer in parts.
    fn part(&mut self, index: u16, part: &Value, out: &mut Vec<Event>) -> Read<()> {
        let text = |part: &Value| part["text"].as_str().unwrap_or_default().to_owned();
        match part["type"].as_str() {
            Some("thinking") => match &part["thinking"] {
                Value::String(thought) => self.answer.think(index, thought.clone(), out),
                thoughts => {
                    let thoughts = thoughts.as_array().into_iter().flatten().map(text);
                    self.answer.think(index, thoughts.collect(), out)
                }
            },
            _ => self.answer.text(index, text(part), Vec::new(), out),
        }
    }

    fn call(&mut self, choice: u16, call: Call, out: &mut Vec<Event>) -> Read<()> {
        let begun = self.answer.calls(choice);
        let is_new = call.function.name.as_ref().is_some_and(|name| !name.is_empty());
        let index = call.index.unwrap_or_else(|| match is_new {
            // Without numbers each call comes whole.
            true => begun as u64,
            false => begun.saturating_sub(1) as u64,
        });
        let signature = call.extra_content.as_ref();
        let signature =
            signature.and_then(|extra| extra.pointer("/google/thought_signature")?.as_str());
        if let Some(value) = signature {
            let seal = Seal { family: Family::Gemini, value: value.to_owned(), is_thought: false };
            self.answer.seal(choice, seal, out)?;
        }
        let arguments = match call.function.arguments {
            Some(Value::String(text)) => text,
            None | Some(Value::Null) => String::new(),
            // Some send what they parsed.
            Some(object) => object.to_string(),
        };
        let key = CallKey { index, id: call.id.unwrap_or_default() };
        self.answer.call(choice, key, (call.function.name.as_deref(), arguments), out)
    }
}

/// Why a choice has ended; some providers tell their own failure so.
fn reason(word: &str) -> Read<FinishReason> {
    Ok(match word {
        "stop" | "eos" | "stop_sequence" | "end_turn" | "eos_token" => FinishReason::Stop,
        "length" | "max_tokens" | "model_length" | "max_output_tokens" => FinishReason::Length,
        "tool_calls" | "function_call" | "tool_use" => FinishReason::ToolCalls,
        // Zhipu's word is the second.
        "content_filter" | "sensitive" | "safety" => FinishReason::Filtered(Default::default()),
        "error" | "network_error" | "insufficient_system_resource" | "abort" => {
            return Err(Refusal::broken(format!("The provider ended its answer with {word}.")));
        }
        _ => FinishReason::Other,
    })
}

fn seal_of(detail: &Value) -> Option<Seal> {
    let format = detail["format"].as_str().unwrap_or_default();
    let family = Family::of(format).or(match format {
        _ if format.starts_with("anthropic") => Some(Family::Anthropic),
        _ if format.starts_with("google") => Some(Family::Gemini),
        _ if format.starts_with("openai") => Some(Family::Responses),
        _ => None,
    })?;
    let text = |name: &str| detail[name].as_str().filter(|text| !text.is_empty());
    let (value, is_thought) = match detail["type"].as_str()? {
        "reasoning.encrypted" => (text("data")?, true),
        _ => (text("signature")?, false),
    };
    Some(Seal { family, value: value.to_owned(), is_thought })
}

fn citation(raw: Value) -> Citation {
    let inner = raw.get("url_citation").unwrap_or(&raw);
    let text = |name: &str| inner[name].as_str().map(str::to_owned);
    let place = |name: &str| inner[name].as_u64().and_then(|at| u32::try_from(at).ok());
    let span = place("start_index").zip(place("end_index"));
    let (url, title, cited) = (text("url"), text("title"), text("content"));
    Citation { url, title, text: cited, span, raw: Some((Family::OpenAi, raw)) }
}

/// The models of a list.
pub(super) fn models(body: &[u8]) -> Read<Vec<String>> {
    #[derive(Deserialize)]
    struct Model {
        id: Option<String>,
        name: Option<String>,
    }
    #[derive(Deserialize)]
    struct List {
        data: Vec<Model>,
    }
    let list: List = parse_json(body)?;
    Ok(list.data.into_iter().filter_map(|model| model.id.or(model.name)).collect())
}

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    index: Option<u16>,
    delta: Option<Delta>,
    message: Option<Delta>,
    text: Option<String>,
    finish_reason: Option<String>,
    stop_reason: Option<Value>,
    logprobs: Option<Logprobs>,
    /// Moonshot tells it here.
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<Words>,
    reasoning_content: Option<Words>,
    reasoning: Option<Words>,
    reasoning_details: Option<Vec<Value>>,
    refusal: Option<String>,
    annotations: Option<Vec<Value>>,
    images: Option<Value>,
    audio: Option<Value>,
    tool_calls: Option<Vec<Call>>,
    function_call: Option<Function>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Call {
    index: Option<u64>,
    id: Option<String>,
    function: Function,
    extra_content: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Function {
    name: Option<String>,
    arguments: Option<Value>,
}

/// A text, or parts.
enum Words {
    Text(String),
    Parts(Vec<Value>),
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Words, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Words;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text or a list of parts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Words, E> {
                Ok(Words::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Words, A::Error> {
                let mut list = Vec::new();
                while let Some(part) = parts.next_element()? {
                    list.push(part);
                }
                Ok(Words::Parts(list))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[derive(Deserialize)]
struct Logprobs {
    content: Option<Vec<Token>>,
    // The older form, of completions.
    tokens: Option<Vec<String>>,
    token_logprobs: Option<Vec<Option<f32>>>,
    top_logprobs: Option<Vec<Option<serde_json::Map<String, Value>>>>,
}

impl Logprobs {
    fn tokens(self) -> Vec<TokenLogprob> {
        if let Some(content) = self.content {
            return content.into_iter().map(Token::neutral).collect();
        }
        let logprobs = self.token_logprobs.unwrap_or_default();
        let mut tops = self.top_logprobs.unwrap_or_default().into_iter();
        let tokens = self.tokens.unwrap_or_default().into_iter().zip(logprobs);
        tokens
            .map(|(text, logprob)| {
                let top = tops.next().flatten().unwrap_or_default().into_iter();
                let top = top.map(|(text, logprob)| {
                    let bytes = text.as_bytes().to_vec();
                    (0, text, bytes, logprob.as_f64().unwrap_or(f64::NEG_INFINITY) as f32)
                });
                TokenLogprob {
                    id: 0,
                    bytes: text.as_bytes().to_vec(),
                    text,
                    logprob: logprob.unwrap_or(0.0),
                    top: top.collect(),
                }
            })
            .collect()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    prompt_tokens: Count,
    completion_tokens: Count,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
    /// DeepSeek and Moonshot tell them here.
    prompt_cache_hit_tokens: Count,
    cached_tokens: Count,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Count,
    cache_creation_input_tokens: Count,
    cache_write_tokens: Count,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CompletionDetails {
    reasoning_tokens: Count,
}

impl Usage {
    fn told(self) -> Told {
        let prompt = self.prompt_tokens_details.unwrap_or_default();
        let cached = prompt.cached_tokens.0.or(self.prompt_cache_hit_tokens.0);
        let written = prompt.cache_creation_input_tokens.0.or(prompt.cache_write_tokens.0);
        Told {
            prompt: self.prompt_tokens.0,
            completion: self.completion_tokens.0,
            reasoning: self.completion_tokens_details.and_then(|told| told.reasoning_tokens.0),
            cached: cached.or(self.cached_tokens.0),
            cache_write: written,
        }
    }
}
