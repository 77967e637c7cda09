//! The fields that chats and prompts have in common.

use serde_json::{Map, Value};

use super::KeepAlive;
use super::duration::parse_keep_alive;
use super::options::{Options, fallback};
use crate::dialect::fields::Fields;
use crate::error::{Error, Result};
use crate::request::{
    AnswerFormat, AnswerRules, Effort, Extras, Family, GenerateRequest, Input, MAX_LOGPROBS,
    Overflow, Priority, RequestId, Thinking, Window,
};

/// Longest name of a model, in bytes; an error repeats it.
const MAX_MODEL_BYTES: usize = 256;

/// What every call says, parsed.
pub(super) struct Shared {
    pub(super) model: String,
    pub(super) is_streamed: bool,
    pub(super) keep_alive: Option<KeepAlive>,
    pub(super) is_rendered_only: bool,
    options: Options,
    format: Option<AnswerFormat>,
    thinking: Thinking,
    logprobs: Option<u8>,
    overflow: Overflow,
    /// For a provider that is an Ollama too.
    raw: Map<String, Value>,
}

/// Parses a body as Go does: an empty one has its own error.
pub(super) fn parse_body(body: &[u8]) -> Result<Fields> {
    if body.trim_ascii().is_empty() {
        return Err(Error::Invalid { param: None, message: "missing request body".to_owned() });
    }
    Fields::parse(body)
}

/// `model`, or its older name; may be empty.
pub(super) fn model(fields: &Fields) -> Result<String> {
    let name = match fields.text("model")? {
        Some(name) if !name.is_empty() => name,
        _ => fields.text("name")?.unwrap_or_default(),
    };
    match name.len() > MAX_MODEL_BYTES {
        true => Err(Error::invalid("model", "invalid model name")),
        false => Ok(name.to_owned()),
    }
}

pub(super) fn keep_alive(fields: &Fields) -> Result<Option<KeepAlive>> {
    fields.get("keep_alive").map(parse_keep_alive).transpose()
}

impl Shared {
    pub(super) fn parse(model: String, fields: &mut Fields) -> Result<Shared> {
        for name in ["width", "height", "steps"] {
            if fields.get(name).is_some_and(|value| value.as_i64() != Some(0)) {
                let message = "image generation models are not currently supported";
                return Err(Error::invalid(name, message));
            }
        }
        let is_true = |name: &str| match fields.get(name) {
            None => Ok(true),
            Some(_) => fields.flag(name),
        };
        let overflow = match is_true("truncate")? {
            true => Overflow::DropOldest,
            false => Overflow::Refuse,
        };
        Ok(Shared {
            model,
            is_streamed: is_true("stream")?,
            keep_alive: keep_alive(fields)?,
            is_rendered_only: fields.flag("_debug_render_only")?,
            logprobs: logprobs(fields)?,
            thinking: thinking(fields)?,
            format: format(fields.take("format"))?,
            options: Options::parse(fields.get("options").cloned())?,
            overflow,
            raw: ["options", "think", "keep_alive"]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), fields.take(name)?)))
                .collect(),
        })
    }

    /// The request for this input, and the options that change nothing.
    pub(super) fn request(
        self,
        id: RequestId,
        input: Input,
        rules: AnswerRules,
    ) -> (GenerateRequest, Vec<String>) {
        let options = self.options;
        let request = GenerateRequest {
            id,
            model: self.model,
            input,
            priority: Priority::Default,
            sampling: options.sampling,
            max_tokens: options.max_tokens,
            stop: options.stop,
            choices: 1,
            logprobs: self.logprobs,
            echo: false,
            rules: AnswerRules { format: self.format, thinking: self.thinking, ..rules },
            window: Window {
                limit_tokens: options.limit_tokens,
                overflow: self.overflow,
                ..Window::default()
            },
            fallback: fallback(),
            extras: Extras::of(Family::Ollama, options.further, self.raw),
        };
        (request, options.ignored)
    }
}

fn logprobs(fields: &Fields) -> Result<Option<u8>> {
    let top = match fields.get("top_logprobs") {
        None => 0,
        Some(value) => value
            .as_u64()
            .and_then(|top| u8::try_from(top).ok())
            .filter(|top| *top <= MAX_LOGPROBS)
            .ok_or_else(|| {
                let message = format!("top_logprobs must be between 0 and {MAX_LOGPROBS}");
                Error::invalid("top_logprobs", message)
            })?,
    };
    Ok((fields.flag("logprobs")? || top > 0).then_some(top))
}

fn thinking(fields: &Fields) -> Result<Thinking> {
    Ok(match fields.get("think") {
        None => Thinking::AsModel,
        Some(Value::Bool(false)) => Thinking::Off,
        Some(Value::Bool(true)) => Thinking::On(None),
        Some(value) => match value.as_str() {
            Some("low") => Thinking::On(Some(Effort::Low)),
            Some("medium") => Thinking::On(Some(Effort::Medium)),
            Some("high") => Thinking::On(Some(Effort::High)),
            Some("max") => Thinking::On(Some(Effort::Max)),
            // What some clients write for a switch.
            Some("true") => Thinking::On(None),
            Some("false") => Thinking::Off,
            other => {
                let other: String = other.unwrap_or("?").chars().take(40).collect();
                let message = format!(
                    "invalid think value: {other:?} (must be \"high\", \"medium\", \"low\", \
                     \"max\", true, or false)"
                );
                return Err(Error::invalid("think", message));
            }
        },
    })
}

fn format(value: Option<Value>) -> Result<Option<AnswerFormat>> {
    match value {
        None => Ok(None),
        Some(Value::String(word)) if word.is_empty() => Ok(None),
        Some(Value::String(word)) if word == "json" => Ok(Some(AnswerFormat::JsonObject)),
        Some(schema @ Value::Object(_)) => Ok(Some(AnswerFormat::JsonSchema(schema))),
        Some(other) => {
            let other: String = other.to_string().chars().take(80).collect();
            let message =
                format!("invalid format: {other}; expected \"json\" or a valid JSON Schema object");
            Err(Error::invalid("format", message))
        }
    }
}
