//! Reads tools in the form that most dialects share: `{"type": "function", "function": {…}}`.

use serde_json::{Map, Value};

use super::fields::must;
use crate::error::{Error, Result};
use crate::request::{MAX_TOOLS, Tool};

/// Longest name of a tool, in bytes, as OpenAI has it.
const MAX_NAME_BYTES: usize = 64;

/// The field `tools`.
pub(super) fn parse_list(value: Option<Value>) -> Result<Vec<Tool>> {
    parse_each("tools", value, "function.name", parse_tool)
}

/// A list of tools in this field, each in a form of its own. `name`: where in a tool its name
/// stands.
pub(super) fn parse_each(
    field: &str,
    value: Option<Value>,
    name: &str,
    parse: impl Fn(&str, Value) -> Result<Tool>,
) -> Result<Vec<Tool>> {
    let list = match value {
        None => Vec::new(),
        Some(Value::Array(list)) if list.len() <= MAX_TOOLS => list
            .into_iter()
            .enumerate()
            .map(|(at, tool)| parse(&format!("{field}[{at}]"), tool))
            .collect::<Result<Vec<Tool>>>()?,
        Some(_) => {
            let what = format!("a list of at most {MAX_TOOLS} tools");
            return Err(Error::invalid(field, must(field, &what)));
        }
    };
    for (at, tool) in list.iter().enumerate() {
        if list[..at].iter().any(|other| other.name == tool.name) {
            let message = format!("Two tools have the name '{}'.", tool.name);
            return Err(Error::invalid(&format!("{field}[{at}].{name}"), message));
        }
    }
    Ok(list)
}

/// A tool's name; `path` says where it stands.
pub(super) fn parse_name(path: &str, value: &Value) -> Result<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let name = value.as_str().unwrap_or_default();
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(allowed) {
        let what = format!("a name of 1 to {MAX_NAME_BYTES} letters, digits, '_', '-' or '.'");
        return Err(Error::invalid(path, must(path, &what)));
    }
    Ok(name.to_owned())
}

fn parse_tool(path: &str, tool: Value) -> Result<Tool> {
    if tool["type"] != "function" {
        let path = format!("{path}.type");
        return Err(Error::invalid(&path, must(&path, "\"function\"")));
    }
    let (name, parameters) = parse_function(&format!("{path}.function"), &tool["function"])?;
    let description = tool;
    Ok(Tool { name, parameters, description, cache: None, extras: None })
}

/// The name of a function and the schema of its arguments.
pub(super) fn parse_function(path: &str, function: &Value) -> Result<(String, Value)> {
    let wrong = |field: &str, what: &str| {
        let path = format!("{path}.{field}");
        Err(Error::invalid(&path, must(&path, what)))
    };
    let name = parse_name(&format!("{path}.name"), &function["name"])?;
    if !matches!(function["description"], Value::Null | Value::String(_)) {
        return wrong("description", "a string");
    }
    let parameters = match &function["parameters"] {
        Value::Null => Value::Object(Map::new()),
        Value::Object(schema) => Value::Object(schema.clone()),
        _ => return wrong("parameters", "a JSON schema"),
    };
    Ok((name, parameters))
}

/// Letters of the names that Hearth itself gives to calls.
const OWN_ID_BYTES: usize = 9;

/// A call's name with the beginning that clients of a dialect know; a provider's own names stay as
/// they are.
pub(super) fn shown_id(prefix: &str, id: &str) -> String {
    let is_own = id.len() <= OWN_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_own { format!("{prefix}{id}") } else { id.to_owned() }
}
