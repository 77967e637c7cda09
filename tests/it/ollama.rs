//! Ollama's dialect through the whole program: loads, counts, contexts and what is left out.

use axum::http::StatusCode;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::story::{Story, golden};

/// One call that must succeed.
async fn call(story: &Story, path: &str, body: Value) -> Value {
    let (status, answer) = story.call(path, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// A raw prompt, greedy.
fn raw(prompt: &Value, options: Value) -> Value {
    let mut all = json!({ "temperature": 0, "num_predict": 16 });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    json!({
        "model": "stories260k", "prompt": prompt, "raw": true, "stream": false, "options": all,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_prompt_is_continued_as_over_v1_and_every_time_is_measured() {
    let story = Story::begin().await;
    let prompt = &golden()[0]["prompt"];
    let wanted = story.complete("stories260k", prompt.clone(), 16).await;
    let answer = call(&story, "/api/generate", raw(prompt, json!({}))).await;
    assert_eq!(answer["response"], json!(wanted));
    assert_eq!((&answer["eval_count"], &answer["done_reason"]), (&json!(16), &json!("length")));
    for name in [
        "total_duration",
        "load_duration",
        "prompt_eval_count",
        "prompt_eval_duration",
        "eval_duration",
    ] {
        assert!(answer[name].as_u64().unwrap() > 0, "{name}: {answer}");
    }
    let parts = ["load_duration", "prompt_eval_duration", "eval_duration"];
    let parts: u64 = parts.iter().map(|name| answer[*name].as_u64().unwrap()).sum();
    assert!(parts <= answer["total_duration"].as_u64().unwrap(), "{answer}");
    assert_eq!(answer.get("context"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_goes_on_where_the_answer_ended() {
    let story = Story::begin().await;
    let options = json!({ "temperature": 0, "num_predict": 8 });
    let first = json!({
        "model": "stories260k", "prompt": "Once upon a time", "stream": false, "options": options,
    });
    let first = call(&story, "/api/generate", first).await;
    let context = first["context"].as_array().unwrap();
    let count = first["prompt_eval_count"].as_u64().unwrap() + 8;
    assert_eq!(context.len() as u64, count, "{first}");
    let second = json!({
        "model": "stories260k", "prompt": "And", "stream": false, "context": context,
        "options": options,
    });
    let second = call(&story, "/api/generate", second).await;
    let whole = second["context"].as_array().unwrap();
    assert_eq!(&whole[..context.len()], &context[..]);
    assert_eq!(whole.iter().filter(|id| **id == json!(1)).count(), 1, "one beginning");
    assert!(second["prompt_eval_count"].as_u64().unwrap() > count);
}

#[tokio::test(flavor = "multi_thread")]
async fn num_ctx_limits_a_request_and_loads_nothing_again() {
    let story = Story::begin().await;
    let prompt = &golden()[0]["prompt"];
    let first = call(&story, "/api/generate", raw(prompt, json!({}))).await;
    let tokens = first["prompt_eval_count"].as_u64().unwrap();
    for room in [3, 9] {
        let options = json!({ "num_ctx": tokens + room, "num_predict": 50 });
        let answer = call(&story, "/api/generate", raw(prompt, options)).await;
        assert_eq!(answer["eval_count"], json!(room), "{answer}");
        assert_eq!(answer["done_reason"], "length");
    }
    // Loaded again it would have computed nothing but the last prompt.
    let loads = call(&story, "/api/generate", raw(prompt, json!({ "num_ctx": 4096 }))).await;
    assert!(loads["load_duration"].as_u64().unwrap() < first["load_duration"].as_u64().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_is_too_long_loses_its_oldest_messages_and_says_so() {
    let story = Story::begin().await;
    let turn = |role: &str, content: &str| json!({ "role": role, "content": content });
    let mut messages = vec![turn("system", "Be kind.")];
    for at in 0..40 {
        messages.push(turn("user", &format!("Tell me story {at} of the little dog in the park.")));
        messages.push(turn("assistant", "It played with a ball."));
    }
    messages.push(turn("user", "Once upon a time"));
    let body = |change: Value| {
        let mut body = json!({
            "model": "stories260k", "messages": messages, "stream": false,
            "options": { "temperature": 0, "num_predict": 4 },
        });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    let answer = call(&story, "/api/chat", body(json!({}))).await;
    assert_eq!(answer["truncated"], true, "{answer}");
    let (kept, dropped) = (&answer["prompt_eval_count"], &answer["prompt_tokens_dropped"]);
    let (kept, dropped) = (kept.as_u64().unwrap(), dropped.as_u64().unwrap());
    assert!(kept <= 508 && kept > 400 && dropped > 500, "{answer}");
    let short = json!([messages[0], messages[messages.len() - 1]]);
    let alone = call(&story, "/api/chat", body(json!({ "messages": short }))).await;
    let narrow = json!({ "num_ctx": alone["prompt_eval_count"].as_u64().unwrap() + 5,
        "temperature": 0, "num_predict": 4 });
    let narrow = call(&story, "/api/chat", body(json!({ "options": narrow }))).await;
    assert_eq!(narrow["message"], alone["message"], "the system message and the last one are left");
    assert_eq!(alone.get("truncated"), None);
    let (status, refused) = story.call("/api/chat", body(json!({ "truncate": false }))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let error = refused["error"].as_str().unwrap();
    assert!(error.starts_with("the prompt is longer than the context length"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_message_that_is_too_long_keeps_its_end_and_says_so() {
    let story = Story::begin().await;
    let long = format!("{}Once upon a time", "There was a dog. ".repeat(400));
    let chat = |change: Value| {
        let mut body = json!({
            "model": "stories260k", "stream": false, "messages": [
                { "role": "system", "content": "Be kind." }, { "role": "user", "content": long },
            ],
            "options": { "temperature": 0, "num_predict": 4 },
        });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    let answer = call(&story, "/api/chat", chat(json!({}))).await;
    assert_eq!(answer["truncated"], true, "{answer}");
    let kept = answer["prompt_eval_count"].as_u64().unwrap();
    assert!((490..=508).contains(&kept), "all of the room is used: {kept}");
    assert!(answer["prompt_tokens_dropped"].as_u64().unwrap() > 1000, "{answer}");
    // Whatever stands before the end makes no difference: it is the end that is kept.
    let other = format!("It rained. {long}");
    let messages = json!([
        { "role": "system", "content": "Be kind." }, { "role": "user", "content": other },
    ]);
    let other = call(&story, "/api/chat", chat(json!({ "messages": messages }))).await;
    assert_eq!(other["message"], answer["message"]);
    let (status, _) = story.call("/api/chat", chat(json!({ "truncate": false }))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let system =
        json!([{ "role": "system", "content": long }, { "role": "user", "content": "Hi" }]);
    let (status, _) = story.call("/api/chat", chat(json!({ "messages": system }))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "what a system message says is never left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_too_long_loses_its_beginning_and_says_so() {
    let story = Story::begin().await;
    let long = json!("There was a dog. ".repeat(300));
    let answer = call(&story, "/api/generate", raw(&long, json!({}))).await;
    assert_eq!(answer["truncated"], true, "{answer}");
    assert_eq!(answer["prompt_eval_count"].as_u64().unwrap(), 512 - 16);
    let mut body = raw(&long, json!({}));
    body["truncate"] = false.into();
    let (status, _) = story.call("/api/generate", body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_come_and_go_by_empty_prompts() {
    let story = Story::begin().await;
    let running = || async {
        let answer = story.get("/api/ps").await;
        answer["models"].as_array().unwrap().clone()
    };
    assert!(running().await.is_empty());
    let load = json!({ "model": "stories260k", "keep_alive": -1 });
    assert_eq!(call(&story, "/api/generate", load).await["done_reason"], "load");
    let loaded = running().await;
    assert_eq!(loaded[0]["model"], "stories260k:latest");
    assert_eq!(loaded[0]["context_length"], 512);
    assert!(loaded[0]["expires_at"].as_str().unwrap() > "2100");
    assert_eq!(loaded[0]["digest"].as_str().unwrap().len(), 64);
    let unload = json!({ "model": "stories260k", "messages": [], "keep_alive": 0 });
    assert_eq!(call(&story, "/api/chat", unload).await["done_reason"], "unload");
    assert!(running().await.is_empty());
    let tags = story.get("/api/tags").await;
    let names: Vec<&str> =
        tags["models"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"stories260k:latest"), "{names:?}");
    assert_eq!(tags["models"][0]["details"]["family"], "llama");
    assert_eq!(tags["models"][0]["capabilities"], json!(["completion"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn thoughts_and_tools_that_a_model_lacks_are_refused_in_ollamas_words() {
    let story = Story::begin().await;
    let tool = json!({ "type": "function", "function": { "name": "f" } });
    for (change, words) in [
        (json!({ "think": true }), "\"stories260k\" does not support thinking"),
        (
            json!({ "tools": [tool] }),
            "registry.ollama.ai/library/stories260k:latest does not support tools",
        ),
    ] {
        let mut body = json!({
            "model": "stories260k", "messages": [{ "role": "user", "content": "x" }],
        });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, answer) = story.call("/api/chat", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(answer, json!({ "error": words }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_come_one_by_one_and_hold_json_that_a_schema_admits() {
    let story = Story::begin().await;
    let schema = json!({
        "type": "object", "required": ["n"], "additionalProperties": false,
        "properties": { "n": { "type": "integer", "minimum": 0, "maximum": 9 } },
    });
    let body = json!({
        "model": "stories260k", "messages": [{ "role": "user", "content": "Once" }],
        "format": schema, "options": { "num_predict": 60, "seed": 1 },
    });
    let mut stream = story.stream("/api/chat", body).await;
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 2, "{text}");
    assert!(lines[..lines.len() - 1].iter().all(|line| line["done"] == false));
    assert_eq!(lines[lines.len() - 1]["done"], true);
    let said: String =
        lines.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
    let value: Value = serde_json::from_str(&said).unwrap();
    assert!(value["n"].as_u64().unwrap() <= 9, "{said}");
}
