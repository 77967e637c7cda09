//! `/v1/responses` through the whole program.

use axum::http::StatusCode;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::story::Story;
use crate::structured::{TEMPLATE, begin};

async fn call(story: &Story, body: Value) -> Value {
    let (status, answer) = story.call("/v1/responses", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_what_a_chat_says_whole_and_streamed() {
    let story = Story::begin().await;
    let mut body = json!({
        "model": "stories260k", "instructions": "Be kind.", "input": "Once upon a time",
        "max_output_tokens": 16, "temperature": 0,
    });
    let whole = call(&story, body.clone()).await;
    assert_eq!(
        (&whole["status"], &whole["usage"]["output_tokens"]),
        (&json!("incomplete"), &json!(16))
    );
    let chat = json!({ "model": "stories260k", "max_tokens": 16, "temperature": 0, "messages": [
        { "role": "system", "content": "Be kind." }, { "role": "user", "content": "Once upon a time" }]});
    let (_, chat) = story.call("/v1/chat/completions", chat).await;
    let said = &whole["output"][0]["content"][0]["text"];
    assert_eq!(*said, chat["choices"][0]["message"]["content"]);
    body["stream"] = true.into();
    let mut stream = story.stream("/v1/responses", body).await;
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
    let of_text = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    let deltas: String = of_text.map(|event| event["delta"].as_str().unwrap()).collect();
    assert_eq!(json!(deltas), *said);
    assert_eq!(events[events.len() - 1]["type"], "response.incomplete");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_called_and_its_output_goes_back() {
    let story = begin(TEMPLATE).await;
    let tool = json!({ "type": "function", "name": "add", "parameters": {
        "type": "object", "required": ["value"], "additionalProperties": false,
        "properties": { "value": { "type": "integer", "minimum": 0, "maximum": 9 } } } });
    let body = |input: Value, choice: &str| {
        json!({ "model": "caller", "input": input, "tools": [tool], "tool_choice": choice,
            "parallel_tool_calls": false, "max_output_tokens": 120, "temperature": 0 })
    };
    let answer = call(&story, body(json!("Once"), "required")).await;
    let item = &answer["output"][0];
    assert_eq!((&item["type"], &answer["status"]), (&json!("function_call"), &json!("completed")));
    let arguments: Value = serde_json::from_str(item["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["value"].as_u64().unwrap() <= 9);
    let input = json!([
        { "role": "user", "content": "Once" },
        item,
        { "type": "function_call_output", "call_id": item["call_id"], "output": "7" },
    ]);
    assert_eq!(call(&story, body(input, "none")).await["output"][0]["type"], "message");
}
