//! Whatever a model would say, what it writes is what the grammar admits.

use hearth_text::{GrammarBody, GrammarSource};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use super::support::{answer, assert_all_pages_free, config, greedy, load, shared};
use crate::{FinishReason, Model, Sampling, SequenceRequest};

/// A random schema of at most this depth.
fn schema(random: &mut ChaCha8Rng, depth: usize) -> Value {
    let kinds = if depth == 0 { 6 } else { 10 };
    match random.random_range(0..kinds) {
        0 => json!({"type": "boolean"}),
        1 => {
            let least = random.random_range(-100..100);
            json!({"type": "integer", "minimum": least, "maximum": least + random.random_range(0..1000)})
        }
        2 => json!({"type": ["string", "null"], "maxLength": random.random_range(0..20)}),
        3 => json!({"enum": ["red", "green", 1, null, [true]]}),
        4 => json!({"const": {"version": 2}}),
        5 => json!({"type": "number", "minimum": -1.5, "maximum": 1.5}),
        6 => json!({
            "type": "array", "items": schema(random, depth - 1),
            "minItems": random.random_range(0..2), "maxItems": random.random_range(2..4),
        }),
        7 => json!({"anyOf": [schema(random, depth - 1), schema(random, depth - 1)]}),
        _ => {
            let names = ["name", "ag\u{e9}", "a b", "items"];
            let members = names.iter().take(random.random_range(1..5));
            let members: Map<String, Value> =
                members.map(|name| (name.to_string(), schema(random, depth - 1))).collect();
            let required: Vec<&String> = members.keys().filter(|_| random.random()).collect();
            json!({"type": "object", "properties": members, "required": required, "additionalProperties": false})
        }
    }
}

/// Whether a value is what a schema of the kinds above admits.
fn admits(schema: &Value, value: &Value) -> bool {
    if let Some(choices) = schema["enum"].as_array() {
        return choices.contains(value);
    }
    if !schema["const"].is_null() {
        return schema["const"] == *value;
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.iter().any(|schema| admits(schema, value));
    }
    let within = |number: f64| {
        schema["minimum"].as_f64().is_none_or(|least| number >= least)
            && schema["maximum"].as_f64().is_none_or(|most| number <= most)
    };
    match schema["type"].as_str() {
        Some("boolean") => value.is_boolean(),
        // -0 is a whole number, which `serde_json` keeps as a float.
        Some("integer") => {
            value.as_f64().is_some_and(|number| number.fract() == 0.0 && within(number))
        }
        Some("number") => value.as_f64().is_some_and(within),
        Some("array") => value.as_array().is_some_and(|list| {
            let count = list.len() as u64;
            count >= schema["minItems"].as_u64().unwrap_or(0)
                && count <= schema["maxItems"].as_u64().unwrap_or(u64::MAX)
                && list.iter().all(|value| admits(&schema["items"], value))
        }),
        Some("object") => value.as_object().is_some_and(|members| {
            let required = schema["required"].as_array().into_iter().flatten();
            required.filter_map(Value::as_str).all(|name| members.contains_key(name))
                && members.iter().all(|(name, value)| admits(&schema["properties"][name], value))
        }),
        _ => match value.as_str() {
            Some(text) => text.chars().count() as u64 <= schema["maxLength"].as_u64().unwrap_or(0),
            None => value.is_null(),
        },
    }
}

fn written(model: &Model, schema: &Value, seed: u64, max_tokens: u32) -> (String, FinishReason) {
    let source = GrammarSource::new(GrammarBody::JsonSchema(schema.clone()));
    let grammar = model.tokenizer().grammar(&source).expect("compiles");
    let request = SequenceRequest {
        sampling: Sampling { seed: Some(seed), ..Sampling::default() },
        grammar: Some(Box::new(grammar)),
        ..greedy(&[1, 403, 407], max_tokens)
    };
    let answer = answer(model, request);
    (answer.text, answer.end.expect("ends well").reason)
}

#[test]
fn a_model_of_stories_writes_what_any_schema_admits() {
    let model = load(&shared("stories260K-f32.gguf"), &config());
    let (schemas, seeds) = match std::env::var_os("HEARTH_SLOW") {
        Some(_) => (100, 20),
        None => (10, 3),
    };
    let mut invalid = Vec::new();
    for number in 0..schemas {
        let schema = schema(&mut ChaCha8Rng::seed_from_u64(number), 3);
        for seed in 0..seeds {
            let (text, _) = written(&model, &schema, seed, 256);
            match serde_json::from_str::<Value>(&text) {
                Ok(value) if admits(&schema, &value) => {}
                _ => invalid.push(format!("{schema} by {seed}: {text}")),
            }
        }
    }
    let total = schemas * seeds;
    assert!(invalid.is_empty(), "{} of {total}:\n{}", invalid.len(), invalid.join("\n"));
    assert_all_pages_free(&model);
}

#[test]
fn an_answer_ends_where_its_grammar_does() {
    let model = load(&shared("stories260K-f32.gguf"), &config());
    let (text, reason) = written(&model, &json!({"const": "Once upon a time"}), 0, 100);
    assert_eq!((text.as_str(), reason), ("\"Once upon a time\"", FinishReason::Stop));
    // Without a limit of its own, the story would go on to the end of the context.
    let story = json!({"type": "object", "properties": {"story": {"type": "string"}}, "required": ["story"], "additionalProperties": false});
    for seed in 0..4 {
        let (text, _) = written(&model, &story, seed, 40);
        let value: Value = serde_json::from_str(&text).expect("is completed in time");
        assert!(value["story"].is_string(), "{text}");
    }
}
