//! Where Jinja in Python differs from the engine here, and templates count on Python's ways.

use std::fmt::Write;

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};

/// Gives an environment Python's ways.
pub(super) fn adapt(environment: &mut Environment<'static>) {
    environment.set_formatter(write_value);
    environment.set_unknown_method_callback(method);
    // In Python `None` cannot be iterated over, and texts, dictionaries and what is undefined are
    // sequences.
    environment.add_test("iterable", |value: &Value| is_collection(value));
    environment.add_test("sequence", |value: &Value| is_collection(value));
}

/// The blocks that mark what the assistant says change nothing in a prompt: they become blocks of
/// the same length that the engine knows.
pub(super) fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(end) = rest[start..].find("%}") else { break };
        let tag = &rest[start..start + end + 2];
        let word = tag[2..tag.len() - 2].trim_matches(['-', '+']).trim();
        text.push_str(&rest[..start]);
        match word {
            "generation" => text.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => text.push_str(&tag.replace("endgeneration", "endif")),
            _ => text.push_str(tag),
        }
        rest = &rest[start + end + 2..];
    }
    text.push_str(rest);
    text
}

fn is_collection(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Seq
            | ValueKind::Map
            | ValueKind::Iterable
            | ValueKind::String
            | ValueKind::Undefined
    )
}

fn write_value(output: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None | ValueKind::Seq | ValueKind::Map => {
            write_repr(output, value).map_err(Error::from)
        }
        _ => minijinja::escape_formatter(output, state, value),
    }
}

/// A value as Python's `repr` writes it.
fn write_repr(output: &mut Output, value: &Value) -> std::fmt::Result {
    let items = || value.try_iter().map_err(|_| std::fmt::Error);
    match value.kind() {
        ValueKind::None => output.write_str("None"),
        ValueKind::String => write_text(output, value.as_str().unwrap_or_default()),
        ValueKind::Seq => {
            output.write_char('[')?;
            for (at, item) in items()?.enumerate() {
                output.write_str(if at > 0 { ", " } else { "" })?;
                write_repr(output, &item)?;
            }
            output.write_char(']')
        }
        ValueKind::Map => {
            output.write_char('{')?;
            for (at, key) in items()?.enumerate() {
                output.write_str(if at > 0 { ", " } else { "" })?;
                write_repr(output, &key)?;
                output.write_str(": ")?;
                write_repr(output, &value.get_item(&key).unwrap_or_default())?;
            }
            output.write_char('}')
        }
        _ => write!(output, "{value}"),
    }
}

/// A text in the quotes that Python would take.
fn write_text(output: &mut Output, text: &str) -> std::fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    output.write_char(quote)?;
    for letter in text.chars() {
        match letter {
            '\n' => output.write_str("\\n")?,
            '\r' => output.write_str("\\r")?,
            '\t' => output.write_str("\\t")?,
            '\\' => output.write_str("\\\\")?,
            letter if letter == quote => write!(output, "\\{letter}")?,
            letter if letter.is_control() => write!(output, "\\x{:02x}", u32::from(letter))?,
            letter => output.write_char(letter)?,
        }
    }
    output.write_char(quote)
}

/// Python's methods of texts, lists and dictionaries.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match (name, value.as_str()) {
        ("format", Some(pattern)) => format(state, pattern, args),
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args),
    }
}

/// `str.format` with plain fields alone: `{}`, `{0}` and `{name}`. What pads could pad to any width.
fn format(state: &State, pattern: &str, args: &[Value]) -> Result<Value, Error> {
    let wrong = || Error::new(ErrorKind::InvalidOperation, "this pattern of format is not known");
    let (Rest(positional), named): (Rest<Value>, Kwargs) = minijinja::value::from_args(args)?;
    let mut text = String::new();
    let mut next = 0;
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            text.push_str(brace);
            rest = after;
            continue;
        }
        let end = rest.find('}').filter(|_| brace == "{").ok_or_else(wrong)?;
        let field = &rest[..end];
        let value = match field {
            "" => {
                next += 1;
                positional.get(next - 1).cloned()
            }
            field => match field.parse::<usize>() {
                Ok(at) => positional.get(at).cloned(),
                Err(_) => named.get::<Option<Value>>(field)?,
            },
        };
        let value = value.ok_or_else(wrong)?.to_string();
        state.consume_fuel(value.len() as u64 / 16)?;
        text.push_str(&value);
        rest = &rest[end + 1..];
    }
    text.push_str(rest);
    Ok(Value::from(text))
}
