//! Calls in families that write them as marked text instead of JSON: they are read when the text
//! that ends them is there.

use serde_json::{Map, Value};

use super::format::CallSyntax;

/// Most calls and most arguments that one block is believed to have.
const MAX_PARTS: usize = 128;

/// The calls of a block: name and arguments, as JSON. `texts`: see [`super::AnswerFormat::texts`].
pub(super) fn read(
    syntax: CallSyntax,
    block: &str,
    texts: &[(String, String)],
) -> Vec<(String, String)> {
    let calls: Vec<(String, String)> = match syntax {
        CallSyntax::Tagged => parts(block, "<function=", "</function>")
            .filter_map(|part| tagged(part, texts))
            .collect(),
        CallSyntax::Keyed => keyed(block, texts).into_iter().collect(),
        CallSyntax::Deepseek => parts(block, "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>")
            .filter_map(fenced)
            .collect(),
        CallSyntax::Hermes | CallSyntax::Llama3 | CallSyntax::Mistral | CallSyntax::Phi => {
            Vec::new()
        }
    };
    calls.into_iter().filter(|(name, _)| is_name(name)).collect()
}

/// What stands between pairs of these marks; a last one may be open.
fn parts<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    let parts = text.split(open).skip(1).take(MAX_PARTS);
    parts.map(move |part| part.split_once(close).map_or(part, |(inside, _)| inside))
}

/// `NAME>` and `<parameter=KEY>VALUE</parameter>`s: qwen's models that write programs.
fn tagged(part: &str, texts: &[(String, String)]) -> Option<(String, String)> {
    let (name, rest) = part.split_once('>')?;
    let name = name.trim();
    let mut arguments = Map::new();
    for parameter in parts(rest, "<parameter=", "</parameter>") {
        let (key, value) = parameter.split_once('>')?;
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        arguments.insert(key.trim().to_owned(), typed((name, key.trim()), value, texts));
    }
    Some((name.to_owned(), Value::Object(arguments).to_string()))
}

/// `NAME` and pairs of `<arg_key>` and `<arg_value>`: the glm family.
fn keyed(block: &str, texts: &[(String, String)]) -> Option<(String, String)> {
    let name = block.split("<arg_key>").next()?.trim();
    let keys = parts(block, "<arg_key>", "</arg_key>");
    let values = parts(block, "<arg_value>", "</arg_value>");
    let arguments: Map<String, Value> = keys
        .zip(values)
        .map(|(key, value)| (key.trim().to_owned(), typed((name, key.trim()), value, texts)))
        .collect();
    Some((name.to_owned(), Value::Object(arguments).to_string()))
}

/// `NAME<｜tool▁sep｜>{…}`, or `function<｜tool▁sep｜>NAME` and JSON in a fence: the deepseek family.
fn fenced(part: &str) -> Option<(String, String)> {
    let (kind, rest) = part.split_once("<｜tool▁sep｜>")?;
    let start = rest.find('{')?;
    let before = rest[..start].trim();
    let name = match before.strip_suffix("```json") {
        Some(name) => name.trim(),
        None => kind.trim(),
    };
    let arguments = rest[start..].trim().trim_end_matches('`').trim();
    let is_object = matches!(serde_json::from_str(arguments), Ok(Value::Object(_)));
    is_object.then(|| (name.to_owned(), arguments.to_owned()))
}

/// An argument that is written as it is: what its tool says is a text is one, the rest is JSON
/// where it can be.
fn typed(place: (&str, &str), value: &str, texts: &[(String, String)]) -> Value {
    let text = || Value::String(value.to_owned());
    if texts.iter().any(|(tool, name)| (tool.as_str(), name.as_str()) == place) {
        return text();
    }
    match value.trim() {
        // Models speak Python.
        "True" => Value::Bool(true),
        "False" => Value::Bool(false),
        "None" => Value::Null,
        trimmed => serde_json::from_str(trimmed).unwrap_or_else(|_| text()),
    }
}

fn is_name(name: &str) -> bool {
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':');
    !name.is_empty() && name.len() <= 256 && name.chars().all(plain)
}
