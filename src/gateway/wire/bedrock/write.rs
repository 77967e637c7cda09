//! Writes the body of a request for a conversation.

use serde_json::{Map, Value, json};

use super::content;
use crate::error::Result;
use crate::request::{
    AnswerFormat, Family, GenerateRequest, Input, Part, Role, Thinking, Tool, ToolChoice,
};
use crate::wire::anthropic::rules as claude;
use crate::wire::gemini::escape;
use crate::wire::writing::{
    CallIds, IdRule, Notes, cannot, check_foreign_tools, check_local, number, only_chat, turns,
};
use crate::wire::{Call, Shape, Target};

/// Ways of drawing that the dialect has for every model.
const SAMPLING: [&str; 2] = ["temperature", "top_p"];
/// Fields of Anthropic's that Claude takes here too.
const CLAUDE: [&str; 4] = ["thinking", "output_config", "context_management", "anthropic_beta"];

pub(super) fn call(request: &GenerateRequest, target: &Target) -> Result<Call> {
    let mut notes = Notes::default();
    check_local(request, &mut notes)?;
    // Bedrock has no tools of its own that Claude's dialect names.
    check_foreign_tools(request, Family::Cohere, &mut notes)?;
    let messages = only_chat(request)?;
    let mut body = Map::new();
    let (system, turns) = turns(messages);
    let is_system = |role: Role| role == Role::System;
    if messages.iter().skip_while(|m| is_system(m.role)).any(|m| is_system(m.role)) {
        // They all come first here.
        notes.warn("messages.system");
    }
    let system = content::write_system(&system, &mut notes)?;
    if !system.is_empty() {
        body.insert("system".into(), system.into());
    }
    let mut ids = CallIds::new(IdRule::Plain);
    let mut written: Vec<Value> = Vec::with_capacity(turns.len());
    for (is_model, turn) in turns {
        let role = if is_model { "assistant" } else { "user" };
        let mut content = content::write_turn(&turn, &mut ids, &mut notes)?;
        if !is_claude(&target.model) && content.iter().any(is_thought) {
            // Whose seals they are, nobody else can read.
            content.retain(|block| !is_thought(block));
            notes.warn("reasoning");
        }
        if !content.is_empty() {
            written.push(json!({ "role": role, "content": content }));
        }
    }
    body.insert("messages".into(), written.into());
    write_tools(request, &mut body, &mut notes)?;
    write_format(request, &mut body)?;
    let mut more = additional(request, &target.model, &mut notes);
    write_sampling(request, &target.model, (&mut body, &mut more), &mut notes);
    if !more.is_empty() {
        body.insert("additionalModelRequestFields".into(), more.into());
    }
    let action = match target.shape {
        Shape::Whole => "converse",
        Shape::Stream => "converse-stream",
    };
    let path = format!("/model/{}/{action}", escape(&target.model));
    Ok(Call { path, headers: Vec::new(), body, warnings: notes.into_names() })
}

fn is_thought(block: &Value) -> bool {
    block.get("reasoningContent").is_some()
}

fn is_claude(model: &str) -> bool {
    model.contains("claude")
}

fn write_tools(
    request: &GenerateRequest,
    body: &mut Map<String, Value>,
    notes: &mut Notes,
) -> Result<()> {
    if !request.rules.template_options.is_empty() {
        notes.warn("chat_template_kwargs");
    }
    let Some(tools) = &request.rules.tools else { return Ok(()) };
    let has_calls = match &request.input {
        Input::Chat(messages) => messages.iter().any(|message| {
            message.role == Role::Tool
                || message.parts.iter().any(|part| matches!(part, Part::Call(_)))
        }),
        _ => false,
    };
    let choice = match &tools.choice {
        ToolChoice::Auto => None,
        // There is no such choice here; who may call nothing is shown nothing, unless what was
        // called before needs its tools.
        ToolChoice::None if !has_calls => return Ok(()),
        ToolChoice::None => {
            return Err(cannot(
                "tool_choice",
                "cannot be kept from calling tools of earlier turns",
            ));
        }
        ToolChoice::Required => Some(json!({ "any": {} })),
        ToolChoice::Named(name) => Some(json!({ "tool": { "name": name } })),
    };
    if !tools.is_parallel {
        notes.warn("parallel_tool_calls");
    }
    let mut list = Vec::with_capacity(tools.list.len());
    for tool in &tools.list {
        list.push(json!({ "toolSpec": write_tool(tool, notes) }));
        if tool.cache.is_some() {
            list.push(json!({ "cachePoint": { "type": "default" } }));
        }
    }
    let mut config = json!({ "tools": list });
    if let Some(choice) = choice {
        config["toolChoice"] = choice;
    }
    body.insert("toolConfig".into(), config);
    Ok(())
}

fn write_tool(tool: &Tool, notes: &mut Notes) -> Value {
    let mut schema = tool.parameters.clone();
    if schema.get("type").is_none() {
        schema["type"] = "object".into();
    }
    let mut written = json!({ "name": tool.name, "inputSchema": { "json": schema } });
    let description = &tool.description["function"]["description"];
    if description.as_str().is_some_and(|text| !text.is_empty()) {
        written["description"] = description.clone();
    }
    let extras = tool.extras.as_ref().map(|(_, extras)| extras);
    let is_strict = tool.description["function"]["strict"] == true
        || extras.is_some_and(|extras| extras.get("strict") == Some(&Value::Bool(true)));
    if is_strict {
        written["strict"] = true.into();
    }
    for name in extras.into_iter().flat_map(Map::keys) {
        if !["strict", "parameters"].contains(&name.as_str()) {
            notes.warn(&format!("tools.{name}"));
        }
    }
    written
}

fn write_format(request: &GenerateRequest, body: &mut Map<String, Value>) -> Result<()> {
    match &request.rules.format {
        None => Ok(()),
        Some(AnswerFormat::JsonSchema(schema)) => {
            // The schema is a text here.
            let schema = json!({ "schema": schema.to_string(), "name": "answer" });
            let structure = json!({ "jsonSchema": schema });
            let format = json!({ "type": "json_schema", "structure": structure });
            body.insert("outputConfig".into(), json!({ "textFormat": format }));
            Ok(())
        }
        Some(_) => {
            let what = "holds an answer to a JSON schema only, not to JSON of any kind, a grammar \
                        or a list of texts";
            Err(cannot("response_format", what))
        }
    }
}

/// What only the model itself knows, beside the dialect.
fn additional(request: &GenerateRequest, model: &str, notes: &mut Notes) -> Map<String, Value> {
    let mut more = Map::new();
    if let Some(extras) = &request.extras {
        let is_own = extras.family == Family::Anthropic && is_claude(model);
        let all = extras.fields.iter().chain(extras.raw.iter().filter(|_| is_own));
        for (name, value) in all {
            match is_own && CLAUDE.contains(&name.as_str()) {
                true => {
                    more.insert(name.clone(), value.clone());
                }
                false => notes.warn(name),
            }
        }
        if !is_own {
            extras.inner.iter().for_each(|name| notes.warn(name));
        }
        let betas = extras.headers.iter().filter(|(name, _)| *name == "anthropic-beta");
        let betas: Vec<&str> = betas.flat_map(|(_, list)| list.split(',').map(str::trim)).collect();
        match is_own {
            _ if betas.is_empty() => {}
            true => {
                more.insert("anthropic_beta".into(), json!(betas));
            }
            false => notes.warn("anthropic-beta"),
        }
    }
    // The format stands in its own place.
    if let Some(Value::Object(config)) = more.get_mut("output_config") {
        config.remove("format");
        if config.is_empty() {
            more.remove("output_config");
        }
    }
    more
}

fn write_sampling(
    request: &GenerateRequest,
    model: &str,
    (body, more): (&mut Map<String, Value>, &mut Map<String, Value>),
    notes: &mut Notes,
) {
    let sampling = &request.sampling;
    let known: &[&str] =
        if is_claude(model) { &["temperature", "top_p", "top_k"] } else { &SAMPLING };
    notes.sampling(sampling, known);
    if request.logprobs.is_some() {
        notes.warn("logprobs");
    }
    if sampling.temperature.is_some_and(|temperature| temperature > 1.0) {
        notes.warn("temperature");
    }
    let mut drawn = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        drawn.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("max_tokens", request.max_tokens.map(Value::from));
    put("temperature", sampling.temperature.map(|value| number(value.min(1.0))));
    put("top_p", sampling.top_p.map(number));
    if is_claude(model) {
        put("top_k", sampling.top_k.map(Value::from));
    }
    if let Thinking::IfAble(effort) | Thinking::On(effort) = request.rules.thinking
        && !more.contains_key("thinking")
    {
        match is_claude(model) && claude::can_think(model) {
            true => {
                drawn.entry("max_tokens").or_insert(claude::DEFAULT_MAX_TOKENS.into());
                claude::think(effort, model, &mut drawn, notes);
            }
            false => notes.warn("reasoning_effort"),
        }
    }
    let mut config = Map::new();
    for (own, name) in
        [("max_tokens", "maxTokens"), ("temperature", "temperature"), ("top_p", "topP")]
    {
        config.extend(drawn.remove(own).map(|value| (name.to_owned(), value)));
    }
    if !request.stop.is_empty() {
        config.insert("stopSequences".into(), json!(request.stop));
    }
    if !config.is_empty() {
        body.insert("inferenceConfig".into(), config.into());
    }
    more.extend(drawn);
}
