//! Reads the fields of a JSON body by name, type and range, so that each error names its field.
//! Shared by the dialects; what a field means is each one's own.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::request::{Extras, Family};

/// Longest name of a model, in bytes; an error repeats it.
const MAX_MODEL_BYTES: usize = 256;

/// Most JSON values of one body: a prompt of token ids as long as the longest contexts fits.
const MAX_VALUES: usize = 1 << 18;

/// The members of a JSON object.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Parses a whole body. serde_json stops at 128 levels, so depth is bounded; the number of
    /// values is bounded here, because each takes many times the bytes that it is written in.
    pub(super) fn parse(body: &[u8]) -> Result<Fields> {
        if has_too_many_values(body) {
            let message = format!("The body has more than {MAX_VALUES} JSON values.");
            return Err(Error::Invalid { param: None, message });
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Fields(members)),
            Ok(_) => Err(Error::Invalid {
                param: None,
                message: "The body must be a JSON object.".to_owned(),
            }),
            Err(error) => Err(Error::Invalid {
                param: None,
                message: format!("The body is not valid JSON: {error}."),
            }),
        }
    }

    pub(super) fn of(members: Map<String, Value>) -> Fields {
        Fields(members)
    }

    pub(super) fn into_members(self) -> Map<String, Value> {
        self.0
    }

    /// A member that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0.get_mut(name)
    }

    /// Takes a member out; `None` if it is absent or null.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// What else was said: members that are not `known`; and of the known ones those of `raw`, as
    /// they were written.
    pub(super) fn extras(
        self,
        family: Family,
        known: &[&str],
        raw: &[&str],
    ) -> Option<Box<Extras>> {
        let (mut further, mut kept) = (Map::new(), Map::new());
        for (name, value) in self.0.into_iter().filter(|(_, value)| !value.is_null()) {
            if raw.contains(&name.as_str()) {
                kept.insert(name, value);
            } else if !known.contains(&name.as_str()) {
                further.insert(name, value);
            }
        }
        Extras::of(family, further, kept)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>> {
        self.get(name)
            .map(|value| value.as_str().ok_or_else(|| Error::invalid(name, must(name, "a string"))))
            .transpose()
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Error::invalid(name, must(name, "true or false"))),
        }
    }

    pub(super) fn number(&self, name: &str, range: RangeInclusive<f32>) -> Result<Option<f32>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().map(|number| number as f32);
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let what = format!("a number from {} to {}", range.start(), range.end());
                Err(Error::invalid(name, must(name, &what)))
            }
        }
    }

    pub(super) fn whole(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_i64().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let what = format!("a whole number from {} to {}", range.start(), range.end());
                Err(Error::invalid(name, must(name, &what)))
            }
        }
    }

    /// A whole number from `least` up that fits 32 bits.
    pub(super) fn count(&self, name: &str, least: u32) -> Result<Option<u32>> {
        let range = i64::from(least)..=i64::from(u32::MAX);
        Ok(self.whole(name, range)?.and_then(|number| u32::try_from(number).ok()))
    }

    /// The model's name, which every call needs.
    pub(super) fn model(&self) -> Result<String> {
        match self.text("model")? {
            Some(model) if model.len() > MAX_MODEL_BYTES => {
                let message = format!("'model' may have at most {MAX_MODEL_BYTES} bytes.");
                Err(Error::invalid("model", message))
            }
            Some(model) if !model.is_empty() => Ok(model.to_owned()),
            _ => Err(Error::invalid("model", "You must provide a 'model'.")),
        }
    }
}

/// Whether a body has more than [`MAX_VALUES`]: each but the first begins behind a comma, a colon
/// or an opening bracket. What is no JSON may be miscounted; the parser refuses it afterwards.
fn has_too_many_values(body: &[u8]) -> bool {
    let (mut values, mut in_text, mut escaped) = (0, false, false);
    for &byte in body {
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b',' | b':' | b'[' | b'{' => values += 1,
            _ => {}
        }
        if values > MAX_VALUES {
            return true;
        }
    }
    false
}

/// "'n' must be a whole number from 1 to 16."
pub(super) fn must(name: &str, what: &str) -> String {
    format!("'{name}' must be {what}.")
}
