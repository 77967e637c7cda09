//! Changes of the body that goes to a provider, as an admin wrote them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::spec::invalid;
use crate::error::Result;

/// Deepest path.
const MAX_DEPTH: usize = 8;
/// Longest path and longest value as text, in bytes.
const MAX_BYTES: usize = 16 << 10;
/// Fields that routing itself decides.
const OWN_FIELDS: [&str; 2] = ["model", "stream"];

/// One change of a request's body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    pub mode: OverrideMode,
    /// Names with dots between them.
    pub field: String,
    /// What `set` and `default` write.
    #[serde(default)]
    pub value: Value,
    /// Only where all of these hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
}

/// What happens to the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverrideMode {
    Set,
    /// Set where it is absent.
    Default,
    Remove,
}

/// Holds where a field has this value; `model` is the provider's own name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    pub field: String,
    /// Null holds where the field is absent; in a text `*` stands for anything.
    pub is: Value,
}

impl Override {
    pub(super) fn check(&self) -> Result<()> {
        let place = "settings.request.overrides";
        let paths = std::iter::once(&self.field).chain(self.when.iter().map(|when| &when.field));
        for path in paths {
            let parts: Vec<&str> = path.split('.').collect();
            if path.len() > MAX_BYTES
                || parts.len() > MAX_DEPTH
                || parts.iter().any(|part| part.is_empty())
            {
                return Err(invalid(place, "must name fields as in `a.b.c`, eight deep at most"));
            }
        }
        if OWN_FIELDS.contains(&self.field.as_str()) {
            return Err(invalid(place, "cannot change `model` or `stream`"));
        }
        if self.value.to_string().len() > MAX_BYTES || self.when.len() > MAX_DEPTH {
            return Err(invalid(place, "are too long"));
        }
        Ok(())
    }

    /// Changes the body, if the conditions hold.
    pub(crate) fn apply(&self, body: &mut Map<String, Value>) {
        if !self.when.iter().all(|condition| condition.holds(body)) {
            return;
        }
        match self.mode {
            OverrideMode::Set => put(body, &self.field, &self.value, true),
            OverrideMode::Default => put(body, &self.field, &self.value, false),
            OverrideMode::Remove => remove(body, &self.field),
        }
    }
}

impl Condition {
    fn holds(&self, body: &Map<String, Value>) -> bool {
        let found = get(body, &self.field).unwrap_or(&Value::Null);
        match (&self.is, found) {
            (Value::String(pattern), Value::String(text)) => matches(pattern, text),
            (wanted, found) => wanted == found,
        }
    }
}

/// Whether a text matches a pattern, in which `*` stands for anything.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        // The first place is always good enough: what follows has the more left to match.
        let Some(index) = text.find(part) else { return false };
        text = &text[index + part.len()..];
    }
    text.ends_with(end)
}

fn get<'a>(body: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('.');
    let first = body.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

fn put(body: &mut Map<String, Value>, path: &str, value: &Value, replaces: bool) {
    match path.split_once('.') {
        None if replaces => drop(body.insert(path.to_owned(), value.clone())),
        None => drop(body.entry(path).or_insert_with(|| value.clone())),
        Some((first, rest)) => {
            let inner = body.entry(first).or_insert_with(|| Value::Object(Map::new()));
            // What is no object has no fields to set.
            if let Value::Object(inner) = inner {
                put(inner, rest, value, replaces);
            }
        }
    }
}

fn remove(body: &mut Map<String, Value>, path: &str) {
    match path.split_once('.') {
        None => drop(body.remove(path)),
        Some((first, rest)) => {
            if let Some(Value::Object(inner)) = body.get_mut(first) {
                remove(inner, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied(changes: Value, body: Value) -> Value {
        let changes: Vec<Override> = serde_json::from_value(changes).unwrap();
        let Value::Object(mut body) = body else { panic!("an object") };
        for change in changes {
            change.check().unwrap();
            change.apply(&mut body);
        }
        Value::Object(body)
    }

    #[test]
    fn fields_are_set_defaulted_and_removed_also_deep_inside() {
        let changes = json!([
            { "mode": "set", "field": "temperature", "value": 0.5 },
            { "mode": "default", "field": "top_p", "value": 0.9 },
            { "mode": "default", "field": "seed", "value": 1 },
            { "mode": "remove", "field": "user" },
            { "mode": "set", "field": "a.b.c", "value": true },
            { "mode": "remove", "field": "x.y" },
            { "mode": "set", "field": "seed.z", "value": 1 },
        ]);
        let body = json!({ "temperature": 2, "top_p": 0.1, "user": "u", "x": { "y": 1, "z": 2 } });
        let expected = json!({
            "temperature": 0.5, "top_p": 0.1, "x": { "z": 2 }, "seed": 1, "a": { "b": { "c": true } },
        });
        assert_eq!(applied(changes, body), expected);
    }

    #[test]
    fn conditions_decide() {
        let when = |is: Value| {
            json!([{
                "mode": "set", "field": "x", "value": 1, "when": [{ "field": "model", "is": is }],
            }])
        };
        for (is, expected) in [
            (json!("gpt-5*"), true),
            (json!("gpt-4*"), false),
            (json!("*mini"), true),
            (json!("gpt-*-mini"), true),
            (json!(null), false),
        ] {
            let body = applied(when(is.clone()), json!({ "model": "gpt-5-mini" }));
            assert_eq!(body.get("x").is_some(), expected, "{is}");
        }
        assert_eq!(applied(when(json!(null)), json!({})), json!({ "x": 1 }));
    }

    #[test]
    fn what_routing_decides_cannot_be_overridden() {
        for field in ["model", "stream", "", "a..b", &"a.".repeat(9)] {
            let change = json!({ "mode": "set", "field": field, "value": 1 });
            assert!(
                serde_json::from_value::<Override>(change).unwrap().check().is_err(),
                "{field}"
            );
        }
    }

    #[test]
    fn patterns_match_as_people_mean_them() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("ab*bc", "abc", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
