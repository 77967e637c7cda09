//! Parses tools, the format of the answer and thinking.

use serde_json::{Map, Value, json};

use super::fields::{in_camel_case, list, member, text, wrong};
use super::schema::json_schema;
use crate::dialect::tools::parse_name;
use crate::error::Result;
use crate::request::{
    AnswerFormat, AnswerRules, Effort, Family, ForeignTool, MAX_TOOLS, Thinking, Tool, ToolChoice,
    Tools,
};

/// Members of a function that have a neutral meaning.
const KNOWN_OF_FUNCTION: [&str; 4] = ["description", "name", "parameters", "parametersJsonSchema"];

pub(super) fn parse(
    members: &Map<String, Value>,
    config: &Map<String, Value>,
) -> Result<AnswerRules> {
    let mut functions: Vec<Tool> = Vec::new();
    let mut foreign_tools = Vec::new();
    for (at, tool) in list("tools", members.get("tools"))?.iter().enumerate() {
        let path = format!("tools[{at}].functionDeclarations");
        for (at, function) in list(&path, member(tool, "functionDeclarations"))?.iter().enumerate()
        {
            functions.push(parse_function(&format!("{path}[{at}]"), function)?);
        }
        let mut rest = in_camel_case(tool.as_object().cloned().unwrap_or_default());
        rest.remove("functionDeclarations");
        if !rest.is_empty() {
            let value = rest.into();
            foreign_tools.push(ForeignTool { family: Family::Gemini, value, is_wish: false });
        }
    }
    if functions.len() + foreign_tools.len() > MAX_TOOLS {
        return Err(wrong("tools", &format!("at most {MAX_TOOLS} tools")));
    }
    for (at, tool) in functions.iter().enumerate() {
        if functions[..at].iter().any(|other| other.name == tool.name) {
            return Err(wrong("tools", "functions of different names"));
        }
    }
    let tools = choose(functions, members.get("toolConfig"))?;
    let format = format(config)?;
    let calls = tools.as_ref().is_some_and(|tools| tools.choice != ToolChoice::None);
    Ok(AnswerRules {
        yields_format: calls && format.is_some(),
        tools,
        foreign_tools,
        format,
        thinking: thinking(config.get("thinkingConfig"))?,
        ..AnswerRules::default()
    })
}

/// Told to the model in the form that chat templates know.
fn parse_function(path: &str, function: &Value) -> Result<Tool> {
    let name = member(function, "name").unwrap_or(&Value::Null);
    let name = parse_name(&format!("{path}.name"), name)?;
    let own = member(function, "parameters");
    let parameters = match (member(function, "parametersJsonSchema"), own) {
        (Some(schema @ Value::Object(_)), _) => schema.clone(),
        (None, Some(schema @ Value::Object(_))) => json_schema(schema),
        (None, None) => Value::Object(Map::new()),
        _ => return Err(wrong(&format!("{path}.parameters"), "a schema")),
    };
    let mut described = json!({ "name": name });
    if let Some(description) = text(function, "description") {
        described["description"] = description.into();
    }
    described["parameters"] = parameters.clone();
    let description = json!({ "type": "function", "function": described });
    let mut rest = in_camel_case(function.as_object().cloned().unwrap_or_default());
    let own = rest.remove("parameters");
    rest.retain(|name, _| !KNOWN_OF_FUNCTION.contains(&name.as_str()));
    // Google's own form of the schema goes back as it is.
    rest.extend(own.map(|schema| ("parameters".to_owned(), schema)));
    let extras = (!rest.is_empty()).then_some((Family::Gemini, rest));
    Ok(Tool { name, parameters, description, cache: None, extras })
}

fn choose(mut list: Vec<Tool>, config: Option<&Value>) -> Result<Option<Tools>> {
    let path = "toolConfig.functionCallingConfig";
    let config = config.and_then(|config| member(config, "functionCallingConfig"));
    let mode = config.and_then(|config| text(config, "mode"));
    let names = config.and_then(|config| member(config, "allowedFunctionNames"));
    let names = super::fields::list(&format!("{path}.allowedFunctionNames"), names)?;
    let choice = match mode.map(str::to_ascii_uppercase).as_deref() {
        None | Some("AUTO" | "MODE_UNSPECIFIED" | "VALIDATED") => ToolChoice::Auto,
        Some("NONE") => ToolChoice::None,
        Some("ANY") => match names {
            [name] => ToolChoice::Named(name.as_str().unwrap_or_default().to_owned()),
            _ => ToolChoice::Required,
        },
        Some(_) => return Err(wrong(&format!("{path}.mode"), "AUTO, ANY, VALIDATED or NONE")),
    };
    match &choice {
        ToolChoice::Named(name) if !list.iter().any(|tool| tool.name == *name) => {
            return Err(wrong(path, "one that names a declared function"));
        }
        ToolChoice::Required if list.is_empty() => {
            return Err(wrong(path, "one beside declared functions"));
        }
        _ => {}
    }
    if choice != ToolChoice::None && names.len() > 1 {
        // Who may not call a tool need not know it.
        list.retain(|tool| names.iter().any(|name| *name == tool.name.as_str()));
    }
    Ok((!list.is_empty()).then_some(Tools { list, choice, is_parallel: true }))
}

fn format(config: &Map<String, Value>) -> Result<Option<AnswerFormat>> {
    let path = "generationConfig.responseMimeType";
    let json = config.get("responseJsonSchema").or(config.get("_responseJsonSchema"));
    let own = config.get("responseSchema");
    let schema = json.cloned().or_else(|| own.map(json_schema));
    match (config.get("responseMimeType").and_then(Value::as_str), schema) {
        (None | Some("text/plain" | ""), None) => Ok(None),
        (Some("application/json"), None) => Ok(Some(AnswerFormat::JsonObject)),
        (Some("application/json") | None, Some(schema)) => {
            Ok(Some(AnswerFormat::JsonSchema(schema)))
        }
        (Some("text/x.enum"), Some(schema)) => {
            let texts = schema["enum"].as_array().into_iter().flatten();
            let texts: Vec<String> = texts.filter_map(Value::as_str).map(str::to_owned).collect();
            match texts.is_empty() {
                true => Err(wrong("generationConfig.responseSchema", "one with an enum of texts")),
                false => Ok(Some(AnswerFormat::Choice(texts))),
            }
        }
        _ => Err(wrong(path, "text/plain, application/json, or text/x.enum with a schema")),
    }
}

/// A model that cannot think answers all the same.
fn thinking(config: Option<&Value>) -> Result<Thinking> {
    let Some(config) = config else { return Ok(Thinking::AsModel) };
    if let Some(level) = text(config, "thinkingLevel") {
        let effort = match level.to_ascii_uppercase().as_str() {
            "MINIMAL" | "LOW" => Effort::Low,
            "MEDIUM" => Effort::Medium,
            "HIGH" => Effort::High,
            "THINKING_LEVEL_UNSPECIFIED" => return Ok(Thinking::IfAble(None)),
            _ => {
                let path = "generationConfig.thinkingConfig.thinkingLevel";
                return Err(wrong(path, "MINIMAL, LOW, MEDIUM or HIGH"));
            }
        };
        return Ok(Thinking::IfAble(Some(effort)));
    }
    let shows = member(config, "includeThoughts") == Some(&Value::Bool(true));
    match member(config, "thinkingBudget").map(Value::as_i64) {
        None => Ok(if shows { Thinking::IfAble(None) } else { Thinking::AsModel }),
        Some(Some(0)) => Ok(Thinking::Off),
        // As much as the model likes.
        Some(Some(-1)) => Ok(Thinking::IfAble(None)),
        Some(Some(1..=4096)) => Ok(Thinking::IfAble(Some(Effort::Low))),
        Some(Some(4097..=16_384)) => Ok(Thinking::IfAble(Some(Effort::Medium))),
        Some(Some(16_385..)) => Ok(Thinking::IfAble(Some(Effort::High))),
        Some(_) => {
            let path = "generationConfig.thinkingConfig.thinkingBudget";
            Err(wrong(path, "a whole number from -1"))
        }
    }
}
