//! Prints log probabilities in the two shapes that OpenAI uses.

use serde_json::{Map, Value, json};

use super::Shape;
use crate::event::TokenLogprob;

/// Log probabilities of one choice, printed piece by piece or all at once.
///
/// `text_chars`: characters of the choice that came before, for `text_offset`; advanced by the
/// printed tokens.
pub(super) fn print(shape: Shape, tokens: &[TokenLogprob], text_chars: &mut usize) -> Value {
    match shape {
        Shape::Chat => {
            let content: Vec<Value> = tokens.iter().map(chat_token).collect();
            json!({ "content": content, "refusal": null })
        }
        Shape::Text => {
            let mut offsets = Vec::with_capacity(tokens.len());
            for token in tokens {
                offsets.push(*text_chars);
                *text_chars += token.text.chars().count();
            }
            let names: Vec<String> = tokens.iter().map(|t| name(&t.text, &t.bytes)).collect();
            let logprobs: Vec<f32> = tokens.iter().map(|token| finite(token.logprob)).collect();
            let tops: Vec<Value> = tokens.iter().map(text_alternatives).collect();
            json!({
                "tokens": names,
                "token_logprobs": logprobs,
                "top_logprobs": tops,
                "text_offset": offsets,
            })
        }
    }
}

fn chat_token(token: &TokenLogprob) -> Value {
    let top: Vec<Value> = token
        .top
        .iter()
        .map(|(_, text, bytes, logprob)| {
            json!({ "token": text, "logprob": finite(*logprob), "bytes": bytes })
        })
        .collect();
    json!({
        "token": token.text,
        "logprob": finite(token.logprob),
        "bytes": token.bytes,
        "top_logprobs": top,
    })
}

fn text_alternatives(token: &TokenLogprob) -> Value {
    let alternatives: Map<String, Value> = token
        .top
        .iter()
        .map(|(_, text, bytes, logprob)| (name(text, bytes), json!(finite(*logprob))))
        .collect();
    Value::Object(alternatives)
}

/// A token as a key: its text, or `bytes:\xe4\xbd` when its bytes are no whole characters.
fn name(text: &str, bytes: &[u8]) -> String {
    if text.as_bytes() == bytes {
        return text.to_owned();
    }
    let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("bytes:{escaped}")
}

/// JSON has no infinity; OpenAI writes −9999 for a token that cannot occur.
fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { -9999.0 }
}
