//! Reads the answers of chat and generate, whole and line by line.

use serde::Deserialize;
use serde_json::Value;

use crate::event::{Event, FinishReason};
use crate::request::GenerateRequest;
use crate::wire::answer::{Answer, CallKey, Count, Told};
use crate::wire::logprobs::Token;
use crate::wire::stream::{Parse, json};
use crate::wire::{Read, refusals};

/// Reads one answer.
pub(super) struct OllamaReader {
    answer: Answer,
}

impl OllamaReader {
    pub(super) fn new(request: &GenerateRequest) -> OllamaReader {
        OllamaReader { answer: Answer::new(request) }
    }
}

impl Parse for OllamaReader {
    fn piece(&mut self, data: &[u8], out: &mut Vec<Event>) -> Read<()> {
        let line: Line = json(data)?;
        if let Some(error) = line.error {
            return Err(refusals::read_inside(&serde_json::json!({ "error": error })));
        }
        let message = line.message.unwrap_or_default();
        let thinking = message.thinking.or(line.thinking).unwrap_or_default();
        self.answer.think(0, thinking, out)?;
        let text = message.content.or(line.response).unwrap_or_default();
        let tokens = line.logprobs.unwrap_or_default().into_iter().map(Token::neutral).collect();
        self.answer.text(0, text, tokens, out)?;
        for call in message.tool_calls.unwrap_or_default() {
            let index = self.answer.calls(0) as u64;
            let key = CallKey { index, id: call.id.unwrap_or_default() };
            let arguments = match call.function.arguments {
                Value::Null => "{}".to_owned(),
                Value::String(text) => text,
                arguments => arguments.to_string(),
            };
            self.answer.call(0, key, (Some(&call.function.name), arguments), out)?;
        }
        if !line.done {
            return Ok(());
        }
        // Nothing is counted of a prompt that was found computed.
        self.answer.tell(Told {
            prompt: line.prompt_eval_count.0,
            completion: line.eval_count.0,
            ..Told::default()
        });
        let reason = match line.done_reason.as_deref() {
            Some("length") => FinishReason::Length,
            _ => FinishReason::Stop,
        };
        self.answer.finish(0, reason, out)
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<Event>) -> Read<()> {
        self.piece(body, out)
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Read<()> {
        self.answer.end(out)
    }
}

/// The models of a list.
pub(super) fn models(body: &[u8]) -> Read<Vec<String>> {
    #[derive(Deserialize)]
    struct Model {
        name: String,
    }
    #[derive(Deserialize)]
    struct List {
        models: Vec<Model>,
    }
    Ok(json::<List>(body)?.models.into_iter().map(|model| model.name).collect())
}

#[derive(Deserialize)]
struct Line {
    message: Option<Message>,
    response: Option<String>,
    thinking: Option<String>,
    logprobs: Option<Vec<Token>>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    #[serde(default)]
    prompt_eval_count: Count,
    #[serde(default)]
    eval_count: Count,
    error: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Message {
    content: Option<String>,
    thinking: Option<String>,
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    id: Option<String>,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Value,
}
