//! Parses what a caller wants the answer to be made of: tools, JSON, a grammar.
//!
//! Beside OpenAI's own fields stand vLLM's: `guided_json`, `guided_regex`, `guided_grammar` (Lark)
//! and `guided_choice`, and `chat_template_kwargs`.

use serde_json::{Map, Value};

use super::fields::{Fields, must};
use super::functions;
use crate::dialect::tools;
use crate::error::{Error, Result};
use crate::request::{
    AnswerFormat, AnswerRules, Effort, MAX_TEMPLATE_OPTIONS, Thinking, Tool, ToolChoice, Tools,
};

/// All rules of a chat.
pub(super) fn parse(fields: &mut Fields) -> Result<AnswerRules> {
    let tools = match parse_tools(fields)? {
        Some(tools) => Some(tools),
        None => functions::parse(fields)?,
    };
    let format = match (response_format(fields)?, guided(fields)?) {
        (Some(_), Some(_)) => {
            let message = "'response_format' and the 'guided_' fields exclude each other.";
            return Err(Error::invalid("response_format", message));
        }
        (one, other) => one.or(other),
    };
    let template_options = template_options(fields)?;
    let thinking = thinking(fields)?;
    Ok(AnswerRules { tools, format, template_options, thinking, ..AnswerRules::default() })
}

/// `reasoning_effort`, or `reasoning.effort` as others write it. A model that does not think answers
/// all the same.
fn thinking(fields: &Fields) -> Result<Thinking> {
    let nested = fields.get("reasoning").map(|reasoning| &reasoning["effort"]);
    let nested = nested.filter(|effort| !effort.is_null());
    let Some(effort) = fields.get("reasoning_effort").or(nested) else {
        return Ok(Thinking::AsModel);
    };
    match effort.as_str() {
        Some("none") => Ok(Thinking::Off),
        Some("minimal" | "low") => Ok(Thinking::IfAble(Some(Effort::Low))),
        Some("medium") => Ok(Thinking::IfAble(Some(Effort::Medium))),
        Some("high") => Ok(Thinking::IfAble(Some(Effort::High))),
        Some("xhigh" | "ultra" | "max") => Ok(Thinking::IfAble(Some(Effort::Max))),
        _ => {
            let what = "one of none, minimal, low, medium, high, xhigh";
            Err(Error::invalid("reasoning_effort", must("reasoning_effort", what)))
        }
    }
}

fn parse_tools(fields: &mut Fields) -> Result<Option<Tools>> {
    let list = tools::parse_list(fields.take("tools"))?;
    let choice = tool_choice(fields, &list)?;
    let is_parallel = match fields.get("parallel_tool_calls") {
        None => true,
        Some(_) => fields.flag("parallel_tool_calls")?,
    };
    Ok((!list.is_empty()).then_some(Tools { list, choice, is_parallel }))
}

fn tool_choice(fields: &Fields, list: &[Tool]) -> Result<ToolChoice> {
    let wrong = |message: String| Err(Error::invalid("tool_choice", message));
    let choice = match fields.get("tool_choice") {
        None => return Ok(ToolChoice::Auto),
        Some(Value::String(word)) => match word.as_str() {
            "none" => return Ok(ToolChoice::None),
            "auto" => return Ok(ToolChoice::Auto),
            "required" => ToolChoice::Required,
            _ => return wrong(must("tool_choice", "none, auto, required or a function")),
        },
        Some(value) => match value["function"]["name"].as_str() {
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

fn response_format(fields: &Fields) -> Result<Option<AnswerFormat>> {
    let Some(format) = fields.get("response_format") else { return Ok(None) };
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(AnswerFormat::JsonObject)),
        Some("json_schema") => match &format["json_schema"]["schema"] {
            schema @ Value::Object(_) => Ok(Some(AnswerFormat::JsonSchema(schema.clone()))),
            _ => {
                let path = "response_format.json_schema.schema";
                Err(Error::invalid(path, must(path, "a JSON schema")))
            }
        },
        _ => {
            let path = "response_format.type";
            Err(Error::invalid(path, must(path, "text, json_object or json_schema")))
        }
    }
}

/// vLLM's names for the same, and more.
pub(super) fn guided(fields: &Fields) -> Result<Option<AnswerFormat>> {
    let schema = match fields.get("guided_json") {
        None => None,
        Some(Value::String(text)) => {
            let schema = serde_json::from_str(text)
                .map_err(|_| Error::invalid("guided_json", must("guided_json", "a JSON schema")))?;
            Some(AnswerFormat::JsonSchema(schema))
        }
        Some(schema) => Some(AnswerFormat::JsonSchema(schema.clone())),
    };
    let regex = fields.text("guided_regex")?.map(|text| AnswerFormat::Regex(text.to_owned()));
    let lark = fields.text("guided_grammar")?.map(|text| AnswerFormat::Lark(text.to_owned()));
    let choice = match fields.get("guided_choice") {
        None => None,
        Some(value) => {
            let texts = value.as_array().and_then(|list| {
                list.iter().map(|text| text.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
            });
            let texts = texts.filter(|list| !list.is_empty()).ok_or_else(|| {
                Error::invalid("guided_choice", must("guided_choice", "a list of strings"))
            })?;
            Some(AnswerFormat::Choice(texts))
        }
    };
    let mut found = [schema, regex, lark, choice].into_iter().flatten();
    let first = found.next();
    if found.next().is_some() {
        let message = "Only one of the 'guided_' fields may be given.";
        return Err(Error::invalid("guided_json", message));
    }
    Ok(first)
}

fn template_options(fields: &mut Fields) -> Result<Map<String, Value>> {
    let name = "chat_template_kwargs";
    let plain = |value: &Value| value.is_boolean() || value.is_number();
    match fields.take(name) {
        None => Ok(Map::new()),
        Some(Value::Object(options))
            if options.len() <= MAX_TEMPLATE_OPTIONS && options.values().all(plain) =>
        {
            Ok(options)
        }
        Some(_) => {
            let what = format!(
                "an object of at most {MAX_TEMPLATE_OPTIONS} members, each true, false or a number"
            );
            Err(Error::invalid(name, must(name, &what)))
        }
    }
}
