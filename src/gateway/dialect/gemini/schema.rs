//! Google's own form of schemas, with types in capitals, as JSON schemas.

use serde_json::{Map, Value};

/// Deepest schema; deeper ones stay as they are.
const MAX_DEPTH: u32 = 64;

/// The JSON schema that means the same.
pub(super) fn json_schema(schema: &Value) -> Value {
    convert(schema, 0)
}

fn convert(schema: &Value, depth: u32) -> Value {
    let Some(members) = schema.as_object().filter(|_| depth < MAX_DEPTH) else {
        return schema.clone();
    };
    let mut converted = Map::new();
    for (name, value) in members {
        let value = match (name.as_str(), value) {
            ("type", Value::String(kind)) => kind.to_ascii_lowercase().into(),
            ("properties", Value::Object(properties)) => properties
                .iter()
                .map(|(name, schema)| (name.clone(), convert(schema, depth + 1)))
                .collect::<Map<_, _>>()
                .into(),
            ("items", schema) => convert(schema, depth + 1),
            ("anyOf", Value::Array(list)) => {
                list.iter().map(|schema| convert(schema, depth + 1)).collect()
            }
            // Numbers come as texts here.
            (
                "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties"
                | "maxProperties",
                Value::String(text),
            ) => text.parse::<u64>().map_or_else(|_| value.clone(), Value::from),
            ("nullable" | "propertyOrdering", _) => continue,
            (_, value) => value.clone(),
        };
        converted.insert(name.clone(), value);
    }
    let is_nullable = members.get("nullable") == Some(&Value::Bool(true));
    if let (true, Some(kind)) = (is_nullable, converted.get_mut("type")) {
        *kind = Value::Array(vec![kind.take(), "null".into()]);
    }
    converted.into()
}
