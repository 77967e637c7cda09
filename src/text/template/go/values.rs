//! What templates in Go's notation are given, under the names of Ollama's own structures.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;
use serde_json::{Map, Value as Json};

use super::json::{self, STRUCTURE};
use crate::message::{ChatMessage, ToolCall};
use crate::template::RenderInput;

/// A whole chat.
pub(super) fn chat(input: &RenderInput) -> Value {
    let (system, messages) = collate(input.messages);
    let messages = messages.iter().map(message).collect();
    let tools = input.tools.iter().map(tool).collect();
    let mut values = thinking(input);
    values.extend([
        ("System", text(&system)),
        ("Messages", Value::List(messages)),
        ("Tools", Value::List(tools)),
        ("Response", text("")),
    ]);
    map(values)
}

/// A chat for templates that know one question and one answer at a time.
pub(super) fn turns(input: &RenderInput) -> Vec<Value> {
    let (_, messages) = collate(input.messages);
    let [mut system, mut prompt, mut response] = [const { String::new() }; 3];
    let mut turns = Vec::new();
    let mut turn = |parts: [&mut String; 3]| {
        let mut values = thinking(input);
        let names = ["System", "Prompt", "Response"];
        let parts = parts.map(std::mem::take);
        values.extend(names.iter().zip(&parts).map(|(name, part)| (*name, text(part))));
        turns.push(map(values));
    };
    for message in messages {
        let content = message.content.unwrap_or_default();
        match message.role.as_str() {
            "system" => {
                if !(prompt.is_empty() && response.is_empty()) {
                    turn([&mut system, &mut prompt, &mut response]);
                }
                system = content;
            }
            "user" => {
                if !response.is_empty() {
                    turn([&mut system, &mut prompt, &mut response]);
                }
                prompt = content;
            }
            "assistant" => response = content,
            _ => {}
        }
    }
    turn([&mut system, &mut prompt, &mut response]);
    turns
}

/// A text with a gap.
pub(super) fn infill(prompt: &str, suffix: &str) -> Value {
    map(vec![
        ("Prompt", text(prompt)),
        ("Suffix", text(suffix)),
        ("Response", text("")),
        ("System", text("")),
        ("Think", Value::Bool(false)),
        ("ThinkLevel", text("")),
        ("IsThinkSet", Value::Bool(false)),
    ])
}

/// What the request wishes of thoughts.
fn thinking(input: &RenderInput) -> Vec<(&'static str, Value)> {
    let option = |name: &str| input.options.and_then(|options| options.get(name));
    let switch = option("enable_thinking").or(option("thinking"));
    let level = option("reasoning_effort").and_then(Json::as_str).unwrap_or_default();
    vec![
        ("Think", Value::Bool(switch.and_then(Json::as_bool).unwrap_or(false))),
        ("ThinkLevel", text(level)),
        ("IsThinkSet", Value::Bool(switch.is_some())),
    ]
}

/// All system texts, and the messages with neighbours of one role made one, but results of tools.
fn collate(messages: &[ChatMessage]) -> (String, Vec<ChatMessage>) {
    let systems = messages.iter().filter(|message| message.role == "system");
    let systems: Vec<&str> =
        systems.map(|message| message.content.as_deref().unwrap_or_default()).collect();
    let mut merged: Vec<ChatMessage> = Vec::new();
    for message in messages {
        match merged.last_mut() {
            Some(last) if last.role == message.role && last.role != "tool" => {
                let content = last.content.get_or_insert_default();
                content.push_str("\n\n");
                content.push_str(message.content.as_deref().unwrap_or_default());
                last.tool_calls.extend(message.tool_calls.iter().cloned());
            }
            _ => merged.push(message.clone()),
        }
    }
    (systems.join("\n\n"), merged)
}

fn message(message: &ChatMessage) -> Value {
    let calls = message.tool_calls.iter().enumerate().map(|(index, called)| call(index, called));
    let optional = |field: &Option<String>| text(field.as_deref().unwrap_or_default());
    structure(
        "message",
        [
            ("Role", text(&message.role)),
            ("Content", optional(&message.content)),
            ("Thinking", optional(&message.reasoning)),
            ("Images", Value::List(Arc::new([]))),
            ("ToolCalls", Value::List(calls.collect())),
            ("ToolName", optional(&message.name)),
            ("ToolCallID", optional(&message.tool_call_id)),
        ],
    )
}

fn call(index: usize, call: &ToolCall) -> Value {
    let arguments = match serde_json::from_str::<Json>(&call.arguments) {
        Ok(arguments @ Json::Object(_)) => json::value(&arguments),
        _ => text(&call.arguments),
    };
    let called =
        [("Index", Value::Int(index as i64)), ("Name", text(&call.name)), ("Arguments", arguments)];
    structure("call", [("ID", text(&call.id)), ("Function", structure("called", called))])
}

/// A caller's description of a tool, in the form of OpenAI.
fn tool(description: &Json) -> Value {
    let function = &description["function"];
    let written = [
        ("Name", string(&function["name"])),
        ("Description", string(&function["description"])),
        ("Parameters", parameters(&function["parameters"])),
    ];
    let kind = description["type"].as_str().unwrap_or("function");
    let fields = [
        ("Type", text(kind)),
        ("Items", json::value(&description["items"])),
        ("Function", structure("function", written)),
    ];
    structure("tool", fields)
}

fn parameters(schema: &Json) -> Value {
    let fields = [
        ("Type", string(&schema["type"])),
        ("Defs", json::value(&schema["$defs"])),
        ("Items", json::value(&schema["items"])),
        ("Required", json::value(&schema["required"])),
        ("Properties", properties(schema["properties"].as_object())),
    ];
    structure("parameters", fields)
}

fn properties(schemas: Option<&Map<String, Json>>) -> Value {
    let schemas = schemas.into_iter().flatten().filter(|(name, _)| *name != STRUCTURE);
    let members = schemas.map(|(name, schema)| (Arc::from(name.as_str()), property(schema)));
    Value::Map(Arc::new(members.collect()))
}

fn property(schema: &Json) -> Value {
    let any = schema["anyOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    let kind = match &schema["type"] {
        Json::Array(kinds) if kinds.len() == 1 => string(&kinds[0]),
        Json::Array(kinds) => Value::List(kinds.iter().map(json::value).collect()),
        kind => string(kind),
    };
    let inner = schema["properties"].as_object();
    let fields = [
        ("AnyOf", Value::List(any.iter().map(property).collect())),
        ("Type", kind),
        ("Items", json::value(&schema["items"])),
        ("Description", string(&schema["description"])),
        ("Enum", json::value(&schema["enum"])),
        ("Properties", inner.map_or(Value::Nil, |inner| properties(Some(inner)))),
        ("Required", json::value(&schema["required"])),
    ];
    structure("property", fields)
}

fn structure<const N: usize>(name: &str, fields: [(&'static str, Value); N]) -> Value {
    debug_assert_eq!(json::fields(name).len(), N, "the fields of {name}");
    let mut fields = Vec::from(fields);
    fields.push((STRUCTURE, text(name)));
    map(fields)
}

fn map(fields: Vec<(&'static str, Value)>) -> Value {
    let fields = fields.into_iter().map(|(name, value)| (Arc::from(name), value));
    Value::Map(Arc::new(fields.collect::<BTreeMap<Arc<str>, Value>>()))
}

fn string(json: &Json) -> Value {
    text(json.as_str().unwrap_or_default())
}

fn text(text: &str) -> Value {
    Value::String(Arc::from(text))
}
