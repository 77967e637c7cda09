//! The fields that OpenAI's routes have in common.

use serde_json::Value;

use super::Tier;
use crate::error::{Error, Result};
use crate::request::{Extras, Family, MAX_CHOICES, MAX_STOP_BYTES, MAX_STOPS, Sampling};

pub(super) use crate::dialect::fields::{Fields, must};

/// Most entries of `logit_bias`.
const MAX_BIASES: usize = 1024;

/// Largest `top_k`; keeps every token.
const MAX_TOP_K: u32 = 1_000_000;
/// Largest whole number that every JSON reader takes exactly (2⁵³ − 1).
const MAX_SEED: i64 = (1 << 53) - 1;

/// Fields of these routes that have a neutral meaning.
const KNOWN: [&str; 37] = [
    "best_of",
    "chat_template_kwargs",
    "echo",
    "frequency_penalty",
    "function_call",
    "functions",
    "guided_choice",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "min_p",
    "model",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "prompt",
    "reasoning",
    "reasoning_effort",
    "repeat_penalty",
    "repetition_penalty",
    "response_format",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "suffix",
    "temperature",
    "tool_choice",
    "tools",
    "top_k",
    "top_logprobs",
    "top_p",
];
/// Those of them that say more than their neutral meaning.
const RAW: [&str; 3] = ["reasoning", "reasoning_effort", "response_format"];

impl Fields {
    /// What else the body says.
    pub(super) fn open_ai_extras(self) -> Option<Box<Extras>> {
        self.extras(Family::OpenAi, &KNOWN, &RAW)
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
        let mut parsed = Vec::with_capacity(biases.len());
        for (id, bias) in biases {
            let bias = bias.as_f64().filter(|bias| bias.abs() <= 100.0).ok_or_else(wrong)?;
            // A bias of nothing changes nothing, whatever it is for.
            if bias != 0.0 {
                parsed.push((id.parse().map_err(|_| wrong())?, bias as f32));
            }
        }
        Ok(parsed)
    }

    /// Whether a bias of nothing is for something that is no token.
    pub(super) fn has_idle_bias(&self) -> bool {
        let biases = self.get("logit_bias").and_then(Value::as_object);
        biases.is_some_and(|biases| biases.keys().any(|id| id.parse::<u32>().is_err()))
    }

    /// `stream` and `stream_options`.
    pub(super) fn stream(&self) -> Result<Option<super::StreamOptions>> {
        let stream = self.flag("stream")?;
        let include_usage = match self.get("stream_options") {
            None => false,
            Some(Value::Object(options)) => {
                Fields::of(options.clone()).flag("include_usage").map_err(|_| {
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
}
