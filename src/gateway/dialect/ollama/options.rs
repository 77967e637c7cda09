//! Reads the map of `options`. A name that is not known is no error, as in Ollama; a wrong type is.

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::request::{MAX_STOP_BYTES, MAX_STOPS, Sampling};

/// Largest `top_k`; keeps every token.
const MAX_TOP_K: u32 = 1_000_000;
/// Most names that are told to be ignored, and the longest.
const MAX_IGNORED: usize = 16;
const MAX_IGNORED_BYTES: usize = 40;

/// How Ollama draws where neither request nor model says.
pub(super) fn fallback() -> Sampling {
    Sampling { temperature: Some(0.8), top_k: Some(40), top_p: Some(0.9), ..Sampling::default() }
}

/// What the options come to.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) sampling: Sampling,
    pub(super) max_tokens: Option<u32>,
    pub(super) limit_tokens: Option<u32>,
    pub(super) stop: Vec<String>,
    /// Names of those that change nothing.
    pub(super) ignored: Vec<String>,
    /// The same, with their values.
    pub(super) further: Map<String, Value>,
}

impl Options {
    pub(super) fn parse(value: Option<Value>) -> Result<Options> {
        let members = match value {
            None => return Ok(Options::default()),
            Some(Value::Object(members)) => members,
            Some(_) => return Err(Error::invalid("options", "options must be an object")),
        };
        let mut options = Options::default();
        for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            if !options.take(name, value)? && options.ignored.len() < MAX_IGNORED {
                options.ignored.extend(shown(name));
                options.further.insert(name.clone(), value.clone());
            }
        }
        Ok(options)
    }

    /// Whether the option means anything here.
    fn take(&mut self, name: &str, value: &Value) -> Result<bool> {
        let sampling = &mut self.sampling;
        match name {
            "num_ctx" => self.limit_tokens = Some(count(name, value, 4)?),
            "num_predict" => self.max_tokens = max_tokens(name, value)?,
            "stop" => self.stop = stops(name, value)?,
            "seed" => {
                let seed = whole(name, value)?;
                // −1 is any.
                sampling.seed = (seed != -1).then_some(seed.cast_unsigned());
            }
            "temperature" => sampling.temperature = Some(number(name, value, 0.0, 2.0)?),
            "top_p" => sampling.top_p = Some(number(name, value, 0.0, 1.0)?),
            "min_p" => sampling.min_p = Some(number(name, value, 0.0, 1.0)?),
            "repeat_penalty" => {
                sampling.repetition_penalty = Some(number(name, value, 0.01, 10.0)?);
            }
            "presence_penalty" => {
                sampling.presence_penalty = Some(number(name, value, -2.0, 2.0)?);
            }
            "frequency_penalty" => {
                sampling.frequency_penalty = Some(number(name, value, -2.0, 2.0)?);
            }
            "top_k" => {
                // 0 and below are how "off" is written.
                let top_k = whole(name, value)?;
                sampling.top_k = Some(match u32::try_from(top_k) {
                    Ok(0) | Err(_) => MAX_TOP_K,
                    Ok(top_k) => top_k.min(MAX_TOP_K),
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Options that a model carries with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelOptions {
    pub sampling: Sampling,
    pub max_tokens: Option<u32>,
    pub limit_tokens: Option<u32>,
    pub stop: Vec<String>,
}

impl ModelOptions {
    /// What these parameters come to; those that are wrong are left out, because nobody who asks
    /// the model could be told.
    pub fn of(parameters: &Map<String, Value>) -> ModelOptions {
        let mut options = Options::default();
        for (name, value) in parameters {
            let _ = options.take(name, value);
        }
        let Options { sampling, max_tokens, limit_tokens, stop, .. } = options;
        ModelOptions { sampling, max_tokens, limit_tokens, stop }
    }
}

/// Refuses parameters of a new model that are wrong; names the first.
pub fn check_parameters(parameters: &Map<String, Value>) -> Result<()> {
    let mut options = Options::default();
    parameters.iter().try_for_each(|(name, value)| options.take(name, value).map(drop))
}

/// A name that can stand in a header.
fn shown(name: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (name.len() <= MAX_IGNORED_BYTES && name.bytes().all(plain)).then(|| name.to_owned())
}

fn of_type(name: &str, kind: &str) -> Error {
    Error::invalid(name, format!("option {name:?} must be of type {kind}"))
}

/// A whole number; a fraction is cut off, as in Ollama.
fn whole(name: &str, value: &Value) -> Result<i64> {
    match (value.as_i64(), value.as_f64()) {
        (Some(number), _) => Ok(number),
        // Saturates.
        (None, Some(number)) => Ok(number as i64),
        (None, None) => Err(of_type(name, "integer")),
    }
}

fn count(name: &str, value: &Value, least: u32) -> Result<u32> {
    let number = whole(name, value)?;
    match u32::try_from(number) {
        Ok(number) if number >= least => Ok(number),
        _ => Err(Error::invalid(name, format!("option {name:?} must be at least {least}"))),
    }
}

/// −1 and −2 are as many as fit.
fn max_tokens(name: &str, value: &Value) -> Result<Option<u32>> {
    let number = whole(name, value)?;
    Ok((number >= 0).then(|| u32::try_from(number).unwrap_or(u32::MAX)))
}

fn number(name: &str, value: &Value, least: f32, most: f32) -> Result<f32> {
    let number = value.as_f64().ok_or_else(|| of_type(name, "float32"))? as f32;
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(Error::invalid(name, format!("option {name:?} must be from {least} to {most}")))
}

fn stops(name: &str, value: &Value) -> Result<Vec<String>> {
    let texts: Option<Vec<String>> = match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list.iter().map(|text| text.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    let Some(mut texts) = texts else {
        return Err(Error::invalid(
            name,
            format!("option {name:?} must be of an array of strings"),
        ));
    };
    texts.retain(|text| !text.is_empty());
    if texts.len() > MAX_STOPS || texts.iter().any(|text| text.len() > MAX_STOP_BYTES) {
        let message = format!(
            "option {name:?} may have at most {MAX_STOPS} texts of at most {MAX_STOP_BYTES} bytes"
        );
        return Err(Error::invalid(name, message));
    }
    Ok(texts)
}
