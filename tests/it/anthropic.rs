//! Anthropic's dialect through the whole program.

use axum::http::StatusCode;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::story::Story;
use crate::structured::{TEMPLATE, begin};

fn body(change: Value) -> Value {
    let mut body = json!({
        "model": "stories260k", "max_tokens": 16, "temperature": 0, "system": "Be kind.",
        "messages": [{ "role": "user", "content": "Once upon a time" }],
    });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    body
}

async fn call(story: &Story, path: &str, body: Value) -> Value {
    let (status, answer) = story.call(path, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn events(story: &Story, body: Value) -> Vec<Value> {
    let mut stream = story.stream("/v1/messages", body).await;
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_what_v1_says_whole_and_streamed_and_is_counted_beforehand() {
    let story = Story::begin().await;
    let count =
        call(&story, "/v1/messages/count_tokens", body(json!({ "max_tokens": null }))).await;
    let message = call(&story, "/v1/messages", body(json!({}))).await;
    assert_eq!(message["usage"]["input_tokens"], count["input_tokens"], "{message}");
    assert_eq!(
        (&message["usage"]["output_tokens"], &message["stop_reason"]),
        (&json!(16), &json!("max_tokens"))
    );
    let chat = json!({ "model": "stories260k", "max_tokens": 16, "temperature": 0, "messages": [
        { "role": "system", "content": "Be kind." }, { "role": "user", "content": "Once upon a time" }]});
    let chat = call(&story, "/v1/chat/completions", chat).await;
    assert_eq!(message["content"][0]["text"], chat["choices"][0]["message"]["content"]);
    let streamed = events(&story, body(json!({ "stream": true }))).await;
    let said: String =
        streamed.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(message["content"][0]["text"], json!(said));
    assert_eq!(streamed[0]["type"], "message_start");
    assert_eq!(streamed[streamed.len() - 1]["type"], "message_stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_text_is_named() {
    let story = Story::begin().await;
    let whole = call(&story, "/v1/messages", body(json!({}))).await;
    let text = whole["content"][0]["text"].as_str().unwrap();
    let stop: String = text.chars().skip(6).take(4).collect();
    let stops = json!({ "stop_sequences": ["never this", stop] });
    let message = call(&story, "/v1/messages", body(stops)).await;
    assert_eq!(
        (&message["stop_reason"], &message["stop_sequence"]),
        (&json!("stop_sequence"), &json!(stop))
    );
    assert!(text.starts_with(message["content"][0]["text"].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_used_and_its_result_goes_back() {
    let story = begin(TEMPLATE).await;
    let tool = json!({ "name": "add", "description": "adds", "input_schema": {
        "type": "object", "required": ["value"], "additionalProperties": false,
        "properties": { "value": { "type": "integer", "minimum": 0, "maximum": 9 } } } });
    let asked = body(json!({
        "model": "caller", "max_tokens": 120, "tools": [tool], "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
        "thinking": { "type": "enabled", "budget_tokens": 1024 },
        "output_config": { "effort": "low" },
    }));
    let message = call(&story, "/v1/messages", asked.clone()).await;
    assert_eq!(message["stop_reason"], "tool_use", "{message}");
    let blocks = message["content"].as_array().unwrap();
    assert!(blocks.iter().all(|block| block["type"] == "tool_use" && block["name"] == "add"));
    assert!(blocks[0]["input"]["value"].as_u64().unwrap() <= 9);
    let mut streamed = asked.clone();
    streamed["stream"] = true.into();
    let streamed = events(&story, streamed).await;
    let of_first = |event: &&Value| event["index"] == 0;
    let parts =
        streamed.iter().filter(of_first).filter_map(|e| e["delta"]["partial_json"].as_str());
    let input: Value = serde_json::from_str(&parts.collect::<String>()).unwrap();
    assert_eq!(input, blocks[0]["input"]);
    let mut back = asked;
    back["tool_choice"] = json!({ "type": "none" });
    back["messages"] = json!([
        { "role": "user", "content": "Once" },
        { "role": "assistant", "content": blocks },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": blocks[0]["id"], "content": "7" }] },
    ]);
    let message = call(&story, "/v1/messages", back).await;
    assert_eq!(message["content"][0]["type"], "text");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_anthropics_shape() {
    let story = Story::begin().await;
    for (change, status, kind) in [
        (json!({ "model": "gone" }), StatusCode::NOT_FOUND, "not_found_error"),
        (json!({ "max_tokens": null }), StatusCode::BAD_REQUEST, "invalid_request_error"),
        (json!({ "messages": "x" }), StatusCode::BAD_REQUEST, "invalid_request_error"),
    ] {
        let (found, answer) = story.call("/v1/messages", body(change)).await;
        assert_eq!(found, status);
        assert_eq!((&answer["type"], &answer["error"]["type"]), (&json!("error"), &json!(kind)));
        assert!(answer["error"]["message"].is_string() && answer["request_id"].is_string());
    }
}
