//! What clients of `/v1beta` see: answers in three framings, errors in Google's shape, keys in the
//! address, and what a channel was not told.

use axum::http::StatusCode;
use hearth_gateway::Error;
use hearth_gateway::event::Event;
use hearth_store::{ChannelId, UserRole};
use serde_json::{Value, json};

use super::Fixture;
use super::scripted::{Script, started, text, whole};

fn asking() -> Option<Value> {
    Some(json!({ "contents": [{ "role": "user", "parts": [{ "text": "x" }] }] }))
}

#[tokio::test]
async fn an_answer_comes_whole_as_events_and_as_a_list() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    let ask = async |action: &str| {
        fixture.backend.then(whole(&["On", "ce"]));
        let path = format!("/v1beta/models/m:{action}");
        fixture.call(&token, "POST", &path, asking()).await
    };
    let answer = ask("generateContent").await.json();
    let candidate = &answer["candidates"][0];
    assert_eq!(candidate["content"], json!({ "parts": [{ "text": "Once" }], "role": "model" }));
    assert_eq!(candidate["finishReason"], "STOP");
    assert_eq!(answer["usageMetadata"]["totalTokenCount"], 5);

    let streamed = ask("streamGenerateContent?alt=sse").await;
    assert_eq!(streamed.headers["content-type"], "text/event-stream");
    let frames: Vec<Value> = streamed
        .text
        .trim_end()
        .split("\n\n")
        .map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    let listed = ask("streamGenerateContent").await;
    let list: Vec<Value> = serde_json::from_str(&listed.text).unwrap();
    for pieces in [frames, list] {
        let texts: Vec<&str> = pieces
            .iter()
            .filter_map(|piece| piece["candidates"][0]["content"]["parts"][0]["text"].as_str())
            .collect();
        assert_eq!(texts, ["On", "ce"]);
        assert_eq!(pieces.last().unwrap()["candidates"][0]["finishReason"], "STOP");
    }
    let counted = fixture.call(&token, "POST", "/v1beta/models/m:countTokens", asking()).await;
    assert_eq!(counted.json(), json!({ "totalTokens": 3 }));
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_an_error_in_its_framing() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    for query in ["?alt=sse", ""] {
        let broken = Err(Error::Internal("/secret/path broke".to_owned()));
        fixture.backend.then(Script::Say(vec![started(), text("Once"), broken]));
        let path = format!("/v1beta/models/m:streamGenerateContent{query}");
        let answer = fixture.call(&token, "POST", &path, asking()).await;
        assert!(!answer.text.contains("secret"));
        let last: Value = match query {
            "" => serde_json::from_str::<Vec<Value>>(&answer.text).unwrap().pop().unwrap(),
            _ => {
                let last = answer.text.trim_end().rsplit("\n\n").next().unwrap();
                serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap()
            }
        };
        assert_eq!(
            (&last["error"]["code"], &last["error"]["status"]),
            (&json!(500), &json!("INTERNAL"))
        );
    }
}

#[tokio::test]
async fn errors_have_googles_shape_and_keys_may_stand_in_the_address() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    let path = "/v1beta/models/m:generateContent";
    let answer = fixture.call("", "POST", path, asking()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.json()["error"]["status"], "UNAUTHENTICATED");
    let listed = fixture.call("", "GET", &format!("/v1beta/models?key={token}"), None).await;
    assert_eq!(listed.json()["models"][0]["name"], "models/m");
    // Only there: elsewhere an address is no place for a secret.
    let other = fixture.call("", "GET", &format!("/v1/models?key={token}"), None).await;
    assert_eq!(other.status, StatusCode::UNAUTHORIZED);
    for (path, body, status, word) in [
        ("/v1beta/models/m:predict", asking(), 404, "NOT_FOUND"),
        ("/v1beta/models/nope:generateContent", asking(), 404, "NOT_FOUND"),
        (path, Some(json!({ "contents": [] })), 400, "INVALID_ARGUMENT"),
        ("/v1beta/models/m:embedContent", Some(json!({})), 400, "INVALID_ARGUMENT"),
    ] {
        let answer = fixture.call(&token, "POST", path, body).await;
        let error = &answer.json()["error"];
        assert_eq!((&error["code"], &error["status"]), (&json!(status), &json!(word)), "{path}");
    }
}

#[tokio::test]
async fn what_a_channel_was_not_told_is_named_instead_of_what_models_here_do_not_know() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }],
        "store": true });
    fixture.backend.then(whole(&["Once"]));
    let here = fixture.call(&token, "POST", "/v1/chat/completions", Some(body.clone())).await;
    assert_eq!(here.headers["x-hearth-ignored"], "store");
    let Script::Say(mut events) = whole(&["Once"]) else { panic!("says") };
    let ignored = vec!["seed".to_owned()];
    events.insert(0, Ok(Event::Served { channel: ChannelId(1), ignored, drain_s: 0 }));
    fixture.backend.then(Script::Say(events));
    let there = fixture.call(&token, "POST", "/v1/chat/completions", Some(body)).await;
    assert_eq!(there.headers["x-hearth-ignored"], "seed");
}
