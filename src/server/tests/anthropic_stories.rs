//! What clients of `/v1/messages` and `/v1/responses` see when an answer breaks off, and without a
//! credential.

use axum::http::StatusCode;
use hearth_gateway::Error;
use hearth_store::UserRole;
use serde_json::{Value, json};

use super::Fixture;
use super::scripted::{Script, started, text, whole};

fn asking(change: Value) -> Option<Value> {
    let mut body =
        json!({ "model": "m", "max_tokens": 5, "messages": [{ "role": "user", "content": "x" }] });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    Some(body)
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_an_error_event() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    let broken = Err(Error::Internal("/secret/path broke".to_owned()));
    fixture.backend.then(Script::Say(vec![started(), text("Once"), broken]));
    let body = asking(json!({ "stream": true }));
    let answer = fixture.call(&token, "POST", "/v1/messages", body).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let frames: Vec<&str> = answer.text.trim_end().split("\n\n").collect();
    assert!(frames[0].starts_with("event: message_start\ndata: {"), "{}", answer.text);
    let last = frames[frames.len() - 1].strip_prefix("event: error\ndata: ").unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["error"]["type"], "api_error");
    assert!(!answer.text.contains("secret"));
}

#[tokio::test]
async fn what_cannot_be_kept_is_named_and_nobody_comes_in_without_a_credential() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    fixture.backend.then(whole(&["Once"]));
    let body = asking(json!({ "container": "c" }));
    let answer = fixture.call(&token, "POST", "/v1/messages", body.clone()).await;
    assert_eq!(answer.headers["x-hearth-ignored"], "container");
    assert_eq!(answer.json()["content"], json!([{ "type": "text", "text": "Once" }]));
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        let answer = fixture.call("", "POST", path, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.json()["error"]["type"], "authentication_error");
    }
    let busy = Error::Overloaded { retry_after: std::time::Duration::from_secs(3) };
    fixture.backend.then(Script::Refuse(busy));
    let answer = fixture.call(&token, "POST", "/v1/messages", asking(json!({}))).await;
    assert_eq!(answer.json()["error"]["type"], "overloaded_error");
    assert_eq!(answer.headers["retry-after"], "3");
}

#[tokio::test]
async fn a_response_that_breaks_off_ends_with_response_failed() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    let broken = Err(Error::Internal("/secret/path broke".to_owned()));
    fixture.backend.then(Script::Say(vec![started(), text("Once"), broken]));
    let body = Some(json!({ "model": "m", "input": "x", "stream": true }));
    let answer = fixture.call(&token, "POST", "/v1/responses", body).await;
    let frames: Vec<&str> = answer.text.trim_end().split("\n\n").collect();
    let last = frames[frames.len() - 1].strip_prefix("event: response.failed\ndata: ").unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["response"]["error"]["code"], "server_error");
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], "Once");
    assert!(!answer.text.contains("secret"));
}
