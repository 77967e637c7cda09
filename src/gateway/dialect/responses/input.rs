//! Reads `input`: a text, or items of a conversation. What an assistant thought, said and called in
//! one turn stands in several items, and is one message here.

use serde_json::Value;

use crate::dialect::fields::must;
use crate::error::{Error, Result};
use crate::request::{MAX_CALLS, MAX_MESSAGES, Message, Part, Role, ToolCall};

pub(super) fn parse_input(value: Option<Value>) -> Result<Vec<Message>> {
    let items = match value {
        Some(Value::String(text)) => return Ok(vec![Message::text(Role::User, text)]),
        Some(Value::Array(items)) if (1..=MAX_MESSAGES).contains(&items.len()) => items,
        _ => {
            let what = format!("a string or a list of 1 to {MAX_MESSAGES} items");
            return Err(Error::invalid("input", must("input", &what)));
        }
    };
    let mut messages: Vec<Message> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        parse_item(&format!("input[{index}]"), item, &mut messages)?;
    }
    for message in &mut messages {
        if message.parts.is_empty() && message.calls.is_empty() {
            message.parts.push(Part::Text(String::new()));
        }
    }
    if messages.is_empty() {
        return Err(Error::invalid("input", must("input", "a list with at least one message")));
    }
    Ok(messages)
}

fn parse_item(path: &str, item: &Value, messages: &mut Vec<Message>) -> Result<()> {
    let text = |name: &str| {
        let path = format!("{path}.{name}");
        let text = item[name].as_str().map(str::to_owned);
        text.ok_or_else(|| Error::invalid(&path, must(&path, "a string")))
    };
    match item["type"].as_str() {
        None | Some("message") => {
            let role = match item["role"].as_str() {
                Some("system" | "developer") => Role::System,
                Some("user") => Role::User,
                Some("assistant") => Role::Assistant,
                _ => {
                    let path = format!("{path}.role");
                    let roles = "one of system, developer, user, assistant";
                    return Err(Error::invalid(&path, must(&path, roles)));
                }
            };
            let texts = texts(&format!("{path}.content"), &item["content"])?;
            let parts = texts.into_iter().map(Part::Text);
            if role == Role::Assistant {
                open_turn(messages).parts.extend(parts);
            } else {
                messages.push(Message { parts: parts.collect(), ..Message::text(role, "") });
            }
        }
        Some("function_call") => {
            let call = ToolCall {
                id: text("call_id")?,
                name: text("name")?,
                arguments: text("arguments")?,
            };
            let turn = open_turn(messages);
            if turn.calls.len() >= MAX_CALLS {
                let message = format!("{path}: one turn may have at most {MAX_CALLS} calls.");
                return Err(Error::invalid(path, message));
            }
            turn.calls.push(call);
        }
        Some("function_call_output") => {
            let output = texts(&format!("{path}.output"), &item["output"])?.concat();
            let call_id = Some(text("call_id")?);
            messages.push(Message { call_id, ..Message::text(Role::Tool, output) });
        }
        Some("reasoning") => {
            let found = |name: &str| item[name].as_array().filter(|list| !list.is_empty());
            let list = found("content").or(found("summary"));
            let thoughts = list.into_iter().flatten().filter_map(|part| part["text"].as_str());
            let thoughts: String = thoughts.collect();
            if !thoughts.is_empty() {
                open_turn(messages).reasoning.get_or_insert_default().push_str(&thoughts);
            }
        }
        Some(kind) => {
            let kind: String = kind.chars().take(40).collect();
            let message =
                format!("An item of type '{kind}' is not supported by this version of Hearth.");
            return Err(Error::invalid(path, message));
        }
    }
    Ok(())
}

/// The assistant's turn that is being read.
fn open_turn(messages: &mut Vec<Message>) -> &mut Message {
    if messages.last().is_none_or(|message| message.role != Role::Assistant) {
        messages.push(Message { parts: Vec::new(), ..Message::text(Role::Assistant, "") });
    }
    let last = messages.len() - 1;
    &mut messages[last]
}

/// A text, or a list of parts that are text.
fn texts(path: &str, content: &Value) -> Result<Vec<String>> {
    match content {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(parts) => parts
            .iter()
            .enumerate()
            .map(|(at, part)| {
                let path = format!("{path}[{at}]");
                let field = match part["type"].as_str() {
                    Some("input_text" | "output_text" | "text") => "text",
                    Some("refusal") => "refusal",
                    kind => {
                        let kind: String = kind.unwrap_or("?").chars().take(40).collect();
                        let message = format!(
                            "A content part of type '{kind}' is not supported by this version of \
                             Hearth; only text is."
                        );
                        return Err(Error::invalid(&path, message));
                    }
                };
                let text = part[field].as_str().map(str::to_owned);
                text.ok_or_else(|| Error::invalid(&path, must(&path, "a part with its text")))
            })
            .collect(),
        _ => Err(Error::invalid(path, must(path, "a string or a list of parts"))),
    }
}
