//! Names of fields in any case: Go, and so Ollama, takes `Model` for `model`, and some clients write
//! it so. What is inside options, schemas and tools is left alone.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// The body with its fields, and those of its messages, in lower case. A body that has them so
/// already, as nearly all do, is only looked through.
pub(super) fn folded(body: &[u8]) -> Cow<'_, [u8]> {
    if !has_capitals(body) {
        return Cow::Borrowed(body);
    }
    // What is no JSON is told so by whoever reads it.
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        return Cow::Borrowed(body);
    };
    let mut fields = lower(fields);
    if let Some(messages) = fields.get_mut("messages").and_then(Value::as_array_mut) {
        for message in messages {
            if let Value::Object(inner) = message {
                *inner = lower(std::mem::take(inner));
            }
        }
    }
    Cow::Owned(Value::Object(fields).to_string().into_bytes())
}

/// Of two spellings of one field the exact one counts.
fn lower(fields: Map<String, Value>) -> Map<String, Value> {
    let (exact, other): (Vec<_>, Vec<_>) =
        fields.into_iter().partition(|(key, _)| !key.bytes().any(|b| b.is_ascii_uppercase()));
    let mut lowered: Map<String, Value> = exact.into_iter().collect();
    for (key, value) in other {
        lowered.entry(key.to_ascii_lowercase()).or_insert(value);
    }
    lowered
}

/// Whether a field of the body, or of an object in a list in it, has a capital letter.
fn has_capitals(body: &[u8]) -> bool {
    let (mut depth, mut at) = (0_u32, 0);
    while let Some(&byte) = body.get(at) {
        match byte {
            b'{' | b'[' => depth = depth.saturating_add(1),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let end = end_of_text(body, at + 1);
                let is_key = matches!(depth, 1 | 3)
                    && body[end..].iter().find(|b| !b.is_ascii_whitespace() && **b != b'"')
                        == Some(&b':');
                if is_key && body[at..end].iter().any(u8::is_ascii_uppercase) {
                    return true;
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// Where the quote that ends a text stands.
fn end_of_text(body: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = body.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    body.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_found_in_any_case_and_nothing_else_is_touched() {
        let body = json!({
            "Model": "A", "model": "b", "STREAM": false,
            "messages": [{ "Role": "user", "Content": "Say \"Hi: {\"" }],
            "options": { "Nonsense": 1 },
            "tools": [{ "function": { "parameters": { "properties": { "City": {} } } } }],
        });
        let text = body.to_string();
        let read: Value = serde_json::from_slice(&folded(text.as_bytes())).unwrap();
        assert_eq!(read["model"], "b", "the exact spelling counts");
        assert_eq!(read["stream"], false);
        assert_eq!(read["messages"][0], json!({ "role": "user", "content": "Say \"Hi: {\"" }));
        assert_eq!(read["options"], body["options"]);
        assert_eq!(read["tools"], body["tools"]);
    }

    #[test]
    fn a_body_without_capitals_in_its_fields_stays_where_it_is() {
        for text in [
            r#"{"model":"A","messages":[{"role":"user","content":"Mind: \"Q\": {"}]}"#,
            r#"{"options":{"NumCtx":1}}"#,
            r#"["Model"]"#,
            r#"{"a":"B\"#,
            "",
            "\"",
        ] {
            assert!(matches!(folded(text.as_bytes()), Cow::Borrowed(_)), "{text}");
        }
    }
}
