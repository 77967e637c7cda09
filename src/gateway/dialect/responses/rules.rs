//! Parses tools, thinking and the format of the answer.

use serde_json::{Map, Value, json};

use crate::dialect::fields::{Fields, must};
use crate::dialect::tools::parse_name;
use crate::error::{Error, Result};
use crate::request::{
    AnswerFormat, AnswerRules, Effort, Family, ForeignTool, MAX_TOOLS, Thinking, Tool, ToolChoice,
    Tools,
};

/// `ignored` gathers what cannot be kept.
pub(super) fn parse(fields: &mut Fields, ignored: &mut Vec<String>) -> Result<AnswerRules> {
    let mut foreign_tools = Vec::new();
    let tools = parse_tools(fields, &mut foreign_tools, ignored)?;
    let format = format(fields)?;
    let calls = tools.as_ref().is_some_and(|tools| tools.choice != ToolChoice::None);
    let yields_format = calls && format.is_some();
    if yields_format {
        // Models that run here cannot do both; clients send both.
        ignored.push("text.format".to_owned());
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

fn parse_tools(
    fields: &mut Fields,
    foreign: &mut Vec<ForeignTool>,
    ignored: &mut Vec<String>,
) -> Result<Option<Tools>> {
    let given = match fields.take("tools") {
        None => Vec::new(),
        Some(Value::Array(list)) if list.len() <= MAX_TOOLS => list,
        Some(_) => {
            let what = format!("a list of at most {MAX_TOOLS} tools");
            return Err(Error::invalid("tools", must("tools", &what)));
        }
    };
    let mut list: Vec<Tool> = Vec::with_capacity(given.len());
    for (at, tool) in given.into_iter().enumerate() {
        let path = format!("tools[{at}]");
        match tool["type"].as_str() {
            Some("function") => list.push(parse_tool(&path, &tool)?),
            // Tools that a server runs by itself: agents offer them to every server.
            Some(_) => {
                ignored.push(format!("tools.{at}"));
                let family = Family::Responses;
                foreign.push(ForeignTool { family, value: tool, is_wish: true });
            }
            None => return Err(Error::invalid(&path, must(&path, "a tool with its type"))),
        }
    }
    for (at, tool) in list.iter().enumerate() {
        if list[..at].iter().any(|other| other.name == tool.name) {
            let message = format!("Two tools have the name '{}'.", tool.name);
            return Err(Error::invalid("tools", message));
        }
    }
    // A choice among the server's own tools goes with them.
    let chosen = fields.get("tool_choice").filter(|choice| {
        choice
            .as_object()
            .is_none_or(|choice| choice.get("type").is_none_or(|kind| kind == "function"))
    });
    let choice = choice(chosen, &list)?;
    let is_parallel = match fields.get("parallel_tool_calls") {
        None => true,
        Some(_) => fields.flag("parallel_tool_calls")?,
    };
    Ok((!list.is_empty()).then_some(Tools { list, choice, is_parallel }))
}

/// Told to the model in the form that chat templates know.
fn parse_tool(path: &str, tool: &Value) -> Result<Tool> {
    let name = parse_name(&format!("{path}.name"), &tool["name"])?;
    let wrong = |field: &str, what: &str| {
        let path = format!("{path}.{field}");
        Err(Error::invalid(&path, must(&path, what)))
    };
    let parameters = match &tool["parameters"] {
        Value::Null => Value::Object(Map::new()),
        schema @ Value::Object(_) => schema.clone(),
        _ => return wrong("parameters", "a JSON schema"),
    };
    let mut function = json!({ "name": name });
    match &tool["description"] {
        Value::Null => {}
        text @ Value::String(_) => function["description"] = text.clone(),
        _ => return wrong("description", "a string"),
    }
    function["parameters"] = parameters.clone();
    let description = json!({ "type": "function", "function": function });
    let strict = tool.get("strict").filter(|strict| !strict.is_null()).cloned();
    let strict = strict.map(|strict| [("strict".to_owned(), strict)].into_iter().collect());
    let extras = strict.map(|strict| (Family::Responses, strict));
    Ok(Tool { name, parameters, description, cache: None, extras })
}

fn choice(value: Option<&Value>, list: &[Tool]) -> Result<ToolChoice> {
    let wrong = |message: String| Err(Error::invalid("tool_choice", message));
    let choice = match value {
        None => return Ok(ToolChoice::Auto),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => return Ok(ToolChoice::Auto),
            "none" => return Ok(ToolChoice::None),
            "required" => ToolChoice::Required,
            _ => return wrong(must("tool_choice", "none, auto, required or a function")),
        },
        Some(value) => match value["name"].as_str() {
            Some(name) => ToolChoice::Named(name.to_owned()),
            None => return wrong(must("tool_choice", "none, auto, required or a function")),
        },
    };
    match &choice {
        ToolChoice::Named(name) if !list.iter().any(|tool| tool.name == *name) => {
            wrong("'tool_choice' names a function that is not among 'tools'.".to_owned())
        }
        _ if list.is_empty() => {
            wrong("'tool_choice' asks for a call, but there are no 'tools'.".to_owned())
        }
        _ => Ok(choice),
    }
}

/// A model that cannot think answers all the same: agents ask every model.
fn thinking(fields: &Fields) -> Result<Thinking> {
    let effort = fields.get("reasoning").map_or(&Value::Null, |reasoning| &reasoning["effort"]);
    Ok(match (effort, effort.as_str()) {
        (Value::Null, _) => Thinking::AsModel,
        (_, Some("none" | "minimal")) => Thinking::Off,
        (_, Some("low")) => Thinking::IfAble(Some(Effort::Low)),
        (_, Some("medium")) => Thinking::IfAble(Some(Effort::Medium)),
        (_, Some("high")) => Thinking::IfAble(Some(Effort::High)),
        (_, Some("xhigh" | "max")) => Thinking::IfAble(Some(Effort::Max)),
        _ => {
            let what = "one of none, minimal, low, medium, high, xhigh, max";
            return Err(Error::invalid("reasoning.effort", must("reasoning.effort", what)));
        }
    })
}

fn format(fields: &Fields) -> Result<Option<AnswerFormat>> {
    let format = fields.get("text").map_or(&Value::Null, |text| &text["format"]);
    match (format, format["type"].as_str(), &format["schema"]) {
        (Value::Null, ..) | (_, Some("text"), _) => Ok(None),
        (_, Some("json_object"), _) => Ok(Some(AnswerFormat::JsonObject)),
        (_, Some("json_schema"), schema @ Value::Object(_)) => {
            Ok(Some(AnswerFormat::JsonSchema(schema.clone())))
        }
        _ => {
            let what = "of type text, json_object or json_schema, the last with a schema";
            Err(Error::invalid("text.format", must("text.format", what)))
        }
    }
}
