//! Thoughts with the seals of their makers, in the forms that clients of this dialect send back:
//! OpenRouter's `reasoning_details` beside a message, and Google's `extra_content` in a call.

use serde_json::{Value, json};

use crate::request::{Family, Part, Seal, Thought};

/// The thoughts of a message: with their seals if it has those, else as plain text.
pub(super) fn parse(plain: Option<String>, details: Option<&Value>) -> Vec<Part> {
    let details = details.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut thoughts: Vec<Thought> = details.iter().filter_map(detail).collect();
    let is_told = thoughts.iter().any(|thought| !thought.text.is_empty());
    if let Some(plain) = plain.filter(|plain| !plain.is_empty() && !is_told) {
        thoughts.insert(0, Thought::plain(plain));
    }
    thoughts.into_iter().map(Part::Thought).collect()
}

/// One entry of `reasoning_details`.
pub(crate) fn print(seal: &Seal, text: &str, index: usize) -> Value {
    let format = seal.family.name();
    match seal.is_thought {
        true => json!({
            "type": "reasoning.encrypted", "data": seal.value, "format": format, "index": index,
        }),
        false => json!({
            "type": "reasoning.text", "text": text, "signature": seal.value, "format": format,
            "index": index,
        }),
    }
}

/// `extra_content` of a call that this seals.
pub(super) fn print_of_call(seal: &Seal) -> Value {
    json!({ "google": { "thought_signature": seal.value } })
}

/// What the maker of a call wants to see again beside it.
pub(super) fn seal_of_call(call: &Value) -> Option<Seal> {
    let value = call.pointer("/extra_content/google/thought_signature")?.as_str()?.to_owned();
    Some(Seal { family: Family::Gemini, value, is_thought: false })
}

fn detail(detail: &Value) -> Option<Thought> {
    let text = |name: &str| detail[name].as_str().filter(|text| !text.is_empty());
    // Others name the maker and a version: `anthropic-claude-v1`, `google-gemini-v1`.
    let format = text("format").unwrap_or_default();
    let family = Family::of(format).or_else(|| {
        let known = [("anthropic", Family::Anthropic), ("google", Family::Gemini)];
        known.into_iter().find(|(start, _)| format.starts_with(start)).map(|(_, family)| family)
    });
    let seal = |value: &str, is_thought| {
        family.map(|family| Seal { family, value: value.to_owned(), is_thought })
    };
    match detail["type"].as_str()? {
        "reasoning.encrypted" => {
            let seal = Some(seal(text("data")?, true)?);
            Some(Thought { text: String::new(), seal })
        }
        "reasoning.text" => {
            let seal = text("signature").and_then(|value| seal(value, false));
            let text = text("text").unwrap_or_default().to_owned();
            (!text.is_empty() || seal.is_some()).then_some(Thought { text, seal })
        }
        "reasoning.summary" => text("summary").map(Thought::plain),
        _ => None,
    }
}
