//! Writes the body of a request for a response. Nothing is to be stored there.

use serde_json::{Map, Value, json};

use super::items;
use crate::error::Result;
use crate::request::{
    AnswerFormat, Effort, Family, GenerateRequest, Input, Part, Role, Thinking, Tool, ToolChoice,
};
use crate::wire::open_ai::rules::{is_strict, thinks_by_name};
use crate::wire::writing::{Notes, add_extras, cannot, check_foreign_tools, check_local, number};
use crate::wire::{Call, Shape, Target};

/// Ways of drawing that the route has.
const SAMPLING: [&str; 2] = ["temperature", "top_p"];
/// Fields that chats of OpenAI share with this route.
const SHARED: [&str; 4] = ["metadata", "prompt_cache_key", "safety_identifier", "user"];

pub(super) fn call(request: &GenerateRequest, target: &Target) -> Result<Call> {
    let mut notes = Notes::default();
    check_local(request, &mut notes)?;
    check_foreign_tools(request, Family::Responses, &mut notes)?;
    let Input::Chat(messages) = &request.input else {
        return Err(cannot("prompt", "answers chats only"));
    };
    for (name, is_asked, what) in [
        ("n", request.choices > 1, "gives one answer at a time"),
        ("stop", !request.stop.is_empty(), "knows no texts that end an answer"),
        ("echo", request.echo, "repeats no prompt"),
    ] {
        if is_asked {
            return Err(cannot(name, what));
        }
    }
    let mut body = Map::new();
    body.insert("model".into(), target.model.as_str().into());
    let mut rest = messages.as_slice();
    if let [first, others @ ..] = rest
        && let (Role::System, [Part::Text(text)]) = (first.role, first.parts.as_slice())
    {
        body.insert("instructions".into(), text.as_str().into());
        rest = others;
    }
    body.insert("input".into(), items::write(rest, &mut notes)?.into());
    body.insert("store".into(), false.into());
    notes.sampling(&request.sampling, &SAMPLING);
    if request.logprobs.is_some() {
        notes.warn("logprobs");
    }
    let mut put = |name: &str, value: Option<Value>| {
        body.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("temperature", request.sampling.temperature.map(number));
    put("top_p", request.sampling.top_p.map(number));
    put("max_output_tokens", request.max_tokens.map(Value::from));
    put("stream", (target.shape == Shape::Stream).then(|| true.into()));
    write_rules(request, &target.model, &mut body, &mut notes)?;
    add_extras(request, (Family::Responses, &SHARED), &mut body, &mut notes);
    // Answers are not kept here, so neither there.
    body.insert("store".into(), false.into());
    let headers = Vec::new();
    Ok(Call { path: "/responses".to_owned(), headers, body, warnings: notes.into_names() })
}

fn write_rules(
    request: &GenerateRequest,
    model: &str,
    body: &mut Map<String, Value>,
    notes: &mut Notes,
) -> Result<()> {
    let rules = &request.rules;
    let foreign = rules.foreign_tools.iter().filter(|tool| tool.family == Family::Responses);
    let mut list: Vec<Value> = foreign.map(|tool| tool.value.clone()).collect();
    if let Some(tools) = &rules.tools {
        list.extend(tools.list.iter().map(|tool| write_tool(tool, notes)));
        let choice = match &tools.choice {
            ToolChoice::Auto => None,
            ToolChoice::None => Some(json!("none")),
            ToolChoice::Required => Some(json!("required")),
            ToolChoice::Named(name) => Some(json!({ "type": "function", "name": name })),
        };
        body.extend(choice.map(|choice| ("tool_choice".to_owned(), choice)));
        if !tools.is_parallel {
            body.insert("parallel_tool_calls".into(), false.into());
        }
    }
    if !list.is_empty() {
        body.insert("tools".into(), list.into());
    }
    let format = match &rules.format {
        None => None,
        Some(AnswerFormat::JsonObject) => Some(json!({ "type": "json_object" })),
        Some(AnswerFormat::JsonSchema(schema)) => {
            let is_strict = is_strict(schema);
            Some(json!({ "type": "json_schema", "name": "answer", "schema": schema,
                "strict": is_strict }))
        }
        Some(_) => return Err(cannot("response_format", "holds no answer to a grammar")),
    };
    body.extend(format.map(|format| ("text".to_owned(), json!({ "format": format }))));
    let thinks = thinks_by_name(model);
    match rules.thinking {
        Thinking::IfAble(Some(_)) | Thinking::On(_) if !thinks => notes.warn("reasoning_effort"),
        Thinking::IfAble(effort) | Thinking::On(effort) if thinks => {
            let effort = match effort {
                None => "medium",
                Some(Effort::Max) => "high",
                Some(effort) => effort.name(),
            };
            body.insert("reasoning".into(), json!({ "effort": effort, "summary": "auto" }));
        }
        _ => {}
    }
    if thinks {
        // Without storage it is the only way to go on with a thought.
        body.insert("include".into(), json!(["reasoning.encrypted_content"]));
    }
    if !rules.template_options.is_empty() {
        notes.warn("chat_template_kwargs");
    }
    Ok(())
}

fn write_tool(tool: &Tool, notes: &mut Notes) -> Value {
    let function = &tool.description["function"];
    let strict = function.get("strict").cloned().unwrap_or(false.into());
    let mut parameters = tool.parameters.clone();
    if parameters.get("type").is_none() {
        parameters["type"] = "object".into();
    }
    let mut written = json!({ "type": "function", "name": tool.name, "parameters": parameters,
        "strict": strict });
    if !function["description"].is_null() {
        written["description"] = function["description"].clone();
    }
    if tool.cache.is_some() {
        notes.warn("tools.cache_control");
    }
    for (name, value) in tool.extras.iter().flat_map(|(_, extras)| extras) {
        match name.as_str() {
            "strict" => written["strict"] = value.clone(),
            // Another form of the schema that is told.
            "parameters" => {}
            name => notes.warn(&format!("tools.{name}")),
        }
    }
    written
}
