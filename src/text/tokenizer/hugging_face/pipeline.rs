//! The normalisers and pre-tokenizers of a `tokenizer.json`, looked through before the library gets
//! them.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Parses one of the library's parts; `null` is none.
pub(super) fn part<T: for<'de> Deserialize<'de>>(value: Value, what: &str) -> Result<Option<T>> {
    serde_json::from_value(value)
        .map_err(|problem| Error::BrokenTokenizer(format!("the {what}: {problem}")))
}

/// Calls `visit` on a part and all parts inside it.
pub(super) fn walk<'a>(part: &'a Value, visit: &mut impl FnMut(&'a str, &'a Map<String, Value>)) {
    let Some(object) = part.as_object() else { return };
    if let Some(kind) = object.get("type").and_then(Value::as_str) {
        visit(kind, object);
    }
    for list in ["normalizers", "pretokenizers", "processors", "decoders"] {
        for inner in object.get(list).and_then(Value::as_array).into_iter().flatten() {
            walk(inner, visit);
        }
    }
}

pub(super) fn check_types(part: &Value, known: &[&str], what: &str) -> Result<()> {
    let mut stranger = None;
    let typed = part.is_null() || part.get("type").is_some_and(Value::is_string);
    walk(part, &mut |kind, _| {
        if !known.contains(&kind) {
            stranger = Some(kind);
        }
    });
    match stranger {
        Some(kind) => {
            let kind = kind.escape_debug();
            Err(Error::Unsupported(format!("the {what} `{kind}` is not supported")))
        }
        None if !typed => Err(Error::BrokenTokenizer(format!("the {what} has no type"))),
        None => Ok(()),
    }
}

pub(super) fn mentions(part: &Value, wanted: &str) -> bool {
    find_type(part, wanted).is_some()
}

pub(super) fn find_type<'a>(part: &'a Value, wanted: &str) -> Option<&'a Value> {
    if part.get("type").and_then(Value::as_str) == Some(wanted) {
        return Some(part);
    }
    ["normalizers", "pretokenizers", "processors", "decoders"]
        .iter()
        .filter_map(|list| part.get(list)?.as_array())
        .flatten()
        .find_map(|inner| find_type(inner, wanted))
}

/// Whether a space is put before the first word.
pub(super) fn marks_first_word(pre_tokenizer: &Value) -> bool {
    let metaspace = find_type(pre_tokenizer, "Metaspace");
    metaspace.is_some_and(|part| part["prepend_scheme"] != "never")
}

/// How much longer the replacements of a normaliser can make a text, at most.
pub(super) fn expansion(normalizer: &Value) -> usize {
    let mut factor = 1usize;
    walk(normalizer, &mut |kind, object| {
        if kind == "Replace" || kind == "Prepend" {
            let text = object.get("content").or(object.get("prepend")).and_then(Value::as_str);
            let bytes = text.map_or(1, |text| text.chars().count().max(1));
            factor = factor.saturating_mul(bytes);
        }
    });
    factor
}

/// The pre-tokenizer for pieces that do not begin the text, if it differs: a Metaspace of scheme
/// `first` puts its space before the first piece only.
pub(super) fn after_first(pre_tokenizer: &Value) -> Option<Value> {
    let first = find_type(pre_tokenizer, "Metaspace")?;
    if first["prepend_scheme"] != "first" {
        return None;
    }
    let mut later = pre_tokenizer.clone();
    silence(&mut later);
    Some(later)
}

fn silence(part: &mut Value) {
    if part["type"] == "Metaspace" {
        part["prepend_scheme"] = Value::from("never");
    }
    for inner in part.get_mut("pretokenizers").and_then(Value::as_array_mut).into_iter().flatten() {
        silence(inner);
    }
}
