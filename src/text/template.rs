//! Runs a model's chat template in a sandbox.
//!
//! Most templates are Jinja, which is run here; those in Go's notation are run by `go.rs`. A template comes with the model and is as untrusted as any other part of it. It sees the values
//! of one render and pure functions: no files, no other templates, no environment. Its size, work,
//! output and recursion are bounded; one fuel of the engine pays for an instruction or 64 bytes, so
//! the same bound holds for its memory.

mod abilities;
mod functions;
mod go;
mod python;

use std::io;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use jiff::Timestamp;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, Value, context};
use serde_json::{Map, Value as Json};

use crate::answer::{AnswerFormat, CallSyntax};
use crate::error::{Error, Result};
use crate::message::{ChatMessage, ToolCall};
use crate::tokenizer::{MAX_TEXT_BYTES, Tokenizer};
use go::GoTemplate;

pub use abilities::Abilities;

/// Longest template source; the longest in the wild have 30 KiB.
const MAX_SOURCE_BYTES: usize = 64 << 10;
/// Longest tag, without its strings. Parsing a chain such as `1~1~1…` takes quadratic time before fuel counts.
const MAX_TAG_BYTES: usize = 4 << 10;
/// Work for one render: as many instructions, or 64 times as many bytes copied. ChatML takes about
/// 20 for a message.
const FUEL: u64 = 100_000;
/// Bytes of messages that earn one fuel more: enough to copy each byte sixteen times.
const BYTES_PER_FUEL: usize = 4;
/// Fuel that each value in the descriptions of tools earns.
const FUEL_PER_TOOL_VALUE: u64 = 200;
/// Longest rendered text: the most that can be encoded.
const MAX_OUTPUT_BYTES: usize = MAX_TEXT_BYTES;
/// How deep macros may call each other.
const RECURSION: usize = 256;

/// Stack for parsing and rendering, which both follow a template's nesting by recursion and know no
/// bound for some of it (`----1`, lists in lists). 2 MiB overflow on what the tests write; 256 MiB
/// do not, in a debug build too. Pages that are not touched cost nothing.
const STACK_BYTES: usize = 256 << 20;
/// Longest time for one parse or render. Fuel does not count all work: joining a list to itself
/// sixty times is sixty instructions.
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// The name under which the one template of each environment is kept.
const NAME: &str = "chat";

/// For models that came without a template: `role: content` lines, then `assistant:`.
const PLAIN: &str = "{{ bos_token }}{% for message in messages %}\
{{ message.role }}: {{ message.content }}\n\
{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";

/// A parsed chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    engine: Engine,
    format: AnswerFormat,
    abilities: Abilities,
    /// Set for ever by the first render beyond [`TIME_LIMIT`]. Its thread cannot be ended, so there
    /// must not be a second one.
    is_runaway: AtomicBool,
}

#[derive(Debug)]
enum Engine {
    Jinja(Box<Environment<'static>>),
    Go(Arc<GoTemplate>),
}

/// What a template is given.
#[derive(Clone, Copy, Debug, Default)]
pub struct RenderInput<'a> {
    pub messages: &'a [ChatMessage],
    /// Descriptions of the tools that the assistant may call, as callers wrote them.
    pub tools: &'a [Json],
    /// What else the template may look at, such as `enable_thinking`.
    pub options: Option<&'a Map<String, Json>>,
    /// Ends with the words after which the assistant speaks.
    pub add_generation_prompt: bool,
    pub bos_token: &'a str,
    pub eos_token: &'a str,
    /// In which form the assistant's calls are given.
    pub style: CallStyle,
}

/// The forms in which templates expect an assistant's calls; the default is what Hugging Face
/// documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallStyle {
    /// The content beside calls is an empty text instead of none.
    pub empty_content: bool,
    /// Arguments are JSON as text instead of an object.
    pub text_arguments: bool,
}

impl CallStyle {
    /// All forms, in the order in which they are tried.
    pub(crate) const ALL: [CallStyle; 4] = [
        CallStyle { empty_content: true, text_arguments: false },
        CallStyle { empty_content: false, text_arguments: false },
        CallStyle { empty_content: true, text_arguments: true },
        CallStyle { empty_content: false, text_arguments: true },
    ];
}

impl ChatTemplate {
    /// Parses a template.
    pub fn new(source: &str) -> Result<ChatTemplate> {
        if source.len() > MAX_SOURCE_BYTES {
            let problem = format!("{} bytes, the limit is {MAX_SOURCE_BYTES}", source.len());
            return Err(Error::BrokenTemplate(problem));
        }
        check_tags(source)?;
        let (format, abilities) = (AnswerFormat::of_template(source), Abilities::of_jinja(source));
        let source = python::without_generation_tags(source);
        let environment = on_large_stack(move || environment(source))
            .unwrap_or_else(|_| Err(Error::BrokenTemplate("the parser failed on it".into())))?;
        let engine = Engine::Jinja(Box::new(environment));
        Ok(ChatTemplate { engine, format, abilities, is_runaway: AtomicBool::new(false) })
    }

    /// Parses a template in Go's notation, as Ollama's models and Modelfiles have it.
    pub fn new_go(source: &str) -> Result<ChatTemplate> {
        if source.len() > MAX_SOURCE_BYTES {
            let problem = format!("{} bytes, the limit is {MAX_SOURCE_BYTES}", source.len());
            return Err(Error::BrokenTemplate(problem));
        }
        let mut format = AnswerFormat::of_template(source);
        let source = source.to_owned();
        let template = on_large_stack(move || GoTemplate::parse(&source))
            .unwrap_or_else(|_| Err(Error::BrokenTemplate("the parser failed on it".into())))?;
        format.thoughts = format.thoughts.or(template.thoughts.clone());
        let abilities = Abilities {
            tools: template.names("tools"),
            tool_results: template.has_round_trip,
            thinking: format.thoughts.is_some(),
            infill: template.names("suffix"),
        };
        if abilities.tools && format.calls.is_none() {
            // Whatever else marks a call, the object behind it is what is looked for.
            format.calls = Some(CallSyntax::Llama3);
        }
        let engine = Engine::Go(Arc::new(template));
        Ok(ChatTemplate { engine, format, abilities, is_runaway: AtomicBool::new(false) })
    }

    /// How a model that is asked by this template answers.
    pub fn format(&self) -> &AnswerFormat {
        &self.format
    }

    /// What it has a place for.
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// Whether it is in Go's notation. Such a template leaves it to others to begin the prompt with
    /// the token that begins texts, and has to be told that a model is to think as it does.
    pub fn is_go(&self) -> bool {
        matches!(self.engine, Engine::Go(_))
    }

    /// The template that a model's maker wrote, or [`ChatTemplate::plain`] if there is none.
    pub fn from_tokenizer(tokenizer: &Tokenizer) -> Result<ChatTemplate> {
        match tokenizer.chat_template() {
            Some(source) => ChatTemplate::new(source),
            None => Ok(ChatTemplate::plain()),
        }
    }

    /// The default for models without a template: one line `role: content` for each message, then
    /// `assistant:` to be continued.
    pub fn plain() -> ChatTemplate {
        ChatTemplate::new(PLAIN).expect("the plain template is fixed and parses")
    }

    /// The text of a chat. Use [`crate::render_tokens`] for anything that goes to a model: in text,
    /// nobody can tell a control token from a user's words any more.
    pub fn render(&self, input: &RenderInput) -> Result<String> {
        self.render_at(input, Timestamp::now())
    }

    /// [`ChatTemplate::render`] at another time than now.
    fn render_at(&self, input: &RenderInput, now: Timestamp) -> Result<String> {
        let environment = match &self.engine {
            Engine::Jinja(environment) => environment,
            Engine::Go(template) => {
                let (template, runs) = (Arc::clone(template), template.chat(input));
                return self.within_limit(move || template.run(&runs, now));
            }
        };
        let words: usize = input.messages.iter().flat_map(ChatMessage::texts).map(str::len).sum();
        let tools = Value::from(Serde(input.tools));
        let tool_values = values_in(input.tools) * FUEL_PER_TOOL_VALUE;
        let mut environment = environment.clone();
        environment.set_fuel(Some(FUEL + (words / BYTES_PER_FUEL) as u64 + tool_values));
        environment
            .add_function("strftime_now", move |pattern: &str| functions::strftime(pattern, now));
        let message = |message| message_value(message, input.style);
        let options = input.options.map(|options| Value::from(Serde(options))).unwrap_or_default();
        let values = context! {
            messages => input.messages.iter().map(message).collect::<Value>(),
            add_generation_prompt => input.add_generation_prompt,
            bos_token => input.bos_token,
            eos_token => input.eos_token,
            tools => if input.tools.is_empty() { Value::from(()) } else { tools },
            documents => (),
            ..options
        };
        self.within_limit(move || render(&environment, &values))
    }

    /// The text for a gap between two texts; `None` if the template has no place for them.
    pub(crate) fn render_infill(&self, prompt: &str, suffix: &str) -> Option<Result<String>> {
        let Engine::Go(template) = &self.engine else { return None };
        if !self.abilities.infill {
            return None;
        }
        let (template, runs) = (Arc::clone(template), GoTemplate::infill(prompt, suffix));
        Some(self.within_limit(move || template.run(&runs, Timestamp::now())))
    }

    /// Runs a render, on a thread of its own.
    fn within_limit(
        &self,
        work: impl FnOnce() -> Result<String> + Send + 'static,
    ) -> Result<String> {
        if self.is_runaway.load(Relaxed) {
            return Err(Error::TemplateLimit);
        }
        match on_large_stack(work) {
            Ok(rendered) => rendered,
            Err(RecvTimeoutError::Timeout) => {
                self.is_runaway.store(true, Relaxed);
                Err(Error::TemplateLimit)
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Error::TemplateRefused("the template engine failed on them".into()))
            }
        }
    }
}

/// Renders the one template of this environment.
fn render(environment: &Environment<'static>, values: &Value) -> Result<String> {
    let template = environment.get_template(NAME).map_err(broken)?;
    let mut output = BoundedText::default();
    match template.render_captured_to(values, &mut output) {
        Ok(_) => String::from_utf8(output.bytes)
            .map_err(|_| Error::TemplateRefused("its output is not UTF-8".into())),
        Err(_) if output.full => Err(Error::TemplateLimit),
        Err(problem) => Err(refused(&problem)),
    }
}

/// An environment that holds one template and the functions it may call.
fn environment(source: String) -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    // Hugging Face renders with both.
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(broken)?);
    environment.set_recursion_limit(RECURSION);
    python::adapt(&mut environment);
    environment.add_function("raise_exception", functions::raise_exception);
    environment.add_filter("tojson", functions::tojson);
    environment.add_template_owned(NAME, source).map_err(broken)?;
    Ok(environment)
}

/// Refuses tags beyond [`MAX_TAG_BYTES`], and raw blocks, inside which tags cannot be told apart
/// without being the parser.
fn check_tags(source: &str) -> Result<()> {
    let mut rest = source;
    while let Some(start) = rest.find("{{").into_iter().chain(rest.find("{%")).min() {
        let tag = &rest[start..];
        let name = tag[2..].trim_start_matches(['-', '+']).trim_start();
        if tag.starts_with("{%") && name.starts_with("raw") {
            return Err(Error::BrokenTemplate("raw blocks are not supported".into()));
        }
        let (end, code_bytes) = tag_bytes(tag);
        if code_bytes > MAX_TAG_BYTES {
            return Err(Error::BrokenTemplate(format!("a tag is over {MAX_TAG_BYTES} bytes long")));
        }
        rest = &tag[end..];
    }
    Ok(())
}

/// Bytes of the tag that `tag` begins with, and those of them that are not inside its strings; ends
/// in its strings do not count.
fn tag_bytes(tag: &str) -> (usize, usize) {
    let bytes = tag.as_bytes();
    let mut quote = None;
    let (mut at, mut code_bytes) = (2, 2);
    while at < bytes.len() {
        code_bytes += usize::from(quote.is_none());
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, b'}' | b'%') if bytes.get(at + 1) == Some(&b'}') => {
                return (at + 2, code_bytes + 1);
            }
            _ => {}
        }
        at += 1;
    }
    (tag.len(), code_bytes)
}

/// Runs some work on a thread of its own with [`STACK_BYTES`], for [`TIME_LIMIT`] at most.
///
/// After a timeout the thread is left behind; `Disconnected` means that the work panicked.
pub(crate) fn on_large_stack<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::result::Result<T, RecvTimeoutError> {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("chat-template".into())
        .stack_size(STACK_BYTES)
        // The receiver is gone after a timeout; nobody waits for this result then.
        .spawn(move || drop(sender.send(work())));
    match thread {
        Ok(_) => receiver.recv_timeout(TIME_LIMIT),
        Err(_) => Err(RecvTimeoutError::Disconnected),
    }
}

/// A message as templates see it: what it has not is not there.
fn message_value(message: &ChatMessage, style: CallStyle) -> Value {
    let mut fields = vec![("role", Value::from(message.role.as_str()))];
    let content = match &message.content {
        None if style.empty_content => Value::from(""),
        content => content.as_deref().map_or(Value::from(()), Value::from),
    };
    fields.push(("content", content));
    let optional = [
        ("name", &message.name),
        ("reasoning_content", &message.reasoning),
        ("tool_call_id", &message.tool_call_id),
    ];
    for (key, text) in optional {
        fields.extend(text.as_ref().map(|text| (key, Value::from(text.as_str()))));
    }
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| call_value(call, style));
        fields.push(("tool_calls", calls.collect()));
    }
    Value::from_pairs(fields)
}

fn call_value(call: &ToolCall, style: CallStyle) -> Value {
    let text = || Value::from(call.arguments.as_str());
    let arguments = match serde_json::from_str::<Json>(&call.arguments) {
        Ok(arguments) if !style.text_arguments => Value::from(Serde(arguments)),
        _ => text(),
    };
    let name = Value::from(call.name.as_str());
    let function = Value::from_pairs([("name", name), ("arguments", arguments)]);
    Value::from_pairs([
        ("id", Value::from(call.id.as_str())),
        ("type", Value::from("function")),
        ("function", function),
    ])
}

/// How many values a list holds at all its depths.
fn values_in(list: &[Json]) -> u64 {
    let inside = |value: &Json| match value {
        Json::Array(list) => values_in(list),
        Json::Object(members) => {
            members.values().map(|value| values_in(slice::from_ref(value))).sum()
        }
        _ => 0,
    };
    list.iter().map(|value| 1 + inside(value)).sum()
}

/// Collects output up to the limit.
#[derive(Default)]
struct BoundedText {
    bytes: Vec<u8>,
    full: bool,
}

impl io::Write for BoundedText {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_OUTPUT_BYTES {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn broken(problem: minijinja::Error) -> Error {
    Error::BrokenTemplate(problem.to_string())
}

/// The error says where in the template it arose, and never repeats the messages.
fn refused(problem: &minijinja::Error) -> Error {
    if problem.kind() == ErrorKind::OutOfFuel {
        return Error::TemplateLimit;
    }
    Error::TemplateRefused(problem.to_string())
}

#[cfg(test)]
mod goldens;
#[cfg(test)]
mod tests;
