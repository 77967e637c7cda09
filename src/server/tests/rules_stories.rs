//! Kept answers and guards, as callers of each dialect meet them.

use hearth_store::UserRole;
use serde_json::json;

use super::scripted::whole;
use super::*;

fn asking(stream: bool) -> Option<Value> {
    let message = json!({ "role": "user", "content": "x" });
    Some(json!({ "model": "m", "messages": [message], "temperature": 0, "stream": stream }))
}

#[tokio::test]
async fn a_kept_answer_says_so_and_is_told_in_the_dialect_that_asks() {
    let it = Fixture::new();
    let admin = it.token("ann", UserRole::Admin).await;
    let rules = json!({ "rules": [{ "max_age_s": 60 }] });
    let set = it.call(&admin, "PUT", "/hearth/cache", Some(rules)).await;
    assert_eq!(set.json()["rules"][0]["shared"], false, "{}", set.text);
    it.backend.then(whole(&["Once", " upon"]));
    let path = "/v1/chat/completions";
    let first = it.call(&admin, "POST", path, asking(false)).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text);
    assert_eq!(first.headers["x-hearth-cache"], "miss");
    let again = it.call(&admin, "POST", path, asking(true)).await;
    assert_eq!(again.headers["x-hearth-cache"], "hit", "{}", again.text);
    assert_eq!(again.headers["content-type"], "text/event-stream");
    assert!(again.text.contains("Once") && again.text.ends_with("data: [DONE]\n\n"));
    let in_ollamas = json!({
        "model": "m", "messages": [{ "role": "user", "content": "x" }], "stream": false,
        "options": { "temperature": 0 },
    });
    it.backend.then(whole(&["Once", " upon"]));
    let other = it.call(&admin, "POST", "/api/chat", Some(in_ollamas)).await;
    assert_eq!(other.json()["message"]["content"], "Once upon");
    assert!(other.headers.contains_key("x-hearth-cache"));
    let cleared = it.call(&admin, "DELETE", "/hearth/cache", None).await.json();
    assert!(cleared["forgotten"].as_u64().unwrap() >= 1, "{cleared}");
    let user = it.token("bob", UserRole::User).await;
    assert_eq!(it.call(&user, "GET", "/hearth/cache", None).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_blocked_request_is_refused_in_each_dialects_words() {
    let it = Fixture::new();
    let admin = it.token("ann", UserRole::Admin).await;
    let rule = json!({ "name": "word", "find": { "keywords": ["heron"] }, "action": "block" });
    let rules = json!({ "rules": [rule] });
    let set = it.call(&admin, "PUT", "/hearth/guards", Some(rules)).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    let chat = json!({
        "model": "m", "max_tokens": 5, "messages": [{ "role": "user", "content": "a heron" }],
    });
    let gemini = json!({ "contents": [{ "role": "user", "parts": [{ "text": "a heron" }] }] });
    for (path, body, pointer, expected) in [
        ("/v1/chat/completions", &chat, "/error/code", json!("content_filter")),
        ("/v1/messages", &chat, "/error/type", json!("invalid_request_error")),
        ("/v1beta/models/m:generateContent", &gemini, "/error/status", json!("INVALID_ARGUMENT")),
        ("/api/chat", &chat, "/nothing", Value::Null),
    ] {
        let refused = it.call(&admin, "POST", path, Some(body.clone())).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}: {}", refused.text);
        let found = refused.json().pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(found, expected, "{path}: {}", refused.text);
        assert!(refused.text.contains("`word`") && !refused.text.contains("heron"));
    }
    let embed = json!({ "model": "m", "input": ["fine", "HERON"] });
    let refused = it.call(&admin, "POST", "/v1/embeddings", Some(embed)).await;
    assert_eq!(refused.code(), "content_filter", "{}", refused.text);
}

#[tokio::test]
async fn a_call_that_has_come_through_too_many_hearths_is_refused() {
    let it = Fixture::new();
    let token = it.token("ann", UserRole::User).await;
    let path = (0..8).map(|it| format!("h{it}")).collect::<Vec<_>>().join(",");
    let mut asked = request(&token, "POST", "/v1/chat/completions", asking(false));
    asked.headers_mut().insert("x-hearth-path", path.parse().unwrap());
    let refused = it.send(asked).await;
    assert_eq!(refused.status, StatusCode::LOOP_DETECTED, "{}", refused.text);
    assert_eq!(refused.code(), "loop_detected");
}
