//! Values as JSON, as Go writes them: members of objects by name, those of structures as declared.

use std::sync::Arc;

use gotmpl::Value;
use serde_json::Value as Json;

/// The key under which a map says which structure it is; no template can write it.
pub(super) const STRUCTURE: &str = "\u{0}";

/// A structure's fields: Go's name, JSON's name, and whether it is left out when empty.
type Fields = &'static [(&'static str, &'static str, bool)];

/// The structures of Ollama's API that templates are given.
const STRUCTURES: [(&str, Fields); 7] = [
    ("tool", &[("Type", "type", false), ("Items", "items", true), ("Function", "function", false)]),
    (
        "function",
        &[
            ("Name", "name", false),
            ("Description", "description", true),
            ("Parameters", "parameters", false),
        ],
    ),
    (
        "parameters",
        &[
            ("Type", "type", false),
            ("Defs", "$defs", true),
            ("Items", "items", true),
            ("Required", "required", true),
            ("Properties", "properties", false),
        ],
    ),
    (
        "property",
        &[
            ("AnyOf", "anyOf", true),
            ("Type", "type", true),
            ("Items", "items", true),
            ("Description", "description", true),
            ("Enum", "enum", true),
            ("Properties", "properties", true),
            ("Required", "required", true),
        ],
    ),
    (
        "message",
        &[
            ("Role", "role", false),
            ("Content", "content", false),
            ("Thinking", "thinking", true),
            ("Images", "images", true),
            ("ToolCalls", "tool_calls", true),
            ("ToolName", "tool_name", true),
            ("ToolCallID", "tool_call_id", true),
        ],
    ),
    ("call", &[("ID", "id", true), ("Function", "function", false)]),
    (
        "called",
        &[("Index", "index", false), ("Name", "name", false), ("Arguments", "arguments", false)],
    ),
];

/// The fields of one structure.
pub(super) fn fields(structure: &str) -> Fields {
    STRUCTURES.iter().find(|(name, _)| *name == structure).map_or(&[], |(_, fields)| fields)
}

/// A value as JSON.
pub(super) fn print(value: &Value) -> String {
    let mut text = String::new();
    put(value, &mut text);
    text
}

fn put(value: &Value, out: &mut String) {
    match value {
        Value::Nil | Value::Function(_) => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Uint(number) => out.push_str(&number.to_string()),
        // Go writes whole numbers without a point.
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
            out.push_str(&format!("{number:.0}"));
        }
        Value::Float(number) => out.push_str(&Json::from(*number).to_string()),
        Value::String(text) => put_text(text, out),
        Value::List(list) => {
            out.push('[');
            for (at, value) in list.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                put(value, out);
            }
            out.push(']');
        }
        Value::Map(members) => {
            out.push('{');
            let mut is_first = true;
            let mut member = |name: &str, value: &Value| {
                out.push_str(if is_first { "" } else { "," });
                is_first = false;
                put_text(name, out);
                out.push(':');
                put(value, out);
            };
            match members.get(STRUCTURE).and_then(Value::as_str) {
                Some(structure) => {
                    for (name, json, omits) in fields(structure) {
                        let value = members.get(*name).unwrap_or(&Value::Nil);
                        if !omits || value.is_truthy() {
                            member(json, value);
                        }
                    }
                }
                None => members.iter().for_each(|(name, value)| member(name, value)),
            }
            out.push('}');
        }
    }
}

/// A text as Go quotes it: safe inside HTML.
fn put_text(text: &str, out: &mut String) {
    for letter in Json::from(text).to_string().chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => out.push(letter),
        }
    }
}

/// JSON as a value, objects as plain maps.
pub(super) fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::String(Arc::from(text.as_str())),
        Json::Array(list) => Value::List(list.iter().map(value).collect()),
        Json::Object(members) => {
            let members = members.iter().filter(|(name, _)| *name != STRUCTURE);
            let members = members.map(|(name, json)| (Arc::from(name.as_str()), value(json)));
            Value::Map(Arc::new(members.collect()))
        }
    }
}
