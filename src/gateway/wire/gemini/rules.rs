//! Writes tools, formats and thinking.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::request::{
    AnswerFormat, AnswerRules, Effort, Family, GenerateRequest, Thinking, Tool, ToolChoice,
};
use crate::wire::writing::{Notes, cannot};

pub(super) fn write_tools(
    request: &GenerateRequest,
    body: &mut Map<String, Value>,
    notes: &mut Notes,
) {
    let rules = &request.rules;
    let foreign = rules.foreign_tools.iter().filter(|tool| tool.family == Family::Gemini);
    let mut list: Vec<Value> = foreign.map(|tool| tool.value.clone()).collect();
    if let Some(tools) = &rules.tools {
        let functions: Vec<Value> = tools.list.iter().map(|tool| write_tool(tool, notes)).collect();
        list.insert(0, json!({ "functionDeclarations": functions }));
        let config = match &tools.choice {
            ToolChoice::Auto => None,
            ToolChoice::None => Some(json!({ "mode": "NONE" })),
            ToolChoice::Required => Some(json!({ "mode": "ANY" })),
            ToolChoice::Named(name) => {
                Some(json!({ "mode": "ANY", "allowedFunctionNames": [name] }))
            }
        };
        if let Some(config) = config {
            body.insert("toolConfig".into(), json!({ "functionCallingConfig": config }));
        }
        if !tools.is_parallel {
            notes.warn("parallel_tool_calls");
        }
    }
    if !list.is_empty() {
        body.insert("tools".into(), list.into());
    }
    if !rules.template_options.is_empty() {
        notes.warn("chat_template_kwargs");
    }
}

fn write_tool(tool: &Tool, notes: &mut Notes) -> Value {
    let mut written = Map::new();
    written.insert("name".into(), tool.name.as_str().into());
    // The dialect wants one.
    let description = tool.description["function"]["description"].as_str().unwrap_or_default();
    written.insert("description".into(), description.into());
    let has_parameters = tool.parameters.as_object().is_some_and(|schema| !schema.is_empty());
    if has_parameters {
        written.insert("parametersJsonSchema".into(), tool.parameters.clone());
    }
    if tool.cache.is_some() {
        notes.warn("tools.cache_control");
    }
    match &tool.extras {
        Some((Family::Gemini, own)) => {
            if own.contains_key("parameters") {
                written.remove("parametersJsonSchema");
            }
            written.extend(own.clone());
        }
        Some((_, other)) => other.keys().for_each(|name| notes.warn(&format!("tools.{name}"))),
        None => {}
    }
    written.into()
}

/// The part of `generationConfig` that rules the answer.
pub(super) fn write_config(
    request: &GenerateRequest,
    model: &str,
    config: &mut Map<String, Value>,
    notes: &mut Notes,
) -> Result<()> {
    let AnswerRules { format, thinking, .. } = &request.rules;
    let mut put = |name: &str, value: Value| {
        config.insert(name.to_owned(), value);
    };
    match format {
        None => {}
        Some(AnswerFormat::JsonObject) => put("responseMimeType", "application/json".into()),
        Some(AnswerFormat::JsonSchema(schema)) => {
            put("responseMimeType", "application/json".into());
            put("responseJsonSchema", schema.clone());
        }
        Some(AnswerFormat::Choice(texts)) => {
            put("responseMimeType", "text/x.enum".into());
            put("responseSchema", json!({ "type": "STRING", "enum": texts }));
        }
        Some(AnswerFormat::Regex(_) | AnswerFormat::Lark(_)) => {
            return Err(cannot("response_format", "holds no answer to a grammar"));
        }
    }
    if let Some(thinking) = think(*thinking, model, notes) {
        put("thinkingConfig", thinking);
    }
    Ok(())
}

fn think(thinking: Thinking, model: &str, notes: &mut Notes) -> Option<Value> {
    let (thinks, effort) = match thinking {
        Thinking::AsModel => return None,
        Thinking::Off => (false, None),
        Thinking::IfAble(effort) | Thinking::On(effort) => (true, effort),
    };
    // Models of the third generation know levels, those of 2.5 budgets, older ones nothing.
    if model.contains("gemini-3") {
        let level = match effort {
            _ if !thinks => return None,
            None => return Some(json!({ "includeThoughts": true })),
            Some(Effort::Low) => "LOW",
            Some(Effort::Medium) if model.contains("flash") => "MEDIUM",
            Some(Effort::Medium | Effort::High | Effort::Max) => "HIGH",
        };
        return Some(json!({ "includeThoughts": true, "thinkingLevel": level }));
    }
    if model.contains("gemini-2.5") {
        let budget: i32 = match effort {
            // This one cannot leave it.
            _ if !thinks && model.contains("pro") => return None,
            _ if !thinks => return Some(json!({ "thinkingBudget": 0 })),
            None => return Some(json!({ "includeThoughts": true })),
            Some(Effort::Low) => 1024,
            Some(Effort::Medium) => 8192,
            Some(Effort::High | Effort::Max) => 24_576,
        };
        return Some(json!({ "includeThoughts": true, "thinkingBudget": budget }));
    }
    if thinks {
        notes.warn("reasoning_effort");
    }
    None
}
