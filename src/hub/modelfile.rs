//! Reads Modelfiles: the recipe of a model, in Ollama's notation.
//!
//! A line begins with a command; its value goes to the end of the line, or, in quotes, to the line
//! that ends with the same quotes. What the values name is the caller's to find.

use std::fmt;

use serde_json::{Map, Number, Value};

use crate::library::ProfileMessage;

/// Longest Modelfile, in bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// Most values of one `PARAMETER`, and most commands.
const MAX_COMMANDS: usize = 1024;

/// What a Modelfile says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Modelfile {
    /// A model's name, or the path of a file or folder.
    pub from: String,
    pub adapters: Vec<String>,
    pub template: Option<String>,
    pub system: Option<String>,
    pub parameters: Map<String, Value>,
    pub licenses: Vec<String>,
    pub messages: Vec<ProfileMessage>,
    /// Commands that are understood and have no meaning here.
    pub ignored: Vec<&'static str>,
}

/// What is wrong with a Modelfile, and in which line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ModelfileError {
    pub line: usize,
    pub problem: String,
}

/// How a parameter's values are written.
#[derive(Clone, Copy)]
enum Kind {
    Integer,
    Float,
    Bool,
    Texts,
}

/// Ollama's parameters; those of older versions of it have no effect, there and here.
const PARAMETERS: [(&str, Kind); 34] = [
    ("num_ctx", Kind::Integer),
    ("num_predict", Kind::Integer),
    ("temperature", Kind::Float),
    ("top_k", Kind::Integer),
    ("top_p", Kind::Float),
    ("min_p", Kind::Float),
    ("typical_p", Kind::Float),
    ("seed", Kind::Integer),
    ("stop", Kind::Texts),
    ("repeat_penalty", Kind::Float),
    ("repeat_last_n", Kind::Integer),
    ("presence_penalty", Kind::Float),
    ("frequency_penalty", Kind::Float),
    ("num_keep", Kind::Integer),
    ("num_batch", Kind::Integer),
    ("num_gpu", Kind::Integer),
    ("main_gpu", Kind::Integer),
    ("num_thread", Kind::Integer),
    ("use_mmap", Kind::Bool),
    ("draft_num_predict", Kind::Integer),
    ("numa", Kind::Bool),
    ("low_vram", Kind::Bool),
    ("f16_kv", Kind::Bool),
    ("logits_all", Kind::Bool),
    ("vocab_only", Kind::Bool),
    ("use_mlock", Kind::Bool),
    ("embedding_only", Kind::Bool),
    ("penalize_newline", Kind::Bool),
    ("tfs_z", Kind::Float),
    ("mirostat", Kind::Integer),
    ("mirostat_tau", Kind::Float),
    ("mirostat_eta", Kind::Float),
    ("num_gqa", Kind::Integer),
    ("rope_frequency_base", Kind::Float),
];

const COMMANDS: &str = "\"from\", \"license\", \"template\", \"system\", \"adapter\", \
    \"renderer\", \"parser\", \"parameter\", \"message\", \"requires\", or \"draft\"";

impl Modelfile {
    /// Reads a Modelfile.
    pub fn parse(text: &str) -> Result<Modelfile, ModelfileError> {
        let wrong = |line: usize, problem: String| ModelfileError { line, problem };
        if text.len() > MAX_BYTES {
            return Err(wrong(1, format!("the file is longer than {MAX_BYTES} bytes")));
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut modelfile = Modelfile::default();
        let mut lines = text.split('\n').enumerate();
        let mut commands = 0;
        while let Some((at, line)) = lines.next() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            commands += 1;
            if commands > MAX_COMMANDS {
                return Err(wrong(at + 1, format!("more than {MAX_COMMANDS} commands")));
            }
            let (command, rest) = word(line);
            let command = command.to_ascii_lowercase();
            let (name, rest) = match command.as_str() {
                "parameter" | "message" => word(rest),
                _ => ("", rest),
            };
            let more = lines.by_ref().map(|(_, line)| line);
            let value = value(rest, more).ok_or_else(|| wrong(at + 1, "unexpected EOF".into()))?;
            modelfile.take(&command, name, value).map_err(|problem| wrong(at + 1, problem))?;
        }
        if modelfile.from.is_empty() {
            return Err(wrong(1, "no FROM line".to_owned()));
        }
        Ok(modelfile)
    }

    fn take(&mut self, command: &str, name: &str, value: String) -> Result<(), String> {
        if !COMMANDS.contains(&format!("\"{command}\"")) {
            return Err(format!("command must be one of {COMMANDS}"));
        }
        if value.is_empty() && !matches!(command, "template" | "system" | "message") {
            return Err(format!("{} needs a value", command.to_ascii_uppercase()));
        }
        match command {
            "from" if !self.from.is_empty() => {
                return Err("more than one FROM line is not supported".to_owned());
            }
            "from" => self.from = value,
            "adapter" => self.adapters.push(value),
            "template" => self.template = Some(value),
            "system" => self.system = Some(value),
            "license" => self.licenses.push(value),
            "message" => {
                let role = name.to_ascii_lowercase();
                if !["system", "user", "assistant"].contains(&role.as_str()) {
                    let problem = "message role must be one of \"system\", \"user\", or \
                                   \"assistant\"";
                    return Err(problem.to_owned());
                }
                self.messages.push(ProfileMessage { role, content: value });
            }
            "parameter" => self.parameter(&name.to_ascii_lowercase(), value)?,
            "renderer" => self.ignored.push("RENDERER"),
            "parser" => self.ignored.push("PARSER"),
            "requires" => self.ignored.push("REQUIRES"),
            _ => self.ignored.push("DRAFT"),
        }
        Ok(())
    }

    fn parameter(&mut self, name: &str, value: String) -> Result<(), String> {
        let Some((_, kind)) = PARAMETERS.iter().find(|(known, _)| *known == name) else {
            return Err(format!("unknown parameter '{}'", name.escape_debug()));
        };
        let of_type = |kind: &str| format!("invalid {kind} value for parameter '{name}'");
        let value = match kind {
            Kind::Integer => Value::from(value.parse::<i64>().map_err(|_| of_type("int"))?),
            Kind::Float => {
                let number = value.parse::<f64>().ok().and_then(Number::from_f64);
                let whole = value.parse::<i64>().ok().map(Number::from);
                Value::Number(whole.or(number).ok_or_else(|| of_type("float"))?)
            }
            Kind::Bool => Value::Bool(value.parse().map_err(|_| of_type("bool"))?),
            Kind::Texts => {
                let texts = self.parameters.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(texts) = texts else { return Ok(()) };
                texts.push(Value::String(value));
                return Ok(());
            }
        };
        self.parameters.insert(name.to_owned(), value);
        Ok(())
    }
}

/// The first word and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

/// A value that begins here; `None` if its quotes are open at the end of the file.
fn value<'a>(rest: &'a str, mut more: impl Iterator<Item = &'a str>) -> Option<String> {
    let first = rest.trim_start();
    let quotes = ["\"\"\"", "\""].into_iter().find(|quotes| first.starts_with(quotes));
    let Some(quotes) = quotes else { return Some(rest.trim().to_owned()) };
    let mut whole = first.to_owned();
    loop {
        let inside = whole[quotes.len()..].trim_end().strip_suffix(quotes);
        if let Some(inside) = inside {
            return Some(inside.to_owned());
        }
        whole.push('\n');
        whole.push_str(more.next()?);
    }
}

/// A value as it can be written behind a command.
pub fn quoted(value: &str) -> impl fmt::Display {
    let quotes = if value.contains(['"', '\n']) { "\"\"\"" } else { "\"" };
    format!("{quotes}{value}{quotes}")
}

#[cfg(test)]
mod tests;
