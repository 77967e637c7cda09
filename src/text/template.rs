//! Runs a model's chat template in a sandbox.
//!
//! A template comes with the model and is as untrusted as any other part of it. It sees the values
//! of one render and pure functions: no files, no other templates, no environment. Its size, work,
//! output and recursion are bounded; one fuel of the engine pays for an instruction or 64 bytes, so
//! the same bound holds for its memory.

mod functions;

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;

use crate::error::{Error, Result};
use crate::message::ChatMessage;
use crate::tokenizer::{MAX_TEXT_BYTES, Tokenizer};

/// Longest template source; the longest in the wild have 30 KiB.
const MAX_SOURCE_BYTES: usize = 256 << 10;
/// Work for one render: as many instructions, or 64 times as many bytes copied.
const FUEL: u64 = 1_000_000;
/// Longest rendered text: the most that can be encoded.
const MAX_OUTPUT_BYTES: usize = MAX_TEXT_BYTES;
/// How deep macros may call each other.
const RECURSION: usize = 64;

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
        let mut environment = Environment::new();
        // Hugging Face renders with both.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(broken)?);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(RECURSION);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", functions::raise_exception);
        environment.add_function("strftime_now", functions::strftime_now);
        environment.add_filter("tojson", functions::tojson);
        environment.add_template_owned(NAME, source.to_string()).map_err(broken)?;
        Ok(ChatTemplate { environment })
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
        let template = self.environment.get_template(NAME).map_err(broken)?;
        let values = context! {
            messages => input.messages.iter().map(message_value).collect::<Value>(),
            add_generation_prompt => input.add_generation_prompt,
            bos_token => input.bos_token,
            eos_token => input.eos_token,
            tools => (),
            documents => (),
        };
        let mut output = BoundedText::default();
        match template.render_captured_to(values, &mut output) {
            Ok(_) => String::from_utf8(output.bytes)
                .map_err(|_| Error::TemplateRefused("its output is not UTF-8".into())),
            Err(_) if output.full => Err(Error::TemplateLimit),
            Err(problem) => Err(refused(&problem)),
        }
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
