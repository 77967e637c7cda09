//! Parses the bodies of `/v1/messages` and `/v1/messages/count_tokens`.

use serde_json::Value;

use super::content::{parse_message, parse_system};
use super::{Call, rules};
use crate::dialect::fields::{Fields, must};
use crate::error::{Error, Result};
use crate::request::{
    Family, GenerateRequest, Input, MAX_MESSAGES, MAX_STOP_BYTES, MAX_STOPS, Message, Priority,
    RequestId, Sampling, Window,
};

/// Fields that have a neutral meaning.
const KNOWN: [&str; 14] = [
    "max_tokens",
    "messages",
    "model",
    "output_config",
    "output_format",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];
/// Those of them that say more than their neutral meaning.
const RAW: [&str; 3] = ["output_config", "output_format", "thinking"];

/// Largest `top_k`; keeps every token.
const MAX_TOP_K: i64 = 1_000_000;

/// Parses a request for a message.
pub fn parse_messages(body: &[u8], id: RequestId) -> Result<Call> {
    let fields = Fields::parse(body)?;
    let Some(max_tokens) = fields.count("max_tokens", 1)? else {
        return Err(Error::invalid("max_tokens", "max_tokens: Field required"));
    };
    let mut call = parse(fields, id)?;
    call.request.max_tokens = Some(max_tokens);
    Ok(call)
}

/// Parses a request for the number of tokens.
pub fn parse_count(body: &[u8], id: RequestId) -> Result<Call> {
    parse(Fields::parse(body)?, id)
}

fn parse(mut fields: Fields, id: RequestId) -> Result<Call> {
    let model = fields.model()?;
    let mut ignored = Vec::new();
    let rules = rules::parse(&mut fields, &mut ignored)?;
    let mut messages: Vec<Message> = parse_system(fields.take("system"))?.into_iter().collect();
    messages.extend(parse_list(fields.take("messages"))?);
    for name in ["container", "mcp_servers", "context_management"] {
        let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
        if fields.get(name).is_some_and(|value| !is_empty(value)) {
            ignored.push(name.to_owned());
        }
    }
    let top_k = fields.whole("top_k", 0..=MAX_TOP_K)?.map(|top_k| match top_k {
        // How "off" is written elsewhere.
        0 => MAX_TOP_K,
        top_k => top_k,
    });
    let mut request = GenerateRequest {
        id,
        model,
        input: Input::Chat(messages),
        priority: Priority::Default,
        sampling: Sampling {
            temperature: fields.number("temperature", 0.0..=1.0)?,
            top_k: top_k.and_then(|top_k| u32::try_from(top_k).ok()),
            top_p: fields.number("top_p", 0.0..=1.0)?,
            ..Sampling::default()
        },
        max_tokens: None,
        stop: stops(&fields)?,
        choices: 1,
        logprobs: None,
        echo: false,
        rules,
        window: Window::default(),
        fallback: Sampling::default(),
        extras: None,
    };
    let is_streamed = fields.flag("stream")?;
    request.extras = fields.extras(Family::Anthropic, &KNOWN, &RAW);
    Ok(Call { request, is_streamed, ignored })
}

fn parse_list(value: Option<Value>) -> Result<Vec<Message>> {
    let wrong = |what: &str| Err(Error::invalid("messages", format!("messages: {what}")));
    let Some(Value::Array(list)) = value else { return wrong("Field required, a list") };
    if list.is_empty() {
        return wrong("at least one message is required");
    }
    if list.len() > MAX_MESSAGES {
        return wrong(&format!("at most {MAX_MESSAGES} messages are taken"));
    }
    let mut messages = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        messages.extend(parse_message(index, value)?);
    }
    Ok(messages)
}

fn stops(fields: &Fields) -> Result<Vec<String>> {
    let name = "stop_sequences";
    let texts: Option<Vec<String>> = match fields.get(name) {
        None => return Ok(Vec::new()),
        Some(value) => value
            .as_array()
            .and_then(|list| list.iter().map(|text| text.as_str().map(str::to_owned)).collect()),
    };
    let fits = |text: &String| (1..=MAX_STOP_BYTES).contains(&text.len());
    texts.filter(|texts| texts.len() <= MAX_STOPS && texts.iter().all(fits)).ok_or_else(|| {
        let what = format!("a list of at most {MAX_STOPS} strings of 1 to {MAX_STOP_BYTES} bytes");
        Error::invalid(name, must(name, &what))
    })
}
