//! Writes tools, formats and thinking.

use serde_json::{Map, Value, json};

use super::quirks::{EffortForm, Formats, Quirks};
use crate::error::Result;
use crate::request::{AnswerFormat, Effort, GenerateRequest, Thinking, Tool, ToolChoice, Tools};
use crate::wire::Target;
use crate::wire::writing::{Notes, cannot};

pub(super) fn write(
    quirks: &Quirks,
    (request, target): (&GenerateRequest, &Target),
    body: &mut Map<String, Value>,
    notes: &mut Notes,
) -> Result<()> {
    let rules = &request.rules;
    if let Some(tools) = &rules.tools {
        write_tools(quirks, tools, body, notes);
    }
    if let Some(format) = &rules.format {
        write_format(quirks, format, body)?;
    }
    let mut options = rules.template_options.clone();
    write_thinking(quirks, (rules.thinking, &target.model), (body, &mut options), notes);
    if !options.is_empty() {
        match quirks.has_template {
            true => {
                body.insert("chat_template_kwargs".into(), options.into());
            }
            false => notes.warn("chat_template_kwargs"),
        }
    }
    Ok(())
}

/// Takes out what a client wrote for another provider of this dialect.
pub(super) fn tidy_raw(quirks: &Quirks, body: &mut Map<String, Value>, notes: &mut Notes) {
    if quirks.effort != EffortForm::Object && body.remove("reasoning").is_some() {
        // Its effort is told in the provider's own way.
        let is_told = ["reasoning_effort", "thinking", "enable_thinking", "chat_template_kwargs"];
        if !is_told.iter().any(|name| body.contains_key(*name)) {
            notes.warn("reasoning");
        }
    }
    let takes_effort = match quirks.effort {
        EffortForm::Object => !body.contains_key("reasoning"),
        EffortForm::ByName | EffortForm::Effort | EffortForm::Template => true,
        EffortForm::No | EffortForm::Switch | EffortForm::Flag => false,
    };
    if !takes_effort {
        body.remove("reasoning_effort");
    } else if body.contains_key("reasoning_effort") {
        notes.forgive("reasoning_effort");
    }
    let format = body.get("response_format").map(|format| &format["type"]);
    if format.is_some_and(|kind| *kind == "text") {
        body.remove("response_format");
    }
}

fn write_tools(quirks: &Quirks, tools: &Tools, body: &mut Map<String, Value>, notes: &mut Notes) {
    let list: Vec<Value> = tools.list.iter().map(|tool| write_tool(tool, notes)).collect();
    body.insert("tools".into(), list.into());
    let choice = match &tools.choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(json!("none")),
        ToolChoice::Required => Some(json!(quirks.required)),
        ToolChoice::Named(name) => {
            Some(json!({ "type": "function", "function": { "name": name } }))
        }
    };
    body.extend(choice.map(|choice| ("tool_choice".to_owned(), choice)));
    if !tools.is_parallel {
        match quirks.has_parallel {
            true => {
                body.insert("parallel_tool_calls".into(), false.into());
            }
            false => notes.warn("parallel_tool_calls"),
        }
    }
}

fn write_tool(tool: &Tool, notes: &mut Notes) -> Value {
    let mut written = tool.description.clone();
    if tool.cache.is_some() {
        notes.warn("tools.cache_control");
    }
    for (name, value) in tool.extras.iter().flat_map(|(_, extras)| extras) {
        match name.as_str() {
            "strict" => written["function"]["strict"] = value.clone(),
            // Another form of the schema that is told.
            "parameters" => {}
            name => notes.warn(&format!("tools.{name}")),
        }
    }
    written
}

fn write_format(
    quirks: &Quirks,
    format: &AnswerFormat,
    body: &mut Map<String, Value>,
) -> Result<()> {
    let mut put = |name: &str, value: Value| {
        body.insert(name.to_owned(), value);
    };
    let no = |what: &str| cannot("response_format", &format!("holds no answer to {what}"));
    match (format, quirks.formats) {
        (AnswerFormat::JsonObject, _) => {
            put("response_format", json!({ "type": "json_object" }));
        }
        (AnswerFormat::JsonSchema(_), Formats::Json) => return Err(no("a schema")),
        (AnswerFormat::JsonSchema(schema), _) => {
            let mut inner = json!({ "name": "answer", "schema": schema });
            if is_strict(schema) {
                inner["strict"] = true.into();
            }
            put("response_format", json!({ "type": "json_schema", "json_schema": inner }));
        }
        (_, Formats::Json | Formats::Schema) => return Err(no("a grammar or a list of texts")),
        (AnswerFormat::Regex(regex), Formats::Structured) => {
            put("structured_outputs", json!({ "regex": regex }));
        }
        (AnswerFormat::Lark(lark), Formats::Structured) => {
            put("structured_outputs", json!({ "grammar": lark }));
        }
        (AnswerFormat::Choice(texts), Formats::Structured) => {
            put("structured_outputs", json!({ "choice": texts }));
        }
        (AnswerFormat::Regex(regex), Formats::Guided) => put("guided_regex", json!(regex)),
        (AnswerFormat::Lark(lark), Formats::Guided) => put("guided_grammar", json!(lark)),
        (AnswerFormat::Choice(texts), Formats::Guided) => put("guided_choice", json!(texts)),
    }
    Ok(())
}

/// Whether OpenAI holds an answer to this schema strictly: no object in it has members that it
/// does not name, and each names all of its own as required.
pub(in crate::wire) fn is_strict(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => {
            let is_object = members.get("type").is_some_and(|kind| *kind == "object")
                || members.contains_key("properties");
            let names = members.get("properties").and_then(Value::as_object);
            let required = members.get("required").and_then(Value::as_array);
            let requires = |name: &String| {
                required.is_some_and(|list| list.iter().any(|known| known == name.as_str()))
            };
            let is_closed = !is_object
                || (members.get("additionalProperties") == Some(&Value::Bool(false))
                    && names.is_none_or(|names| names.keys().all(requires)));
            is_closed && members.values().all(is_strict)
        }
        Value::Array(list) => list.iter().all(is_strict),
        _ => true,
    }
}

fn write_thinking(
    quirks: &Quirks,
    (thinking, model): (Thinking, &str),
    (body, options): (&mut Map<String, Value>, &mut Map<String, Value>),
    notes: &mut Notes,
) {
    let (thinks, effort) = match thinking {
        Thinking::AsModel => return,
        Thinking::Off => (false, None),
        Thinking::IfAble(effort) | Thinking::On(effort) => (true, effort),
    };
    let word = effort.map(|effort| match effort {
        // What every provider knows as its most.
        Effort::Max => "high",
        effort => effort.name(),
    });
    let mut put = |name: &str, value: Value| {
        body.insert(name.to_owned(), value);
    };
    match (quirks.effort, thinks, word) {
        (EffortForm::No, true, _) => notes.warn("reasoning_effort"),
        (EffortForm::No, false, _) => {}
        (EffortForm::ByName, true, Some(word)) if thinks_by_name(model) => {
            put("reasoning_effort", word.into());
        }
        (EffortForm::ByName, true, Some(_)) => notes.warn("reasoning_effort"),
        // Models differ in whether they can leave it.
        (EffortForm::ByName, ..) => {}
        (EffortForm::Effort, false, _) => put("reasoning_effort", "none".into()),
        (EffortForm::Effort, true, word) => {
            put("reasoning_effort", word.unwrap_or("medium").into());
        }
        (EffortForm::Object, false, _) => put("reasoning", json!({ "enabled": false })),
        (EffortForm::Object, true, None) => put("reasoning", json!({ "enabled": true })),
        (EffortForm::Object, true, Some(word)) => put("reasoning", json!({ "effort": word })),
        (EffortForm::Switch, thinks, _) => {
            put("thinking", json!({ "type": if thinks { "enabled" } else { "disabled" } }));
        }
        (EffortForm::Flag, true, _) => put("enable_thinking", true.into()),
        (EffortForm::Flag, false, _) => put("enable_thinking", false.into()),
        (EffortForm::Template, thinks, word) => {
            for name in ["enable_thinking", "thinking"] {
                options.entry(name).or_insert(thinks.into());
            }
            if let Some(word) = word {
                put("reasoning_effort", word.into());
            }
        }
    }
}

/// Whether a model of OpenAI's takes an effort.
pub(in crate::wire) fn thinks_by_name(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let is_o =
        name.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let number =
        name.strip_prefix("gpt-").and_then(|rest| rest.split(['.', '-']).next()?.parse().ok());
    is_o || number.is_some_and(|number: u32| number >= 5) || name.starts_with("gpt-oss")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_strict_if_all_its_objects_are_closed() {
        let inner = json!({ "type": "object", "properties": { "a": { "type": "string" } },
            "required": ["a"], "additionalProperties": false });
        assert!(is_strict(&inner));
        assert!(is_strict(&json!({ "type": "array", "items": inner })));
        assert!(!is_strict(&json!({ "type": "object" })));
        assert!(!is_strict(&json!({ "anyOf": [inner, { "type": "object", "properties": {} }] })));
    }

    #[test]
    fn only_models_that_think_are_asked_for_effort() {
        for (model, thinks) in [
            ("o3-mini", true),
            ("openai/gpt-5.1", true),
            ("gpt-5", true),
            ("gpt-oss-20b", true),
            ("gpt-4o", false),
            ("gpt-4.1", false),
            ("omni", false),
        ] {
            assert_eq!(thinks_by_name(model), thinks, "{model}");
        }
    }
}
