//! Parses the body of `/v1/chat/completions`.

use serde_json::Value;

use super::fields::{Fields, must};
use super::message::parse_message;
use super::{Call, CallForm, Tier, functions, rules};
use crate::error::{Error, Result};
use crate::request::{
    GenerateRequest, Input, MAX_LOGPROBS, MAX_MESSAGES, Message, RequestId, Sampling, Window,
};

/// Parses a chat. Every number of the result is in the range that [`GenerateRequest`] states.
pub fn parse_chat(body: &[u8], id: RequestId) -> Result<Call> {
    let mut fields = Fields::parse(body)?;
    let model = fields.model()?;
    let calls = functions::call_form(&fields);
    let ignored = ignored(&fields, calls);
    let rules = rules::parse(&mut fields)?;
    let messages = parse_messages(fields.take("messages"))?;
    let (tier, stream) = (fields.tier()?, fields.stream()?);
    let mut request = GenerateRequest {
        id,
        model,
        input: Input::Chat(messages),
        priority: tier.map_or_else(Default::default, Tier::priority),
        sampling: fields.sampling()?,
        max_tokens: match fields.count("max_completion_tokens", 0)? {
            Some(tokens) => Some(tokens),
            None => fields.count("max_tokens", 0)?,
        },
        stop: fields.stops()?,
        choices: fields.choices()?,
        logprobs: parse_logprobs(&fields)?,
        echo: false,
        rules,
        window: Window::default(),
        fallback: Sampling::default(),
        extras: None,
    };
    request.extras = fields.open_ai_extras();
    Ok(Call { requests: vec![request], stream, tier, calls, ignored })
}

/// Fields of OpenAI's that are known and change nothing here: an answer without a sound, a search or
/// a guess of its text is still the answer to the messages.
fn ignored(fields: &Fields, calls: CallForm) -> Vec<String> {
    let unused = ["audio", "moderation", "prediction", "store", "verbosity", "web_search_options"];
    let asks = |name: &&str| fields.get(name).is_some_and(|value| *value != Value::Bool(false));
    let mut names: Vec<&str> = unused.into_iter().filter(asks).collect();
    if calls == CallForm::Tools {
        names.extend(["functions", "function_call"].iter().filter(|name| asks(name)));
    }
    if fields.has_idle_bias() {
        names.push("logit_bias");
    }
    names.into_iter().map(str::to_owned).collect()
}

/// `logprobs` asks for them, `top_logprobs` says how many alternatives.
fn parse_logprobs(fields: &Fields) -> Result<Option<u8>> {
    let top = fields.whole("top_logprobs", 0..=i64::from(MAX_LOGPROBS))?;
    if fields.flag("logprobs")? {
        return Ok(Some(top.and_then(|top| u8::try_from(top).ok()).unwrap_or(0)));
    }
    match top {
        None | Some(0) => Ok(None),
        Some(_) => {
            Err(Error::invalid("top_logprobs", "'top_logprobs' needs 'logprobs' to be true."))
        }
    }
}

fn parse_messages(value: Option<Value>) -> Result<Vec<Message>> {
    let Some(Value::Array(messages)) = value else {
        return Err(Error::invalid("messages", must("messages", "a list of messages")));
    };
    if messages.is_empty() {
        return Err(Error::invalid("messages", "'messages' must not be empty."));
    }
    if messages.len() > MAX_MESSAGES {
        let message = format!("'messages' may have at most {MAX_MESSAGES} entries.");
        return Err(Error::invalid("messages", message));
    }
    let mut parsed: Vec<Message> = Vec::with_capacity(messages.len());
    for (index, value) in messages.into_iter().enumerate() {
        let mut message = parse_message(index, value)?;
        functions::answer_call(&mut message, &parsed);
        parsed.push(message);
    }
    Ok(parsed)
}
