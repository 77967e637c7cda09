//! What OpenAI's clients send beside the usual, through the whole program.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::story::Story;
use crate::structured::{TEMPLATE, begin};

async fn chat(story: &Story, change: Value) -> Value {
    let mut body = json!({
        "model": "caller", "max_tokens": 120, "temperature": 0,
        "messages": [{ "role": "user", "content": "Once" }],
    });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let (status, answer) = story.call("/v1/chat/completions", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

fn function() -> Value {
    json!({ "name": "add", "description": "adds", "parameters": {
        "type": "object", "required": ["value"], "additionalProperties": false,
        "properties": { "value": { "type": "integer", "minimum": 0, "maximum": 9 } },
    } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_the_older_form_is_called_and_its_result_goes_back() {
    let story = begin(TEMPLATE).await;
    let asked = json!({ "functions": [function()], "function_call": { "name": "add" } });
    let answer = chat(&story, asked).await;
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "function_call", "{answer}");
    let call = choice["message"]["function_call"].clone();
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["value"].as_u64().unwrap() <= 9, "{call}");
    // The same as a tool: the same tokens, in the newer form.
    let tool = json!({ "type": "function", "function": function() });
    let choice = json!({ "type": "function", "function": { "name": "add" } });
    let newer = chat(&story, json!({ "tools": [tool], "tool_choice": choice })).await;
    let newer = &newer["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(*newer, call);
    let turns = json!([
        { "role": "user", "content": "Once" },
        { "role": "assistant", "content": null, "function_call": call },
        { "role": "function", "name": "add", "content": "7" },
    ]);
    let rest = json!({ "functions": [function()], "function_call": "none", "messages": turns });
    let answer = chat(&story, rest).await;
    assert_eq!(answer["choices"][0]["message"].get("function_call"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_no_token_gets_none_and_finds_the_prompt_computed() {
    let story = Story::begin().await;
    let prompt = "Once upon a time there was a little dog who liked to play in the park.";
    let mut body = json!({ "model": "stories260k", "prompt": prompt, "max_tokens": 0, "n": 2 });
    let (status, answer) = story.call("/v1/completions", body.clone()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let tokens = answer["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(tokens > 16, "{answer}");
    assert_eq!(answer["usage"]["completion_tokens"], 0);
    for choice in answer["choices"].as_array().unwrap() {
        assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!(""), &json!("length")));
    }
    body["echo"] = true.into();
    let (_, echoed) = story.call("/v1/completions", body).await;
    assert_eq!(echoed["choices"][1]["text"], prompt);
    let more = json!({ "model": "stories260k", "prompt": prompt, "max_tokens": 1 });
    let (_, more) = story.call("/v1/completions", more).await;
    assert!(
        more["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap() > 0,
        "{more}"
    );
    let raw = json!({ "model": "stories260k", "prompt": prompt, "stream": false,
        "options": { "num_predict": 0 } });
    let (_, answer) = story.call("/api/generate", raw).await;
    assert_eq!((&answer["response"], &answer["eval_count"]), (&json!(""), &json!(0)), "{answer}");
    let context = answer["context"].as_array().unwrap().len() as u64;
    assert_eq!(context, answer["prompt_eval_count"].as_u64().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_thoughts_are_counted_exactly() {
    let thoughts = "{% if enable_thinking %}<think>{% endif %}{# </think> #}";
    let story = begin(&format!("{TEMPLATE}{thoughts}")).await;
    let thinking = json!({ "chat_template_kwargs": { "enable_thinking": true }, "max_tokens": 12 });
    let answer = chat(&story, thinking).await;
    let (message, usage) = (&answer["choices"][0]["message"], &answer["usage"]);
    assert!(message["reasoning_content"].is_string(), "{answer}");
    assert_eq!(usage["completion_tokens"], 12);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 12, "it thinks to the end");
    let plain = chat(&story, json!({ "max_tokens": 12, "reasoning_effort": "none" })).await;
    let details = &plain["usage"]["completion_tokens_details"];
    assert_eq!(*details, json!({ "reasoning_tokens": 0 }));
}
