//! Reads the fields of a JSON body by name, type and range, so that each error names its field.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::Tier;
use crate::error::{Error, Result};
use crate::request::{MAX_CHOICES, MAX_STOP_BYTES, MAX_STOPS, Sampling};

/// Most entries of `logit_bias`.
const MAX_BIASES: usize = 1024;

/// Largest `top_k`; keeps every token.
const MAX_TOP_K: u32 = 1_000_000;
/// Longest name of a model, in bytes; an error repeats it.
const MAX_MODEL_BYTES: usize = 256;
/// Largest whole number that every JSON reader takes exactly (2⁵³ − 1).
const MAX_SEED: i64 = (1 << 53) - 1;

/// Most JSON values of one body: a prompt of token ids as long as the longest contexts fits.
const MAX_VALUES: usize = 1 << 18;

/// The members of a JSON object.
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

    /// A member that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Takes a member out; `None` if it is absent or null.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
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

    /// `n`.
    pub(super) fn choices(&self) -> Result<u16> {
        let number = self.whole("n", 1..=i64::from(MAX_CHOICES))?;
        Ok(number.and_then(|number| u16::try_from(number).ok()).unwrap_or(1))
    }

    /// `stop`: a text or a list of texts.
    pub(super) fn stops(&self) -> Result<Vec<String>> {
        let wrong = || {
            let what = format!("a string or a list of at most {MAX_STOPS} strings, none empty");
            Error::invalid("stop", must("stop", &what))
        };
        let stops = match self.get("stop") {
            None => return Ok(Vec::new()),
            Some(Value::String(stop)) => vec![stop.clone()],
            Some(Value::Array(stops)) if stops.len() <= MAX_STOPS => stops
                .iter()
                .map(|stop| stop.as_str().map(str::to_owned).ok_or_else(wrong))
                .collect::<Result<_>>()?,
            Some(_) => return Err(wrong()),
        };
        if stops.iter().any(String::is_empty) {
            return Err(wrong());
        }
        if stops.iter().any(|stop| stop.len() > MAX_STOP_BYTES) {
            let message = format!("Each text of 'stop' may have at most {MAX_STOP_BYTES} bytes.");
            return Err(Error::invalid("stop", message));
        }
        Ok(stops)
    }

    /// All fields that say how the next token is drawn, ours and OpenAI's.
    pub(super) fn sampling(&self) -> Result<Sampling> {
        let repetition = match self.get("repetition_penalty") {
            Some(_) => self.number("repetition_penalty", 0.01..=10.0)?,
            None => self.number("repeat_penalty", 0.01..=10.0)?,
        };
        Ok(Sampling {
            temperature: self.number("temperature", 0.0..=2.0)?,
            top_k: self.top_k()?,
            top_p: self.number("top_p", 0.0..=1.0)?,
            min_p: self.number("min_p", 0.0..=1.0)?,
            repetition_penalty: repetition,
            presence_penalty: self.number("presence_penalty", -2.0..=2.0)?,
            frequency_penalty: self.number("frequency_penalty", -2.0..=2.0)?,
            logit_bias: self.biases()?,
            seed: self.whole("seed", -MAX_SEED..=MAX_SEED)?.map(i64::cast_unsigned),
        })
    }

    /// 0 and −1 are how other servers write "off", which is more tokens than any vocabulary has;
    /// leaving the field out lets the model's own default stand.
    fn top_k(&self) -> Result<Option<u32>> {
        let number = self.whole("top_k", -1..=i64::from(MAX_TOP_K))?;
        Ok(number.map(|number| match u32::try_from(number) {
            Ok(0) | Err(_) => MAX_TOP_K,
            Ok(number) => number,
        }))
    }

    fn biases(&self) -> Result<Vec<(u32, f32)>> {
        let wrong = || {
            let what = format!(
                "an object of at most {MAX_BIASES} token ids, each with a number from -100 to 100"
            );
            Error::invalid("logit_bias", must("logit_bias", &what))
        };
        let biases = match self.get("logit_bias") {
            None => return Ok(Vec::new()),
            Some(Value::Object(biases)) if biases.len() <= MAX_BIASES => biases,
            Some(_) => return Err(wrong()),
        };
        biases
            .iter()
            .map(|(id, bias)| {
                let id = id.parse().map_err(|_| wrong())?;
                let bias = bias.as_f64().filter(|bias| bias.abs() <= 100.0).ok_or_else(wrong)?;
                Ok((id, bias as f32))
            })
            .collect()
    }

    /// `stream` and `stream_options`.
    pub(super) fn stream(&self) -> Result<Option<super::StreamOptions>> {
        let stream = self.flag("stream")?;
        let include_usage = match self.get("stream_options") {
            None => false,
            Some(Value::Object(options)) => {
                Fields(options.clone()).flag("include_usage").map_err(|_| {
                    let name = "stream_options.include_usage";
                    Error::invalid(name, must(name, "true or false"))
                })?
            }
            Some(_) => {
                return Err(Error::invalid("stream_options", must("stream_options", "an object")));
            }
        };
        Ok(stream.then_some(super::StreamOptions { include_usage }))
    }

    /// `service_tier`. Paying for urgency is not offered: whoever asks for it gets the ordinary
    /// tier, and the answer says so.
    pub(super) fn tier(&self) -> Result<Option<Tier>> {
        match self.text("service_tier")? {
            None => Ok(None),
            Some("flex") => Ok(Some(Tier::Flex)),
            Some("auto" | "default" | "scale" | "priority") => Ok(Some(Tier::Default)),
            Some(_) => {
                let what = "one of auto, default, flex, scale, priority";
                Err(Error::invalid("service_tier", must("service_tier", what)))
            }
        }
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

    /// Refuses what this version cannot do, instead of leaving it out of the answer.
    pub(super) fn refuse(&self, name: &str, is_harmless: fn(&Value) -> bool) -> Result<()> {
        match self.get(name) {
            Some(value) if !is_harmless(value) => Err(Error::invalid(
                name,
                format!("'{name}' is not supported by this version of Hearth; leave it out."),
            )),
            _ => Ok(()),
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
