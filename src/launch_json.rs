//! Changes a settings file that is JSON, or JSON with comments and trailing commas as editors have
//! it; comments stay, and so does everything that is not changed.

use anyhow::{Context, Result, ensure};
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use jsonc_parser::{ParseOptions, parse_to_serde_value};
use serde_json::{Map, Value};

/// The object in the file; an empty one for no text.
pub(crate) fn parse(text: &str) -> Result<Map<String, Value>> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    let value: Value = parse_to_serde_value(text, &options()).context("it is no JSON")?;
    match value {
        Value::Object(object) => Ok(object),
        _ => anyhow::bail!("it is no JSON object"),
    }
}

/// The former text with these settings. They were read from it and changed: no key is gone.
pub(crate) fn printed(former: &str, settings: &Map<String, Value>) -> Result<String> {
    let is_plain = serde_json::from_str::<Value>(former).is_ok();
    if former.trim().is_empty() || is_plain {
        return Ok(format!("{}\n", serde_json::to_string_pretty(settings)?));
    }
    let root = CstRootNode::parse(former, &options()).context("it is no JSON")?;
    let object = root.object_value().context("it is no JSON object")?;
    apply(&object, settings);
    let text = root.to_string();
    ensure!(parse(&text)? == *settings, "it cannot be changed without harm");
    Ok(text)
}

fn options() -> ParseOptions {
    ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

fn apply(object: &CstObject, wanted: &Map<String, Value>) {
    for (key, value) in wanted {
        let Some(member) = object.get(key) else {
            object.append(key, input(value));
            continue;
        };
        let present = member.value().and_then(|present| present.to_serde_value());
        match (value, member.object_value()) {
            _ if present.as_ref() == Some(value) => {}
            (Value::Object(inner), Some(present)) => apply(&present, inner),
            _ => member.set_value(input(value)),
        }
    }
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(flag) => CstInputValue::Bool(*flag),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => CstInputValue::Object(
            members.iter().map(|(key, value)| (key.clone(), input(value))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn comments_and_what_is_not_changed_stay() {
        let former = "// my editor\n{\n  \"theme\": \"dark\", // at night\n  /* old */\n  \"a\": { \
                      \"b\": 1, },\n}\n";
        let mut settings = parse(former).expect("sound");
        settings.insert("model".to_owned(), json!("m"));
        settings["a"]["c"] = json!({ "d": [1, "two"] });
        let text = printed(former, &settings).expect("changed");
        for kept in
            ["// my editor\n", "\"theme\": \"dark\", // at night\n", "/* old */", "\"b\": 1"]
        {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        assert_eq!(parse(&text).expect("sound"), settings);
        // The same again changes nothing.
        assert_eq!(printed(&text, &settings).expect("the same"), text);
    }

    #[test]
    fn what_is_no_json_object_is_refused() {
        for wrong in ["[]", "{ a: 1 }", "{ 'a': 1 }", "{ \"a\": 1", "{} {}", "7", "// only this"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse(" \n").expect("empty"), Map::new());
    }
}
