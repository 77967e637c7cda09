//! Writes tools, formats and thinking.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::request::{
    AnswerFormat, Effort, Family, GenerateRequest, Thinking, Tool, ToolChoice, Tools,
};
use crate::wire::writing::{Notes, cannot};

/// From this version on models choose by themselves how long they think.
const ADAPTIVE_SINCE: (u32, u32) = (4, 6);
/// What an answer may have if the request does not say: the dialect wants a number.
pub(in crate::wire) const DEFAULT_MAX_TOKENS: u32 = 8192;

pub(super) fn write(
    request: &GenerateRequest,
    model: &str,
    body: &mut Map<String, Value>,
    notes: &mut Notes,
) -> Result<()> {
    let rules = &request.rules;
    let foreign = rules.foreign_tools.iter().filter(|tool| tool.family == Family::Anthropic);
    let mut list: Vec<Value> = foreign.map(|tool| tool.value.clone()).collect();
    if let Some(tools) = &rules.tools {
        list.extend(tools.list.iter().map(|tool| write_tool(tool, notes)));
        body.extend(choice(tools).map(|choice| ("tool_choice".to_owned(), choice)));
    }
    if !list.is_empty() {
        body.insert("tools".into(), list.into());
    }
    if !rules.template_options.is_empty() {
        notes.warn("chat_template_kwargs");
    }
    match &rules.format {
        None => {}
        Some(AnswerFormat::JsonSchema(schema)) => {
            let format = json!({ "type": "json_schema", "schema": schema });
            body.insert("output_config".into(), json!({ "format": format }));
        }
        Some(_) => {
            let what = "holds an answer to a JSON schema only, not to JSON of any kind, a grammar \
                        or a list of texts";
            return Err(cannot("response_format", what));
        }
    }
    let forces = rules
        .tools
        .as_ref()
        .is_some_and(|tools| matches!(tools.choice, ToolChoice::Required | ToolChoice::Named(_)));
    let has_own = request.extras.as_ref().is_some_and(|extras| {
        extras.family == Family::Anthropic && extras.raw.contains_key("thinking")
    });
    match rules.thinking {
        // What the client itself wrote goes as it is.
        _ if has_own => {}
        Thinking::AsModel | Thinking::Off => {}
        Thinking::IfAble(_) if !can_think(model) => notes.warn("reasoning_effort"),
        // The dialect does not have both.
        Thinking::IfAble(_) | Thinking::On(_) if forces => notes.warn("reasoning_effort"),
        Thinking::IfAble(effort) | Thinking::On(effort) => think(effort, model, body, notes),
    }
    Ok(())
}

fn write_tool(tool: &Tool, notes: &mut Notes) -> Value {
    let mut written = Map::new();
    written.insert("name".into(), tool.name.as_str().into());
    let description = &tool.description["function"]["description"];
    if !description.is_null() {
        written.insert("description".into(), description.clone());
    }
    let mut schema = tool.parameters.clone();
    if schema.get("type").is_none() {
        schema["type"] = "object".into();
    }
    written.insert("input_schema".into(), schema);
    let strict = &tool.description["function"]["strict"];
    if *strict == true {
        written.insert("strict".into(), true.into());
    }
    match &tool.extras {
        Some((Family::Anthropic, own)) => written.extend(own.clone()),
        Some((_, other)) => {
            for (name, value) in other {
                match (name.as_str(), value) {
                    ("strict", Value::Bool(true)) => {
                        written.insert("strict".into(), true.into());
                    }
                    // Another form of the schema that is told.
                    ("strict" | "parameters", _) => {}
                    (name, _) => notes.warn(&format!("tools.{name}")),
                }
            }
        }
        None => {}
    }
    written.extend(tool.cache.clone().map(|mark| ("cache_control".to_owned(), mark)));
    written.into()
}

fn choice(tools: &Tools) -> Option<Value> {
    let mut choice = match &tools.choice {
        ToolChoice::Auto if tools.is_parallel => return None,
        ToolChoice::Auto => json!({ "type": "auto" }),
        ToolChoice::None => return Some(json!({ "type": "none" })),
        ToolChoice::Required => json!({ "type": "any" }),
        ToolChoice::Named(name) => json!({ "type": "tool", "name": name }),
    };
    if !tools.is_parallel {
        choice["disable_parallel_tool_use"] = true.into();
    }
    Some(choice)
}

pub(in crate::wire) fn think(
    effort: Option<Effort>,
    model: &str,
    body: &mut Map<String, Value>,
    notes: &mut Notes,
) {
    let is_adaptive = version(model).is_none_or(|version| version >= ADAPTIVE_SINCE);
    if is_adaptive {
        body.insert("thinking".into(), json!({ "type": "adaptive" }));
        if let Some(effort) = effort {
            let config = body.entry("output_config").or_insert_with(|| json!({}));
            config["effort"] = effort.name().into();
        }
    } else {
        let budget: u32 = match effort {
            Some(Effort::Low) => 2048,
            None | Some(Effort::Medium) => 8192,
            Some(Effort::High) => 16_384,
            Some(Effort::Max) => 32_000,
        };
        body.insert("thinking".into(), json!({ "type": "enabled", "budget_tokens": budget }));
        // Thoughts are part of what an answer may have; what was asked for is for the text.
        let most = body.get("max_tokens").and_then(Value::as_u64).unwrap_or(0);
        body.insert("max_tokens".into(), (most + u64::from(budget)).into());
    }
    // Who thinks draws as the model does.
    for name in ["temperature", "top_k"] {
        if body.remove(name).is_some() {
            notes.warn(name);
        }
    }
}

pub(in crate::wire) fn can_think(model: &str) -> bool {
    version(model).is_none_or(|version| version >= (3, 7))
}

/// The version in a name such as `claude-sonnet-4-5-20250929` or `claude-3-7-sonnet-latest`; `None`
/// for names that are none of Anthropic's.
fn version(model: &str) -> Option<(u32, u32)> {
    let name = &model[model.find("claude-")?..];
    let mut numbers = name.split(['-', '.', '@', ':']).filter_map(|word| word.parse().ok());
    let major: u32 = numbers.next()?;
    // A date is no minor version.
    let minor = numbers.next().filter(|minor| *minor < 100).unwrap_or(0);
    (major < 100).then_some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_told_from_dates() {
        for (model, wanted) in [
            ("claude-sonnet-4-5-20250929", Some((4, 5))),
            ("claude-3-7-sonnet-latest", Some((3, 7))),
            ("claude-sonnet-4-20250514", Some((4, 0))),
            ("anthropic/claude-opus-4.6", Some((4, 6))),
            ("claude-3-haiku-20240307", Some((3, 0))),
            ("glm-4.6", None),
        ] {
            assert_eq!(version(model), wanted, "{model}");
        }
    }
}
