//! Channels over HTTP: made by an admin, used in every dialect, ended in every dialect.

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use serde_json::json;

use super::*;

const KEY: &str = "sk-upstream-0123456789";

/// A provider of OpenAI's dialect: `half` breaks off after a word, all else is answered `far`.
async fn upstream() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    let models = || async { Json(json!({ "object": "list", "data": [{ "id": "far" }] })) };
    let router = Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(complete));
    tokio::spawn(async move { axum::serve(listener, router).await });
    base_url
}

async fn complete(headers: HeaderMap, Json(body): Json<Value>) -> Response {
    assert_eq!(headers["authorization"], format!("Bearer {KEY}"));
    let delta = |delta: Value, reason: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
        let chunk = json!({ "id": "c", "object": "chat.completion.chunk", "created": 1,
            "model": "x", "choices": [choice], "usage": null });
        format!("data: {chunk}\n\n")
    };
    let usage = json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "x",
        "choices": [], "usage": { "prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6 } });
    let mut pieces: Vec<std::result::Result<Bytes, std::io::Error>> =
        vec![Ok(delta(json!({ "content": "far" }), Value::Null).into())];
    if body["model"] == "half" {
        pieces.push(Err(std::io::Error::other("gone")));
    } else {
        let end = delta(json!({}), json!("stop"));
        pieces.push(Ok(format!("{end}data: {usage}\n\ndata: [DONE]\n\n").into()));
    }
    // One after the other, so that the first is on its way before the break.
    let stream = futures_util::stream::iter(pieces).then(|piece| async {
        tokio::task::yield_now().await;
        piece
    });
    let kind = [("content-type", "text/event-stream")];
    (kind, Body::from_stream(stream)).into_response()
}

fn channel(base_url: &str) -> Value {
    json!({
        "name": "cloud", "type": "openai-compatible", "base_url": base_url, "keys": [KEY],
        "settings": {
            "models": ["far", "half"], "network": { "allow_private": ["127.0.0.1"] },
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_makes_a_channel_and_nobody_sees_its_key() {
    let it = Fixture::new();
    let admin = it.token("ann", UserRole::Admin).await;
    let user = it.token("bob", UserRole::User).await;
    let base_url = upstream().await;
    let made = it.call(&admin, "POST", "/hearth/channels", Some(channel(&base_url))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let path = format!("/hearth/channels/{}", made.json()["channel"]["id"]);
    assert!(!made.text.contains("upstream-0123"), "{}", made.text);
    let taken = it.call(&admin, "POST", "/hearth/channels", Some(channel(&base_url))).await;
    assert_eq!((taken.status, taken.code().as_str()), (StatusCode::CONFLICT, "name_taken"));

    let tested = it.call(&admin, "POST", &format!("{path}/test"), Some(json!({}))).await.json();
    assert_eq!(tested["test"]["ok"], true, "{tested}");
    assert_eq!(tested["test"]["list"]["models"], json!(["far"]));
    let patch = json!({ "priority": 3 });
    let changed = it.call(&admin, "PATCH", &path, Some(patch)).await.json();
    assert_eq!(changed["channel"]["priority"], 3);
    for (method, path, body) in [
        ("GET", "/hearth/channels", None),
        ("GET", path.as_str(), None),
        ("PATCH", path.as_str(), Some(json!({}))),
        ("DELETE", path.as_str(), None),
        ("POST", "/hearth/channels", Some(json!({}))),
        ("GET", "/hearth/routes", None),
        ("POST", "/hearth/secrets/rotate", Some(json!({}))),
    ] {
        let answer = it.call(&user, method, path, body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
    }
    for bad in [
        json!({}),
        json!({ "name": "x", "type": "nothing" }),
        json!({ "name": "x", "type": "openai-compatible", "base_url": "http://169.254.169.254/" }),
        json!({ "name": "x", "type": "openai", "settings": { "models": [1] } }),
    ] {
        let refused = it.call(&admin, "POST", "/hearth/channels", Some(bad.clone())).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{bad}: {}", refused.text);
    }
    let gone = it.call(&admin, "DELETE", &path, None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(it.call(&admin, "GET", &path, None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dialect_reaches_a_channel_and_its_models_are_on_offer() {
    let it = Fixture::new();
    let admin = it.token("ann", UserRole::Admin).await;
    let user = it.token("bob", UserRole::User).await;
    it.call(&admin, "POST", "/hearth/channels", Some(channel(&upstream().await))).await;
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let asked = json!({ "model": "far", "messages": messages, "max_tokens": 9 });
    let chat = it.call(&user, "POST", "/v1/chat/completions", Some(asked.clone())).await;
    assert_eq!(chat.json()["choices"][0]["message"]["content"], "far", "{}", chat.text);
    assert_eq!(chat.json()["usage"]["prompt_tokens"], 4);
    let claude = it.call(&user, "POST", "/v1/messages", Some(asked.clone())).await.json();
    assert_eq!(claude["content"][0]["text"], "far", "{claude}");
    let mut ollama = asked.clone();
    ollama["stream"] = json!(false);
    let ollama = it.call(&user, "POST", "/api/chat", Some(ollama)).await.json();
    assert_eq!(ollama["message"]["content"], "far", "{ollama}");
    let input = json!({ "model": "far", "input": "hi" });
    let responses = it.call(&user, "POST", "/v1/responses", Some(input)).await;
    assert!(responses.text.contains("far"), "{}", responses.text);

    let listed = it.call(&user, "GET", "/v1/models", None).await;
    assert!(listed.text.contains("\"far\""), "{}", listed.text);
    let models = it.call(&user, "GET", "/hearth/models", None).await.json();
    let far = models["models"].as_array().unwrap().iter().find(|model| model["name"] == "far");
    assert_eq!(far.unwrap()["source"], "remote");
    let tags = it.call(&admin, "GET", "/api/tags", None).await.json();
    let far = tags["models"].as_array().unwrap().iter().find(|model| model["name"] == "far");
    assert_eq!(far.unwrap()["remote_host"], "channel", "{tags}");
    let metrics = it.call(&admin, "GET", "/metrics", None).await.text;
    assert!(metrics.contains("hearth_channel_answers_total{channel=\"cloud\"} 4"), "{metrics}");
    let of_model = "hearth_channel_model_answers_total{channel=\"cloud\",model=\"far\"}";
    assert!(metrics.contains(of_model), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_ends_in_each_dialects_own_way() {
    let it = Fixture::new();
    let admin = it.token("ann", UserRole::Admin).await;
    it.call(&admin, "POST", "/hearth/channels", Some(channel(&upstream().await))).await;
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let asked = json!({ "model": "half", "messages": messages, "max_tokens": 9, "stream": true });
    let chat = it.call(&admin, "POST", "/v1/chat/completions", Some(asked.clone())).await.text;
    assert!(chat.contains("far") && chat.contains("\"error\""), "{chat}");
    assert!(chat.trim_end().ends_with("data: [DONE]"), "{chat}");
    let claude = it.call(&admin, "POST", "/v1/messages", Some(asked.clone())).await.text;
    assert!(claude.contains("far") && claude.contains("event: error"), "{claude}");
    let ollama = it.call(&admin, "POST", "/api/chat", Some(asked.clone())).await.text;
    assert!(ollama.contains("far") && ollama.contains("\"error\""), "{ollama}");
    let mut whole = asked;
    whole["stream"] = json!(false);
    let whole = it.call(&admin, "POST", "/v1/chat/completions", Some(whole)).await;
    assert_eq!(whole.status, StatusCode::BAD_GATEWAY, "half an answer is none: {}", whole.text);
}
