//! Parses the body of `/v1/responses`.

use serde_json::{Map, Value, json};

use super::input::parse_input;
use super::{Call, rules};
use crate::dialect::fields::{Fields, must};
use crate::error::{Error, Result};
use crate::request::{
    Family, GenerateRequest, Input, MAX_LOGPROBS, Message, Overflow, Priority, RequestId, Role,
    Sampling, Window,
};

/// Fields that every answer repeats.
const ECHOED: [&str; 14] = [
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "reasoning",
    "service_tier",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
];
/// Fields that ask for something that is not done here; the answer says so.
const IGNORED: [&str; 5] =
    ["context_management", "include", "max_tool_calls", "prompt_cache_retention", "top_logprobs"];

/// Fields that have a neutral meaning.
const KNOWN: [&str; 13] = [
    "input",
    "instructions",
    "max_output_tokens",
    "model",
    "parallel_tool_calls",
    "reasoning",
    "stream",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
];
/// Those of them that say more than their neutral meaning.
const RAW: [&str; 3] = ["reasoning", "text", "truncation"];

/// Parses a request for a response.
pub fn parse_response(body: &[u8], id: RequestId) -> Result<Call> {
    let mut fields = Fields::parse(body)?;
    let model = fields.model()?;
    for name in ["previous_response_id", "conversation", "prompt"] {
        if fields.get(name).is_some() {
            let message = format!(
                "'{name}' is not supported: this server stores no responses. Send the whole \
                 conversation as 'input'."
            );
            return Err(Error::invalid(name, message));
        }
    }
    if fields.flag("background")? {
        let message = "'background' is not supported: this server stores no responses.";
        return Err(Error::invalid("background", message));
    }
    let echoed = echoed(&fields);
    let mut ignored = Vec::new();
    for name in IGNORED {
        let is_nothing = |value: &Value| value.as_array().is_some_and(Vec::is_empty) || *value == 0;
        if fields.get(name).is_some_and(|value| !is_nothing(value)) {
            ignored.push(name.to_owned());
        }
    }
    let rules = rules::parse(&mut fields, &mut ignored)?;
    let instructions = fields.text("instructions")?.map(str::to_owned);
    let mut messages: Vec<Message> = Vec::new();
    messages.extend(instructions.map(|text| Message::text(Role::System, text)));
    messages.extend(parse_input(fields.take("input"))?);
    fields.whole("top_logprobs", 0..=i64::from(MAX_LOGPROBS))?;
    let mut request = GenerateRequest {
        id,
        model,
        input: Input::Chat(messages),
        priority: match fields.text("service_tier")? {
            Some("flex") => Priority::Background,
            _ => Priority::Default,
        },
        sampling: Sampling {
            temperature: fields.number("temperature", 0.0..=2.0)?,
            top_p: fields.number("top_p", 0.0..=1.0)?,
            ..Sampling::default()
        },
        max_tokens: fields.count("max_output_tokens", 1)?,
        stop: Vec::new(),
        choices: 1,
        logprobs: None,
        echo: false,
        rules,
        window: Window { overflow: overflow(&fields)?, ..Window::default() },
        fallback: Sampling::default(),
        extras: None,
    };
    let is_streamed = fields.flag("stream")?;
    request.extras = fields.extras(Family::Responses, &KNOWN, &RAW);
    Ok(Call { request, is_streamed, echoed, ignored })
}

fn echoed(fields: &Fields) -> Map<String, Value> {
    let given = ECHOED.iter().map(|&name| {
        let value = fields.get(name).cloned().unwrap_or_else(|| default_of(name));
        (name.to_owned(), value)
    });
    given.collect()
}

/// What the answer says of a field that the request leaves out.
fn default_of(name: &str) -> Value {
    match name {
        "metadata" => json!({}),
        "parallel_tool_calls" => json!(true),
        "reasoning" => json!({ "effort": null, "summary": null }),
        "service_tier" => json!("default"),
        "temperature" | "top_p" => json!(1.0),
        "text" => json!({ "format": { "type": "text" } }),
        "tool_choice" => json!("auto"),
        "tools" => json!([]),
        "truncation" => json!("disabled"),
        _ => Value::Null,
    }
}

fn overflow(fields: &Fields) -> Result<Overflow> {
    match fields.text("truncation")? {
        None | Some("disabled") => Ok(Overflow::Refuse),
        Some("auto") => Ok(Overflow::DropOldest),
        Some(_) => Err(Error::invalid("truncation", must("truncation", "auto or disabled"))),
    }
}
