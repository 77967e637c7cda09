//! Runs a model's chat template in a sandbox.
//!
//! A template comes with the model and is as untrusted as any other part of it. It sees the values
//! of one render and pure functions: no files, no other templates, no environment. Its size, work,
//! output and recursion are bounded; one fuel of the engine pays for an instruction or 64 bytes, so
//! the same bound holds for its memory.

mod functions;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};

use crate::error::{Error, Result};
use crate::message::ChatMessage;
use crate::tokenizer::{MAX_TEXT_BYTES, Tokenizer};

/// Longest template source; the longest in the wild have 30 KiB.
const MAX_SOURCE_BYTES: usize = 64 << 10;
/// Longest tag. Parsing a chain such as `1~1~1…` takes quadratic time before fuel counts.
const MAX_TAG_BYTES: usize = 4 << 10;
/// Work for one render: as many instructions, or 64 times as many bytes copied. ChatML takes about
/// 20 for a message.
const FUEL: u64 = 100_000;
/// Bytes of messages that earn one fuel more: enough to copy each byte sixteen times.
const BYTES_PER_FUEL: usize = 4;
/// Longest rendered text: the most that can be encoded.
const MAX_OUTPUT_BYTES: usize = MAX_TEXT_BYTES;
/// How deep macros may call each other.
const RECURSION: usize = 64;

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
    environment: Environment<'static>,
    /// Set for ever by the first render beyond [`TIME_LIMIT`]. Its thread cannot be ended, so there
    /// must not be a second one.
    is_runaway: AtomicBool,
}

/// What a template is given.
#[derive(Clone, Copy, Debug)]
pub struct RenderInput<'a> {
    pub messages: &'a [ChatMessage],
    /// Ends with the words after which the assistant speaks.
    pub add_generation_prompt: bool,
    pub bos_token: &'a str,
    pub eos_token: &'a str,
}

impl ChatTemplate {
    /// Parses a template.
    pub fn new(source: &str) -> Result<ChatTemplate> {
        if source.len() > MAX_SOURCE_BYTES {
            let problem = format!("{} bytes, the limit is {MAX_SOURCE_BYTES}", source.len());
            return Err(Error::BrokenTemplate(problem));
        }
        check_tags(source)?;
        let source = source.to_owned();
        let environment = on_large_stack(move || environment(source))
            .unwrap_or_else(|_| Err(Error::BrokenTemplate("the parser failed on it".into())))?;
        Ok(ChatTemplate { environment, is_runaway: AtomicBool::new(false) })
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
        if self.is_runaway.load(Relaxed) {
            return Err(Error::TemplateLimit);
        }
        let bytes: usize = input.messages.iter().map(|message| message.content.len()).sum();
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(FUEL + (bytes / BYTES_PER_FUEL) as u64));
        let values = context! {
            messages => input.messages.iter().map(message_value).collect::<Value>(),
            add_generation_prompt => input.add_generation_prompt,
            bos_token => input.bos_token,
            eos_token => input.eos_token,
            tools => (),
            documents => (),
        };
        match on_large_stack(move || render(&environment, &values)) {
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
    environment.set_unknown_method_callback(functions::python_method);
    environment.add_function("raise_exception", functions::raise_exception);
    environment.add_function("strftime_now", functions::strftime_now);
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
        let end = tag_bytes(tag);
        if end > MAX_TAG_BYTES {
            return Err(Error::BrokenTemplate(format!("a tag is over {MAX_TAG_BYTES} bytes long")));
        }
        rest = &tag[end..];
    }
    Ok(())
}

/// Bytes of the tag that `tag` begins with; ends in its strings do not count.
fn tag_bytes(tag: &str) -> usize {
    let bytes = tag.as_bytes();
    let mut quote = None;
    let mut at = 2;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, b'}' | b'%') if bytes.get(at + 1) == Some(&b'}') => return at + 2,
            _ => {}
        }
        at += 1;
    }
    tag.len()
}

/// Runs some work on a thread of its own with [`STACK_BYTES`], for [`TIME_LIMIT`] at most.
///
/// After a timeout the thread is left behind; `Disconnected` means that the work panicked.
fn on_large_stack<T: Send + 'static>(
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

/// A message as templates see it: a name is there only when there is one.
fn message_value(message: &ChatMessage) -> Value {
    let fields = [("role", &message.role), ("content", &message.content)];
    let name = message.name.as_ref().map(|name| ("name", name));
    Value::from_pairs(fields.into_iter().chain(name).map(|(key, text)| (key, text.as_str())))
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
mod tests;
