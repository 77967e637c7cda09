//! What is taken although it changes nothing, and said to be.

use super::*;
use crate::request::{Effort, Thinking};

#[test]
fn what_changes_nothing_is_taken_and_named() {
    for (change, ignored) in [
        (json!({ "user": "u", "metadata": { "a": "b" }, "prompt_cache_key": "k" }), vec![]),
        (json!({ "audio": { "format": "wav" }, "modalities": ["text"] }), vec!["audio"]),
        (json!({ "web_search_options": {}, "store": true }), vec!["store", "web_search_options"]),
        (json!({ "store": false, "prediction": null }), vec![]),
        (json!({ "verbosity": "low", "moderation": {} }), vec!["moderation", "verbosity"]),
        (json!({ "prediction": { "content": "x" } }), vec!["prediction"]),
        (json!({ "logit_bias": { "foo": 0, "5": 0, "6": 1.5 } }), vec!["logit_bias"]),
    ] {
        let call = chat(change.clone()).unwrap();
        assert_eq!(call.ignored, ignored, "{change}");
    }
    let biased = chat(json!({ "logit_bias": { "foo": 0, "5": 0, "6": 1.5 } })).unwrap();
    assert_eq!(biased.requests[0].sampling.logit_bias, [(6, 1.5)]);
    let completion = completion(json!({ "logit_bias": { "foo": 0 } })).unwrap();
    assert_eq!(completion.ignored, ["logit_bias"]);
    refused(&json!({ "logit_bias": { "foo": 0.1 } }), "logit_bias");
}

#[test]
fn no_token_can_be_asked_for() {
    for name in ["max_tokens", "max_completion_tokens"] {
        assert_eq!(chat(json!({ name: 0 })).unwrap().requests[0].max_tokens, Some(0));
        refused(&json!({ name: -1 }), name);
    }
    assert_eq!(completion(json!({ "max_tokens": 0 })).unwrap().requests[0].max_tokens, Some(0));
}

#[test]
fn an_effort_is_asked_of_models_that_can() {
    for (effort, expected) in [
        ("none", Thinking::Off),
        ("minimal", Thinking::IfAble(Some(Effort::Low))),
        ("low", Thinking::IfAble(Some(Effort::Low))),
        ("medium", Thinking::IfAble(Some(Effort::Medium))),
        ("high", Thinking::IfAble(Some(Effort::High))),
        ("xhigh", Thinking::IfAble(Some(Effort::Max))),
    ] {
        for change in
            [json!({ "reasoning_effort": effort }), json!({ "reasoning": { "effort": effort } })]
        {
            assert_eq!(chat(change).unwrap().requests[0].rules.thinking, expected, "{effort}");
        }
    }
    for none in [json!({ "reasoning_effort": null }), json!({ "reasoning": { "summary": "auto" } })]
    {
        assert_eq!(chat(none).unwrap().requests[0].rules.thinking, Thinking::AsModel);
    }
    refused(&json!({ "reasoning_effort": "utmost" }), "reasoning_effort");
}

#[test]
fn thoughts_are_counted_in_the_usage() {
    let mut collector = Collector::new(Shape::Chat, heading(), 1, false);
    let usage = Usage { completion_tokens: 9, reasoning_tokens: 4, ..Usage::default() };
    collector.push(Event::Done(usage));
    let details = &collector.finish()["usage"]["completion_tokens_details"];
    assert_eq!(*details, json!({ "reasoning_tokens": 4 }));
}
