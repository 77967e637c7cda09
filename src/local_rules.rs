//! What a request's rules mean for one model: its prompt, its grammar, how its answer is read.

use std::sync::Arc;

use hearth_engine::Model;
use hearth_gateway::error::{Feature, sentence};
use hearth_gateway::request::{
    self, AnswerRules, GenerateRequest, Input, Message, Overflow, Role, ToolChoice, Tools, Window,
};
use hearth_gateway::{Error, Result};
use hearth_text::{
    AnswerFormat, AnswerStart, CallGrammar, Chat, ChatMessage, ChatTemplate, Grammar, GrammarBody,
    GrammarSource, Prompt, Specials, Thinking, ToolCall, infill_tokens,
};
use serde_json::{Map, Value};

use crate::local_window::{Fitted, Room};

/// A request as one model takes it.
pub(crate) struct Plan {
    pub(crate) prompt: Vec<u32>,
    /// Tokens of the prompt that were left out because it did not fit.
    pub(crate) dropped_tokens: u32,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) grammar: Option<Box<Grammar>>,
    /// Control tokens that mark parts of the answer.
    pub(crate) marks: Arc<[u32]>,
    /// How the answer is told apart; `None` when all of it is text.
    pub(crate) reading: Option<(AnswerFormat, AnswerStart)>,
}

impl Plan {
    /// Plans a request; takes a while, for a new grammar up to seconds.
    pub(crate) fn new(
        model: &Model,
        template: &ChatTemplate,
        request: &GenerateRequest,
    ) -> Result<Plan> {
        match &request.input {
            Input::Tokens(ids) => Plan::of_text(model, request, ids.clone(), &request.window),
            Input::Text(text) => {
                let ids = model.tokenizer().encode_prompt(text, Specials::AsText);
                Plan::of_text(model, request, ids.map_err(wrong)?, &request.window)
            }
            Input::Infill { prompt, suffix } => {
                let tokens = infill_tokens(template, model.tokenizer(), prompt, suffix);
                let tokens = tokens.map_err(wrong)?.ok_or_else(|| cannot_fill(&request.model))?;
                // Both texts count, so that nothing of them is left out.
                let window = Window { overflow: Overflow::Refuse, ..request.window.clone() };
                Plan::of_text(model, request, tokens, &window)
            }
            Input::Chat(messages) => Plan::of_chat(model, template, request, messages),
        }
    }

    fn of_text(
        model: &Model,
        request: &GenerateRequest,
        prompt: Vec<u32>,
        window: &Window,
    ) -> Result<Plan> {
        let grammar = grammar(model, body(request, None), Thinking::Never)?;
        let room = Room::of(model, request);
        let fitted = room.fit_text(model, prompt, window)?;
        let max_tokens = room.max_tokens(&fitted.prompt);
        let Fitted { prompt, dropped_tokens } = fitted;
        let marks = Arc::default();
        Ok(Plan { prompt, dropped_tokens, max_tokens, grammar, marks, reading: None })
    }

    fn of_chat(
        model: &Model,
        template: &ChatTemplate,
        request: &GenerateRequest,
        messages: &[Message],
    ) -> Result<Plan> {
        let mut format = template.format().clone();
        let tools = callable(&request.rules);
        if tools.is_some() {
            check_tools(&request.model, template)?;
        }
        format.texts = tools.map(text_arguments).unwrap_or_default();
        let options = template_options(&request.rules, &request.model, template)?;
        let room = Room::of(model, request);
        let (fitted, ending) = room.fit_chat(model, messages, &request.window, |messages| {
            render(model, template, (&options, tools), messages)
        })?;
        let in_thoughts = format.is_in_thoughts(&ending);
        let body = body(request, tools);
        let thinking = match &format.thoughts {
            // Nobody wants any; only the prompt itself can have begun them.
            Some(_) if request.rules.thinking == request::Thinking::Off && !in_thoughts => {
                Thinking::Never
            }
            Some(thoughts) if body.is_some() => thinking(model, thoughts, in_thoughts)?,
            _ => Thinking::Never,
        };
        let marks =
            format.markers().filter_map(|text| model.tokenizer().control_id(text)).collect();
        let start = AnswerStart {
            in_thoughts,
            has_tools: tools.is_some(),
            only_calls: matches!(body, Some(GrammarBody::Calls(_))),
            one_call: tools.is_some_and(is_single),
        };
        let is_plain = format.thoughts.is_none() && tools.is_none();
        Ok(Plan {
            max_tokens: room.max_tokens(&fitted.prompt),
            prompt: fitted.prompt,
            dropped_tokens: fitted.dropped_tokens,
            grammar: grammar(model, body, thinking)?,
            marks,
            reading: (!is_plain).then_some((format, start)),
        })
    }
}

fn cannot_fill(model: &str) -> Error {
    let message = format!("The model `{model}` does not fill gaps; leave out 'suffix'.");
    Error::Unsupported { model: model.to_owned(), feature: Feature::Insert, message }
}

/// Refuses tools that the model could not be told of, or whose calls nobody could read.
fn check_tools(model: &str, template: &ChatTemplate) -> Result<()> {
    let problem = if !template.abilities().tools {
        "takes no tools: its chat template has no place for them"
    } else if template.format().calls.is_none() {
        "calls tools in a way that this version of Hearth cannot read"
    } else {
        return Ok(());
    };
    let message = format!("The model `{model}` {problem}.");
    Err(Error::Unsupported { model: model.to_owned(), feature: Feature::Tools, message })
}

/// The arguments that tools say are texts: tool and argument.
fn text_arguments(tools: &Tools) -> Vec<(String, String)> {
    let of = |tool: &request::Tool| {
        let properties = tool.parameters["properties"].as_object().cloned().unwrap_or_default();
        let texts = properties.into_iter().filter(|(_, schema)| schema["type"] == "string");
        let name = tool.name.clone();
        texts.map(move |(argument, _)| (name.clone(), argument)).collect::<Vec<_>>()
    };
    tools.list.iter().flat_map(of).collect()
}

/// What the chat template may look at, with what the request wishes of thoughts.
fn template_options(
    rules: &AnswerRules,
    model: &str,
    template: &ChatTemplate,
) -> Result<Map<String, Value>> {
    let format = template.format();
    let mut options = rules.template_options.clone();
    let mut set = |thinks: bool| {
        // Families differ in the name.
        for name in ["enable_thinking", "thinking"] {
            options.entry(name).or_insert(thinks.into());
        }
    };
    match rules.thinking {
        // Ollama's templates are told what Jinja's take for granted.
        request::Thinking::AsModel if template.is_go() && format.thoughts.is_some() => set(true),
        request::Thinking::AsModel => {}
        request::Thinking::Off => set(false),
        request::Thinking::IfAble(_) if format.thoughts.is_none() => {}
        request::Thinking::On(_) if format.thoughts.is_none() => {
            let message = format!("The model `{model}` does not think before it answers.");
            let (model, feature) = (model.to_owned(), Feature::Thinking);
            return Err(Error::Unsupported { model, feature, message });
        }
        request::Thinking::IfAble(effort) | request::Thinking::On(effort) => {
            set(true);
            if let Some(effort) = effort {
                options.entry("reasoning_effort").or_insert(effort.name().into());
            }
        }
    }
    Ok(options)
}

/// The whole prompt as text, nothing left out.
pub(crate) fn rendered(
    model: &Model,
    template: &ChatTemplate,
    request: &GenerateRequest,
) -> Result<String> {
    let ids = match &request.input {
        Input::Text(text) => return Ok(text.clone()),
        Input::Chat(messages) => {
            let tools = callable(&request.rules);
            if tools.is_some() {
                check_tools(&request.model, template)?;
            }
            let options = template_options(&request.rules, &request.model, template)?;
            return Ok(render(model, template, (&options, tools), messages)?.text);
        }
        Input::Tokens(ids) => ids.clone(),
        Input::Infill { prompt, suffix } => {
            let tokens = infill_tokens(template, model.tokenizer(), prompt, suffix);
            tokens.map_err(wrong)?.ok_or_else(|| cannot_fill(&request.model))?
        }
    };
    let bytes = ids.iter().flat_map(|&id| model.tokenizer().token_bytes(id));
    let bytes: Vec<u8> = bytes.copied().collect();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The tools that an answer may call.
fn callable(rules: &AnswerRules) -> Option<&Tools> {
    rules.tools.as_ref().filter(|tools| tools.choice != ToolChoice::None)
}

fn render(
    model: &Model,
    template: &ChatTemplate,
    (options, tools): (&Map<String, Value>, Option<&Tools>),
    messages: &[Message],
) -> Result<Prompt> {
    let messages: Vec<ChatMessage> = messages.iter().map(chat_message).collect();
    let list = tools.map_or(&[][..], |tools| tools.list.as_slice());
    let tools: Vec<Value> = list.iter().map(|tool| tool.description.clone()).collect();
    let chat = Chat {
        messages: &messages,
        tools: &tools,
        options: Some(options),
        add_generation_prompt: true,
    };
    hearth_text::render_tokens(template, model.tokenizer(), &chat).map_err(wrong)
}

fn chat_message(message: &Message) -> ChatMessage {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let call = |call: &request::ToolCall| ToolCall {
        id: call.id.clone(),
        name: call.name.clone(),
        arguments: call.arguments.clone(),
    };
    ChatMessage {
        role: role.to_owned(),
        content: message.texts().next().is_some().then(|| message.joined_text()),
        name: message.name.clone(),
        reasoning: message.reasoning(),
        tool_calls: message.calls().map(call).collect(),
        tool_call_id: message.call_id.clone(),
    }
}

/// What the answer is held to; free text and calls as the model likes have no grammar.
fn body(request: &GenerateRequest, tools: Option<&Tools>) -> Option<GrammarBody> {
    if let Some(tools) = tools {
        let list = tools.list.iter().filter(|tool| match &tools.choice {
            ToolChoice::Named(name) => tool.name == *name,
            ToolChoice::Required => true,
            ToolChoice::Auto | ToolChoice::None => false,
        });
        let tools_given = list.map(|tool| (tool.name.clone(), tool.parameters.clone()));
        let call = CallGrammar { tools: tools_given.collect(), is_list: !is_single(tools) };
        return (!call.tools.is_empty()).then_some(GrammarBody::Calls(call));
    }
    Some(match request.rules.format.clone()? {
        request::AnswerFormat::JsonObject => GrammarBody::JsonObject,
        request::AnswerFormat::JsonSchema(schema) => GrammarBody::JsonSchema(schema),
        request::AnswerFormat::Regex(text) => GrammarBody::Regex(text),
        request::AnswerFormat::Lark(text) => GrammarBody::Lark(text),
        request::AnswerFormat::Choice(texts) => GrammarBody::Choice(texts),
    })
}

/// Whether one call is all that is wanted.
fn is_single(tools: &Tools) -> bool {
    !tools.is_parallel || matches!(tools.choice, ToolChoice::Named(_))
}

/// Which thoughts a grammar lets come first.
fn thinking(model: &Model, thoughts: &(String, String), is_begun: bool) -> Result<Thinking> {
    let (open, close) = thoughts.clone();
    let has_text = |text: &str| model.tokenizer().control_id(text).is_none();
    match (is_begun, has_text(&open) && has_text(&close)) {
        (true, true) => Ok(Thinking::Begun { close }),
        (false, true) => Ok(Thinking::Optional { open, close }),
        (false, false) => Ok(Thinking::Never),
        (true, false) => {
            let message = "This model always thinks first, in a way that no grammar can hold; \
                           leave out the format of the answer.";
            Err(Error::Invalid { param: None, message: message.to_owned() })
        }
    }
}

fn grammar(
    model: &Model,
    body: Option<GrammarBody>,
    thinking: Thinking,
) -> Result<Option<Box<Grammar>>> {
    let Some(body) = body else { return Ok(None) };
    let grammar = model.tokenizer().grammar(&GrammarSource { body, thinking }).map_err(wrong)?;
    Ok(Some(Box::new(grammar)))
}

pub(crate) fn wrong(error: hearth_text::Error) -> Error {
    Error::Invalid { param: None, message: sentence(&error) }
}
