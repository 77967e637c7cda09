//! The older form of tools, which many clients still send: `functions`, `function_call` and messages
//! of the role `function`. It means one call at most, and is answered in the same form.

use serde_json::{Value, json};

use super::CallForm;
use super::fields::{Fields, must};
use crate::dialect::tools::{parse_each, parse_function};
use crate::error::{Error, Result};
use crate::request::{Message, Role, Tool, ToolCall, ToolChoice, Tools};

/// How the answer tells calls: in the form in which they were offered. Where both are, the newer
/// counts.
pub(super) fn call_form(fields: &Fields) -> CallForm {
    match has_entries(fields, "functions") && !has_entries(fields, "tools") {
        true => CallForm::Function,
        false => CallForm::Tools,
    }
}

/// `functions` and `function_call`, as tools.
pub(super) fn parse(fields: &mut Fields) -> Result<Option<Tools>> {
    let list = parse_each("functions", fields.take("functions"), "name", |path, function| {
        let (name, parameters) = parse_function(path, &function)?;
        let description = json!({ "type": "function", "function": function });
        Ok(Tool { name, parameters, description, cache: None, extras: None })
    })?;
    let choice = choice(fields, &list)?;
    Ok((!list.is_empty()).then_some(Tools { list, choice, is_parallel: false }))
}

fn choice(fields: &Fields, list: &[Tool]) -> Result<ToolChoice> {
    let wrong = |message: String| Err(Error::invalid("function_call", message));
    let name = match fields.get("function_call") {
        None => return Ok(ToolChoice::Auto),
        Some(Value::String(word)) if word == "none" => return Ok(ToolChoice::None),
        Some(Value::String(word)) if word == "auto" => return Ok(ToolChoice::Auto),
        Some(value) => match value["name"].as_str() {
            Some(name) => name.to_owned(),
            None => return wrong(must("function_call", "none, auto or an object with a name")),
        },
    };
    match list.iter().any(|tool| tool.name == name) {
        true => Ok(ToolChoice::Named(name)),
        false => {
            wrong("'function_call' names a function that is not among 'functions'.".to_owned())
        }
    }
}

/// The call of an assistant's message; `index` is the message's, `path` the field's.
pub(super) fn parse_call(index: usize, path: &str, value: &Value) -> Result<ToolCall> {
    let text = |name: &str| {
        let path = format!("{path}.{name}");
        let text = value[name].as_str().map(str::to_owned);
        text.ok_or_else(|| Error::invalid(&path, must(&path, "a string")))
    };
    // Nine letters and digits, which is what some chat templates insist on.
    let id = format!("call{index:05}");
    Ok(ToolCall { id, name: text("name")?, arguments: text("arguments")? })
}

/// A result without an id answers the last call.
pub(super) fn answer_call(result: &mut Message, before: &[Message]) {
    if result.role == Role::Tool && result.call_id.is_none() {
        let call = before.iter().rev().find_map(|message| message.calls().next());
        result.call_id = call.map(|call| call.id.clone());
    }
}

fn has_entries(fields: &Fields, name: &str) -> bool {
    fields.get(name).is_some_and(|value| !value.as_array().is_some_and(Vec::is_empty))
}
