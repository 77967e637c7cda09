//! Whatever is drawn, the text is what the grammar admits.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::*;
use crate::testing::stories;

/// Draws tokens at random, without any model, until the text ends or `most` are drawn.
fn drawn(tokenizer: &Tokenizer, body: GrammarBody, seed: u64, most: usize) -> String {
    let mut grammar = tokenizer.grammar(&GrammarSource::new(body)).unwrap();
    write(tokenizer, &mut grammar, seed, most)
}

fn write(tokenizer: &Tokenizer, grammar: &mut Grammar, seed: u64, most: usize) -> String {
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut bytes = Vec::new();
    for left in (1..=most).rev() {
        let mask = grammar.mask().unwrap();
        let allowed: Vec<u32> =
            (0..tokenizer.vocab() as u32).filter(|&id| mask.allows(id)).collect();
        let id = allowed[random.random_range(0..allowed.len())];
        let id = grammar.settle(id, left).unwrap();
        if tokenizer.eos_ids().contains(&id) {
            break;
        }
        grammar.accept(id).unwrap();
        bytes.extend_from_slice(tokenizer.token_bytes(id));
    }
    String::from_utf8(bytes).unwrap()
}

/// The value of a text that must be JSON. A number like 1e999 is JSON too, but none of Rust's.
fn json_of(text: &str) -> Value {
    match serde_json::from_str(text) {
        Err(problem) if problem.to_string().contains("number out of range") => Value::Null,
        other => other.unwrap_or_else(|problem| panic!("{problem}: {text}")),
    }
}

fn refusal(tokenizer: &Tokenizer, body: GrammarBody) {
    let started = Instant::now();
    let shown = format!("{body:?}").chars().take(80).collect::<String>();
    let problem = tokenizer.grammar(&GrammarSource::new(body)).expect_err(&shown);
    assert!(problem.to_string().len() < 500, "{shown}: {problem}");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    assert!(matches!(problem, Error::Grammar(_)), "{problem}");
}

#[test]
fn schemas_of_clients_are_held_to() {
    let tokenizer = stories("hf");
    let schema = json!({
        "type": "object",
        "properties": {
            "count": {"type": "integer", "minimum": -9_007_199_254_740_991_i64, "maximum": 9_007_199_254_740_991_i64},
            "kind": {"enum": ["a", "b", null, 3]},
            "fixed": {"const": {"x": [1]}},
            "maybe": {"type": ["string", "null"], "maxLength": 5},
            "either": {"anyOf": [{"type": "boolean"}, {"$ref": "#/$defs/point"}]},
            "rows": {"type": "array", "items": {"type": "array", "items": {"type": "number", "minimum": -5}, "maxItems": 2}, "minItems": 1, "maxItems": 3},
        },
        "required": ["count", "kind", "fixed", "maybe", "either", "rows"],
        "additionalProperties": false,
        "$defs": {"point": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"], "additionalProperties": false}},
    });
    for seed in 0..20 {
        let text = drawn(&tokenizer, GrammarBody::JsonSchema(schema.clone()), seed, 400);
        let value = json_of(&text);
        if value.is_null() {
            continue;
        }
        let count = value["count"].as_i64().unwrap();
        assert!(count.abs() <= 9_007_199_254_740_991, "{count}");
        assert_eq!(value["fixed"], json!({"x": [1]}));
        assert!([json!("a"), json!("b"), json!(null), json!(3)].contains(&value["kind"]));
        assert!(value["maybe"].is_null() || value["maybe"].as_str().unwrap().chars().count() <= 5);
        assert!(value["either"].is_boolean() || value["either"]["x"].is_number(), "{text}");
        assert!((1..=3).contains(&value["rows"].as_array().unwrap().len()));
    }
}

#[test]
fn a_text_that_runs_out_of_tokens_is_completed_in_time() {
    let tokenizer = stories("hf");
    let endless = json!({"type": "object", "properties": {
        "story": {"type": "string"}, "more": {"type": "array", "items": {"$ref": "#"}},
    }, "required": ["story", "more"]});
    for body in [GrammarBody::JsonObject, GrammarBody::JsonSchema(endless)] {
        for (seed, most) in (0..20).zip([40, 60, 100, 300].into_iter().cycle()) {
            let text = drawn(&tokenizer, body.clone(), seed, most);
            json_of(&text);
            assert!(text.chars().count() > 1, "{most}: {text}");
        }
    }
}

#[test]
fn expressions_grammars_and_choices_are_held_to() {
    let tokenizer = stories("hf");
    let lark = "start: greeting \" \" NAME\ngreeting: \"hello\" | \"bye\"\nNAME: /[a-z]{2,4}/\n";
    let choices = ["yes \"sir\"", "no", "何か"].map(String::from).to_vec();
    for seed in 0..10 {
        let text = drawn(&tokenizer, GrammarBody::Regex("[0-9]{3}-[A-F]+x".into()), seed, 100);
        let (digits, rest) = text.split_once('-').unwrap();
        assert!(digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
        assert!(rest.ends_with('x') && rest.len() > 1, "{text}");
        let text = drawn(&tokenizer, GrammarBody::Lark(lark.into()), seed, 100);
        let (greeting, name) = text.split_once(' ').unwrap();
        assert!(["hello", "bye"].contains(&greeting) && (2..=4).contains(&name.len()), "{text}");
        let text = drawn(&tokenizer, GrammarBody::Choice(choices.clone()), seed, 100);
        assert!(choices.contains(&text), "{text}");
    }
}

#[test]
fn calls_name_a_tool_and_keep_its_schema() {
    let tokenizer = stories("hf");
    let tools = vec![
        (
            "add".to_string(),
            json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["a"], "additionalProperties": false, "$defs": {"n": {"type": "integer", "minimum": 0, "maximum": 9}}}),
        ),
        ("stop \"now\"".to_string(), json!({})),
    ];
    for seed in 0..10 {
        for is_list in [false, true] {
            let calls = CallGrammar { tools: tools.clone(), is_list };
            let text = drawn(&tokenizer, GrammarBody::Calls(calls), seed, 300);
            let value = json_of(&text);
            let calls = if is_list { value.as_array().unwrap().clone() } else { vec![value] };
            assert!((1..=8).contains(&calls.len()));
            for call in calls {
                match call["name"].as_str().unwrap() {
                    "add" => assert!(call["arguments"]["a"].as_u64().unwrap() <= 9),
                    name => assert_eq!(name, "stop \"now\""),
                }
            }
        }
    }
}

#[test]
fn thoughts_may_come_first() {
    let tokenizer = stories("hf");
    let body = GrammarBody::Choice(vec!["done".into()]);
    let begun = Thinking::Begun { close: "</think>".into() };
    let mut grammar =
        tokenizer.grammar(&GrammarSource { body: body.clone(), thinking: begun }).unwrap();
    let text = write(&tokenizer, &mut grammar, 1, 80);
    let (thought, rest) = text.split_once("</think>").unwrap();
    assert!(!thought.is_empty() && rest.trim_start() == "done", "{text:?}");
    let thinking = Thinking::Optional { open: "<think>".into(), close: "</think>".into() };
    let mut grammar = tokenizer.grammar(&GrammarSource { body, thinking }).unwrap();
    let mask = grammar.mask().unwrap();
    let first: Vec<&[u8]> = (0..512)
        .filter(|&id| mask.allows(id))
        .map(|id| tokenizer.token_bytes(id))
        .filter(|bytes| bytes.len() == 1)
        .collect();
    assert!(first.contains(&b"<".as_slice()) && first.contains(&b"d".as_slice()), "{first:?}");
}

#[test]
fn bombs_and_nonsense_are_refused_in_bounded_time() {
    let tokenizer = stories("hf");
    let regex = |text: &str| GrammarBody::Regex(text.into());
    for body in [
        regex("("),
        regex(&"(a|b)*c".repeat(30_000)),
        regex(r"(?=a)b"),
        GrammarBody::Lark(format!("start: {}a{}", "(".repeat(30_000), ")".repeat(30_000))),
        GrammarBody::Lark("start: start start".into()),
        GrammarBody::JsonSchema(json!(false)),
        GrammarBody::JsonSchema(json!({"type": "nothing"})),
        GrammarBody::JsonSchema(json!({"$ref": "#/$defs/none"})),
        GrammarBody::JsonSchema(json!({"$ref": "https://example.org/schema"})),
        GrammarBody::JsonSchema(json!({"type": "integer", "minimum": 2, "maximum": 1})),
        GrammarBody::JsonSchema(json!({"enum": ["x".repeat(200_000)]})),
        GrammarBody::Choice(vec![]),
        GrammarBody::Calls(CallGrammar { tools: vec![], is_list: false }),
    ] {
        refusal(&tokenizer, body);
    }
}

#[test]
fn a_grammar_that_admits_nothing_is_refused_in_plain_words() {
    let body = GrammarBody::Lark("start: start \"a\"".into());
    let problem = stories("hf").grammar(&GrammarSource::new(body)).expect_err("endless");
    let text = problem.to_string();
    assert!(text.contains("admits no text"), "{text}");
}

#[test]
fn repetitions_without_measure_take_bounded_time() {
    let tokenizer = stories("hf");
    let pattern = "((((a{1,1000}){1,1000}){1,1000}){1,1000})";
    for body in [
        GrammarBody::Regex(pattern.into()),
        GrammarBody::JsonSchema(json!({"type": "string", "pattern": pattern})),
        GrammarBody::JsonSchema(json!({"type": "string", "minLength": 1_000_000_000})),
        GrammarBody::JsonSchema(json!({"type": "array", "minItems": 1_000_000_000})),
    ] {
        let started = Instant::now();
        if let Ok(mut grammar) = tokenizer.grammar(&GrammarSource::new(body.clone())) {
            // What cannot be held to any more ends with an error, not with a wrong text.
            for _ in 0..20 {
                let Ok(mask) = grammar.mask() else { break };
                let Some(id) = (0..512).rev().find(|&id| mask.allows(id)) else { break };
                if grammar.accept(id).is_err() {
                    break;
                }
            }
        }
        assert!(started.elapsed() < Duration::from_secs(8), "{body:?}: {:?}", started.elapsed());
    }
}

#[test]
fn what_was_compiled_is_kept_and_the_cache_is_bounded() {
    let tokenizer = stories("hf");
    for number in 0..MAX_CACHED + 8 {
        drawn(&tokenizer, GrammarBody::Regex(format!("{number}")), 0, 20);
    }
    let grammars = tokenizer.grammars.get().unwrap().as_ref().unwrap();
    assert_eq!(grammars.cache.lock().unwrap().len(), MAX_CACHED);
    assert_eq!(grammars.compiling.load(SeqCst), 0);
    let last = GrammarSource::new(GrammarBody::Regex(format!("{}", MAX_CACHED + 7)));
    assert!(grammars.cached(&last).is_some());
    assert!(grammars.cached(&GrammarSource::new(GrammarBody::Regex("0".into()))).is_none());
}
