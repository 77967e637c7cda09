//! Tools, schemas and thoughts through the whole program, with a model that knows nothing of them.

use axum::http::StatusCode;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::story::{Story, models};

/// The template of a family that thinks and calls tools.
pub(crate) const TEMPLATE: &str = "{% if tools %}{% for tool in tools %}{{ tool | tojson }}{% endfor %}<tool_call>\
    {% endif %}{% for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls %}\
    {{ c.function.name }}({{ c.function.arguments.value }}){% endfor %}\n{% endfor %}";

/// A Hearth with stories260k under that template.
pub(crate) async fn begin(template: &str) -> Story {
    let story = Story::begin().await;
    let folder = story.folder.path().join("caller");
    std::fs::create_dir(&folder).unwrap();
    for entry in std::fs::read_dir(models().join("hf")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let path = folder.join("tokenizer_config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config["chat_template"] = template.into();
    std::fs::write(&path, config.to_string()).unwrap();
    let imported = story.import(&folder, "caller").await;
    assert!(imported.contains("event: imported"), "{imported}");
    story
}

fn tools() -> Value {
    let schema = json!({
        "type": "object", "required": ["value"], "additionalProperties": false,
        "properties": { "value": { "type": "integer", "minimum": 0, "maximum": 9 } },
    });
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name, "parameters": schema } });
    json!([tool("add"), tool("remove")])
}

async fn chat(story: &Story, change: Value) -> (StatusCode, Value) {
    let mut body = json!({
        "model": "caller", "max_tokens": 120, "seed": 1,
        "messages": [{ "role": "user", "content": "Once" }],
    });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    story.call("/v1/chat/completions", body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_asked_for_is_made_and_its_result_goes_back() {
    let story = begin(TEMPLATE).await;
    let named = json!({ "type": "function", "function": { "name": "remove" } });
    for (choice, names) in [(json!("required"), &["add", "remove"][..]), (named, &["remove"])] {
        let asked = json!({ "tools": tools(), "tool_choice": choice });
        let (status, answer) = chat(&story, asked).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let choice = &answer["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{answer}");
        assert_eq!(choice["message"]["content"], Value::Null);
        let calls = choice["message"]["tool_calls"].as_array().unwrap().clone();
        for call in &calls {
            let function = &call["function"];
            assert!(names.contains(&function["name"].as_str().unwrap()), "{call}");
            let arguments: Value =
                serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
            assert!(arguments["value"].as_u64().unwrap() <= 9, "{call}");
            assert_eq!(call["id"].as_str().unwrap().len(), 9);
        }
        let messages = json!([
            { "role": "user", "content": "Once" },
            { "role": "assistant", "content": null, "tool_calls": calls },
            { "role": "tool", "tool_call_id": calls[0]["id"], "content": "7" },
        ]);
        let (status, answer) =
            chat(&story, json!({ "messages": messages, "tools": tools() })).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_calls_gives_what_the_whole_answer_gives() {
    let story = begin(TEMPLATE).await;
    let rules =
        json!({ "tools": tools(), "tool_choice": "required", "parallel_tool_calls": false });
    let (_, answer) = chat(&story, rules.clone()).await;
    let whole = answer["choices"][0]["message"]["tool_calls"][0]["function"].clone();
    let mut body = rules;
    body["model"] = "caller".into();
    body["stream"] = true.into();
    body["seed"] = 1.into();
    body["max_tokens"] = 120.into();
    body["messages"] = json!([{ "role": "user", "content": "Once" }]);
    let bytes: Vec<_> = story.stream("/v1/chat/completions", body).await.collect().await;
    let text = String::from_utf8(bytes.concat()).unwrap();
    let (mut name, mut arguments, mut reason) = (String::new(), String::new(), Value::Null);
    for line in text.lines().filter_map(|line| line.strip_prefix("data: {")) {
        let chunk: Value = serde_json::from_str(&format!("{{{line}")).unwrap();
        let choice = &chunk["choices"][0];
        let function = &choice["delta"]["tool_calls"][0]["function"];
        name += function["name"].as_str().unwrap_or_default();
        arguments += function["arguments"].as_str().unwrap_or_default();
        if !choice["finish_reason"].is_null() {
            reason = choice["finish_reason"].clone();
        }
    }
    assert_eq!(json!({ "name": name, "arguments": arguments }), whole);
    assert_eq!(reason, "tool_calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_keep_the_format_that_was_asked_for() {
    let story = begin(TEMPLATE).await;
    let schema = json!({
        "type": "object", "required": ["color", "count"], "additionalProperties": false,
        "properties": { "color": { "enum": ["red", "blue"] }, "count": { "type": "integer",
            "minimum": -9_007_199_254_740_991_i64, "maximum": 9_007_199_254_740_991_i64 } },
    });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema, "strict": true } });
    let (status, answer) = chat(&story, json!({ "response_format": format, "n": 4 })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    for choice in answer["choices"].as_array().unwrap() {
        let value: Value =
            serde_json::from_str(choice["message"]["content"].as_str().unwrap()).unwrap();
        assert!(["red", "blue"].contains(&value["color"].as_str().unwrap()));
        // `-0` is an integer of JSON; serde keeps its sign by making it a float.
        let count = value["count"].as_f64().unwrap();
        assert!(count.fract() == 0.0 && count.abs() <= 9_007_199_254_740_991.0, "{value}");
    }
    let object = json!({ "response_format": { "type": "json_object" } });
    let (_, answer) = chat(&story, object).await;
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object()), "{text}");
    let (_, answer) = chat(&story, json!({ "guided_regex": "[ab]{3}", "logprobs": true })).await;
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.len() == 3 && text.bytes().all(|byte| b"ab".contains(&byte)), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_held_to_or_called_is_refused_with_the_reason() {
    let story = begin(TEMPLATE).await;
    let schema = json!({ "type": "integer", "minimum": 2, "maximum": 1 });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema } });
    for (change, words) in [
        (json!({ "response_format": format }), "grammar cannot be used"),
        (json!({ "guided_regex": "(" }), "regex"),
        (json!({ "guided_grammar": "start: nothing" }), "grammar cannot be used"),
        (json!({ "model": "stories260k", "tools": tools() }), "takes no tools"),
    ] {
        let (status, answer) = chat(&story, change.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{change}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{change}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thoughts_are_no_part_of_the_content() {
    let story = begin("<think></think>{{ messages[0].content }}<think>\n").await;
    let (status, answer) = chat(&story, json!({ "max_tokens": 20 })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["content"], "");
    assert!(message["reasoning_content"].as_str().unwrap().len() > 20, "{message}");
    let (_, answer) = chat(&story, json!({ "guided_choice": ["yes", "no"] })).await;
    let message = &answer["choices"][0]["message"];
    assert!(["yes", "no"].contains(&message["content"].as_str().unwrap()), "{message}");
}
