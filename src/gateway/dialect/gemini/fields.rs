//! Finds members by either of their two spellings.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// A member by its name in `camelCase`, however it is written; null is none.
pub(super) fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let found = value.get(name).or_else(|| value.get(snake(name)))?;
    (!found.is_null()).then_some(found)
}

/// A text.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    member(value, name)?.as_str()
}

/// Members with names in `camelCase`; of two spellings the last counts.
pub(super) fn in_camel_case(members: Map<String, Value>) -> Map<String, Value> {
    members.into_iter().filter(|(_, v)| !v.is_null()).map(|(name, v)| (camel(&name), v)).collect()
}

pub(super) fn wrong(path: &str, what: &str) -> Error {
    Error::invalid(path, format!("Invalid value at '{path}': it must be {what}."))
}

/// A list, however long; absent is empty.
pub(super) fn list<'a>(path: &str, value: Option<&'a Value>) -> Result<&'a [Value]> {
    match value {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(wrong(path, "a list")),
    }
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn camel(name: &str) -> String {
    let mut words = name.split('_').filter(|word| !word.is_empty());
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}
