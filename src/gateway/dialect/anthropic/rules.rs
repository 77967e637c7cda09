//! Parses tools, thinking and the format of the answer.

use serde_json::{Map, Value, json};

use crate::dialect::fields::{Fields, must};
use crate::dialect::tools::{parse_each, parse_name};
use crate::error::{Error, Result};
use crate::request::{
    AnswerFormat, AnswerRules, Effort, Family, ForeignTool, Thinking, Tool, ToolChoice, Tools,
};

/// Members of a tool that have a neutral meaning.
const KNOWN_OF_TOOL: [&str; 4] = ["description", "input_schema", "name", "type"];

/// `ignored` gathers what cannot be kept.
pub(super) fn parse(fields: &mut Fields, ignored: &mut Vec<String>) -> Result<AnswerRules> {
    let foreign_tools = foreign_tools(fields);
    let tools = parse_tools(fields, &foreign_tools)?;
    let format = format(fields)?;
    let calls = tools.as_ref().is_some_and(|tools| tools.choice != ToolChoice::None);
    let yields_format = calls && format.is_some();
    if yields_format {
        // Models that run here cannot do both; clients send both.
        ignored.push("output_config.format".to_owned());
    }
    let thinking = thinking(fields)?;
    Ok(AnswerRules {
        tools,
        foreign_tools,
        format,
        yields_format,
        thinking,
        ..AnswerRules::default()
    })
}

/// Takes out the tools that have a type of their own, whose calls Anthropic's models know.
fn foreign_tools(fields: &mut Fields) -> Vec<ForeignTool> {
    let Some(Value::Array(list)) = fields.get_mut("tools") else { return Vec::new() };
    let is_foreign = |tool: &Value| tool["type"].as_str().is_some_and(|kind| kind != "custom");
    let (foreign, own) = std::mem::take(list).into_iter().partition(is_foreign);
    *list = own;
    let tool = |value| ForeignTool { family: Family::Anthropic, value, is_wish: false };
    let foreign: Vec<Value> = foreign;
    foreign.into_iter().map(tool).collect()
}

fn parse_tools(fields: &mut Fields, foreign: &[ForeignTool]) -> Result<Option<Tools>> {
    let list = parse_each("tools", fields.take("tools"), "name", parse_tool)?;
    let chosen = fields.take("tool_choice").unwrap_or_default();
    let is_parallel = chosen["disable_parallel_tool_use"] != true;
    let wrong = |what: &str| Err(Error::invalid("tool_choice", format!("tool_choice: {what}")));
    let choice = match (&chosen, chosen["type"].as_str()) {
        (Value::Null, _) | (_, Some("auto")) => ToolChoice::Auto,
        (_, Some("none")) => ToolChoice::None,
        (_, Some("any")) => ToolChoice::Required,
        (_, Some("tool")) => {
            ToolChoice::Named(chosen["name"].as_str().unwrap_or_default().to_owned())
        }
        _ => return wrong("type must be auto, any, tool or none"),
    };
    match &choice {
        ToolChoice::Named(name)
            if !list.iter().any(|tool| tool.name == *name)
                && !foreign.iter().any(|tool| tool.value["name"] == **name) =>
        {
            return wrong("names a tool that is not among tools");
        }
        ToolChoice::Required if list.is_empty() && foreign.is_empty() => {
            return wrong("asks for a call without tools");
        }
        _ => {}
    }
    Ok((!list.is_empty()).then_some(Tools { list, choice, is_parallel }))
}

/// Told to the model in the form that chat templates know.
fn parse_tool(path: &str, mut tool: Value) -> Result<Tool> {
    if !matches!(tool["type"], Value::Null) && tool["type"] != "custom" {
        let kind: String = tool["type"].to_string().chars().take(60).collect();
        let message = format!("{path}: a tool of type {kind} is not supported by this server");
        return Err(Error::invalid(path, message));
    }
    let name = parse_name(&format!("{path}.name"), &tool["name"])?;
    let parameters = match &tool["input_schema"] {
        Value::Null => Value::Object(Map::new()),
        schema @ Value::Object(_) => schema.clone(),
        _ => {
            let path = format!("{path}.input_schema");
            return Err(Error::invalid(&path, must(&path, "a JSON schema")));
        }
    };
    let mut function = json!({ "name": name });
    match &tool["description"] {
        Value::Null => {}
        text @ Value::String(_) => function["description"] = text.clone(),
        _ => {
            let path = format!("{path}.description");
            return Err(Error::invalid(&path, must(&path, "a string")));
        }
    }
    function["parameters"] = parameters.clone();
    let description = json!({ "type": "function", "function": function });
    let mut rest = tool.as_object_mut().map(std::mem::take).unwrap_or_default();
    rest.retain(|name, value| !KNOWN_OF_TOOL.contains(&name.as_str()) && !value.is_null());
    let cache = rest.remove("cache_control");
    let extras = (!rest.is_empty()).then_some((Family::Anthropic, rest));
    Ok(Tool { name, parameters, description, cache, extras })
}

/// Without the field nobody thinks. A budget is not counted: thoughts are part of `max_tokens`.
fn thinking(fields: &Fields) -> Result<Thinking> {
    let effort = fields.get("output_config").and_then(|config| match config["effort"].as_str() {
        Some("low") => Some(Effort::Low),
        Some("medium") => Some(Effort::Medium),
        Some("high") => Some(Effort::High),
        Some("max" | "xhigh") => Some(Effort::Max),
        _ => None,
    });
    match fields.get("thinking").map(|thinking| thinking["type"].as_str()) {
        None | Some(Some("disabled")) => Ok(Thinking::Off),
        // Coding agents ask every model; one that cannot answers without.
        Some(Some("enabled" | "adaptive")) => Ok(Thinking::IfAble(effort)),
        _ => {
            let message = "thinking: type must be enabled, adaptive or disabled";
            Err(Error::invalid("thinking", message))
        }
    }
}

fn format(fields: &Fields) -> Result<Option<AnswerFormat>> {
    let newer = fields.get("output_config").map(|config| &config["format"]);
    let format = newer.filter(|format| !format.is_null()).or(fields.get("output_format"));
    let Some(format) = format else { return Ok(None) };
    match (format["type"].as_str(), &format["schema"]) {
        (Some("json_schema"), schema @ Value::Object(_)) => {
            Ok(Some(AnswerFormat::JsonSchema(schema.clone())))
        }
        _ => {
            let message = "output_config.format: must be of type json_schema with a schema";
            Err(Error::invalid("output_config.format", message))
        }
    }
}
