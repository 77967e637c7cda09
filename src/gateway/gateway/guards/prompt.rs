//! Looks at a request before anybody else does.

use serde_json::Value;

use super::{Applied, Found, Verdict};
use crate::embedding::{EmbedInput, EmbedRequest, Wanted};
use crate::request::{GenerateRequest, Input, Part};

impl Applied {
    /// Looks at all that people or tools wrote, and masks in place.
    pub(in crate::gateway) fn check(&self, request: &mut GenerateRequest) -> Verdict {
        let mut verdict = Verdict::Pass;
        let mut text =
            |text: &mut String| verdict = std::mem::take(&mut verdict).or(self.mask(text));
        match &mut request.input {
            Input::Chat(messages) => {
                for part in messages.iter_mut().flat_map(|message| &mut message.parts) {
                    match part {
                        Part::Text(it) | Part::Refusal(it) => text(it),
                        Part::Call(call) => text(&mut call.arguments),
                        Part::Foreign(foreign) => each_text(&mut foreign.value, &mut text),
                        // A thought is sealed as it is, and was looked at when it was told.
                        Part::Thought(_) | Part::Media(_) | Part::Citation(_) | Part::Cache(_) => {}
                    }
                }
            }
            Input::Text(it) => text(it),
            Input::Infill { prompt, suffix } => {
                text(prompt);
                text(suffix);
            }
            Input::Tokens(_) => {}
        }
        if let Some(extras) = &mut request.extras {
            extras.fields.values_mut().for_each(|value| each_text(value, &mut text));
            extras.raw.values_mut().for_each(|value| each_text(value, &mut text));
        }
        verdict
    }

    /// The same for texts that become vectors.
    pub(in crate::gateway) fn check_texts(&self, request: &mut EmbedRequest) -> Verdict {
        let mut verdict = Verdict::Pass;
        for input in &mut request.inputs {
            if let EmbedInput::Text(text) | EmbedInput::Cut(text) = input {
                verdict = verdict.or(self.mask(text));
            }
        }
        if let Wanted::Score { question } = &mut request.wanted {
            verdict = verdict.or(self.mask(question));
        }
        verdict
    }

    fn mask(&self, text: &mut String) -> Verdict {
        let Found { matches, verdict } = self.look(text, 0, text.len());
        for found in matches.iter().rev() {
            text.replace_range(found.range.clone(), &found.instead);
        }
        verdict
    }
}

fn each_text(value: &mut Value, text: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(it) => text(it),
        Value::Array(list) => list.iter_mut().for_each(|value| each_text(value, text)),
        Value::Object(members) => members.values_mut().for_each(|value| each_text(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
