//! What a chat asks for with every turn: instructions for the model and how its words are drawn.

use hearth_gateway::request::{Effort, MAX_STOP_BYTES, MAX_STOPS, Overflow, Sampling, Thinking};
use hearth_gateway::request::{GenerateRequest, Window};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Failure, Result};

/// Longest instructions, in characters.
const MAX_SYSTEM_CHARS: usize = 50_000;
/// Most models that answer side by side.
pub(crate) const MAX_SIDE_BY_SIDE: usize = 4;
/// Longest name of a model, in bytes.
const MAX_MODEL_BYTES: usize = 256;

/// The settings of one chat.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Instructions for the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) system: String,
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub(crate) parameters: Parameters,
    /// Further models that answer beside the chat's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) beside: Vec<String>,
    /// The preset that the chat began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preset: Option<String>,
}

impl Settings {
    /// Within bounds, or the reason.
    pub(crate) fn check(&self) -> Result<()> {
        if self.system.chars().count() > MAX_SYSTEM_CHARS {
            return Err(Failure::invalid(format!(
                "'system' may have at most {MAX_SYSTEM_CHARS} characters."
            )));
        }
        if self.beside.len() >= MAX_SIDE_BY_SIDE {
            return Err(Failure::invalid(format!(
                "At most {MAX_SIDE_BY_SIDE} models answer side by side."
            )));
        }
        let mut names = self.beside.iter().chain(&self.preset);
        if !names.all(|name| (1..=MAX_MODEL_BYTES).contains(&name.len())) {
            return Err(Failure::invalid("'beside' and 'preset' must be names."));
        }
        self.parameters.check()
    }
}

/// How the next token is drawn and the prompt is made; what is absent is the model's own choice.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Parameters {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition_penalty: Option<f32>,
    /// Texts that end the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<Vec<String>>,
    /// Most tokens of prompt and answer together; older messages are left out beyond it.
    #[serde(skip_serializing_if = "Option::is_none")]
    context_tokens: Option<u32>,
    /// `off`, `low`, `medium`, `high`: whether and how much the model thinks first.
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<ThinkingWish>,
}

/// Whether the model is to think before it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ThinkingWish {
    Off,
    Low,
    Medium,
    High,
}

impl Parameters {
    fn is_empty(&self) -> bool {
        *self == Parameters::default()
    }

    /// Within the bounds that the gateway's types name.
    pub(crate) fn check(&self) -> Result<()> {
        let within = |name: &str, value: Option<f32>, least: f32, most: f32| match value {
            Some(value) if !(least..=most).contains(&value) => {
                Err(Failure::invalid(format!("'{name}' must be {least} to {most}.")))
            }
            _ => Ok(()),
        };
        within("temperature", self.temperature, 0.0, 2.0)?;
        within("top_p", self.top_p, 0.0, 1.0)?;
        within("min_p", self.min_p, 0.0, 1.0)?;
        within("frequency_penalty", self.frequency_penalty, -2.0, 2.0)?;
        within("presence_penalty", self.presence_penalty, -2.0, 2.0)?;
        within("repetition_penalty", self.repetition_penalty, 0.01, 10.0)?;
        if self.top_k.is_some_and(|k| !(1..=1_000_000).contains(&k)) {
            return Err(Failure::invalid("'top_k' must be 1 to 1000000."));
        }
        if self.max_tokens == Some(0) {
            return Err(Failure::invalid("'max_tokens' must be at least 1."));
        }
        if self.context_tokens.is_some_and(|tokens| tokens < 16) {
            return Err(Failure::invalid("'context_tokens' must be at least 16."));
        }
        let stops = self.stop.as_deref().unwrap_or_default();
        let is_fine = |stop: &String| (1..=MAX_STOP_BYTES).contains(&stop.len());
        if stops.len() > MAX_STOPS || !stops.iter().all(is_fine) {
            return Err(Failure::invalid(format!(
                "'stop' takes at most {MAX_STOPS} texts of 1 to {MAX_STOP_BYTES} bytes."
            )));
        }
        Ok(())
    }

    /// These, and where they say nothing `below`.
    pub(crate) fn over(self, below: Parameters) -> Parameters {
        Parameters {
            temperature: self.temperature.or(below.temperature),
            top_p: self.top_p.or(below.top_p),
            top_k: self.top_k.or(below.top_k),
            min_p: self.min_p.or(below.min_p),
            seed: self.seed.or(below.seed),
            max_tokens: self.max_tokens.or(below.max_tokens),
            frequency_penalty: self.frequency_penalty.or(below.frequency_penalty),
            presence_penalty: self.presence_penalty.or(below.presence_penalty),
            repetition_penalty: self.repetition_penalty.or(below.repetition_penalty),
            stop: self.stop.or(below.stop),
            context_tokens: self.context_tokens.or(below.context_tokens),
            thinking: self.thinking.or(below.thinking),
        }
    }

    /// Writes these into a request.
    pub(crate) fn apply(self, request: &mut GenerateRequest) {
        request.sampling = Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            seed: self.seed,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            repetition_penalty: self.repetition_penalty,
            ..Sampling::default()
        };
        request.max_tokens = self.max_tokens;
        request.stop = self.stop.unwrap_or_default();
        if let Some(tokens) = self.context_tokens {
            request.window = Window {
                limit_tokens: Some(tokens),
                overflow: Overflow::DropOldest,
                ..Window::default()
            };
        }
        request.rules.thinking = match self.thinking {
            None => Thinking::AsModel,
            Some(ThinkingWish::Off) => Thinking::Off,
            Some(ThinkingWish::Low) => Thinking::IfAble(Some(Effort::Low)),
            Some(ThinkingWish::Medium) => Thinking::IfAble(Some(Effort::Medium)),
            Some(ThinkingWish::High) => Thinking::IfAble(Some(Effort::High)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn settings_beyond_the_bounds_are_refused_by_name() {
        for (text, word) in [
            (r#"{"parameters":{"temperature":3}}"#, "temperature"),
            (r#"{"parameters":{"repetition_penalty":0}}"#, "repetition_penalty"),
            (r#"{"parameters":{"stop":[""]}}"#, "stop"),
            (r#"{"parameters":{"max_tokens":0}}"#, "max_tokens"),
            (r#"{"beside":["a","b","c","d"]}"#, "side by side"),
        ] {
            let failure = settings(text).check().unwrap_err();
            assert!(failure.message.contains(word), "{}", failure.message);
        }
        settings(r#"{"system":"Be brief.","parameters":{"top_k":1}}"#).check().unwrap();
        assert_eq!(serde_json::to_string(&Settings::default()).unwrap(), "{}");
    }

    #[test]
    fn a_turn_speaks_louder_than_its_chat() {
        let chat = Parameters { temperature: Some(0.5), seed: Some(7), ..Parameters::default() };
        let turn = Parameters { temperature: Some(0.0), ..Parameters::default() };
        let both = turn.over(chat);
        assert_eq!((both.temperature, both.seed), (Some(0.0), Some(7)));
    }
}
