//! Providers that want more than a key in a header: signatures of Amazon's, and access tokens of
//! Google's.

use super::upstream::{Reply, Upstream};
use super::*;
use crate::channels::account_file;
use crate::wire::frame;

fn raw(status: u16, mime: &str, body: &[u8]) -> Reply {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {mime}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    );
    Reply::Raw([head.as_bytes(), body].concat())
}

fn frames(text: &str) -> Vec<u8> {
    let delta = json!({ "contentBlockIndex": 0, "delta": { "text": text } });
    let usage = json!({ "usage": { "inputTokens": 3, "outputTokens": 4, "totalTokens": 7 } });
    [
        frame("event", "messageStart", r#"{"role":"assistant"}"#),
        frame("event", "contentBlockDelta", &delta.to_string()),
        frame("event", "messageStop", r#"{"stopReason":"end_turn"}"#),
        frame("event", "metadata", &usage.to_string()),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_bedrock_is_signed_and_its_frames_are_read() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    let model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
    let change = json!({
        "type": "bedrock-converse",
        "base_url": one.base_url.trim_end_matches("/v1"),
        "keys": ["AKIDEXAMPLE|secret/key+0123456789|eu-central-1"],
        "settings": { "model_mapping": { "m": model } },
    });
    it.channel("one", &one.base_url, change).await;
    one.then(raw(200, "application/vnd.amazon.eventstream", &frames("hello")));
    let said = it.say("m").await;
    assert_eq!((said.text.as_str(), said.error), ("hello", None));
    assert_eq!(said.usage.map(|usage| usage.completion_tokens), Some(4));
    let head = one.seen()[0].head.to_ascii_lowercase();
    let path = "post /model/us.anthropic.claude-sonnet-4-5-20250929-v1%3a0/converse-stream ";
    assert!(head.starts_with(path), "{head}");
    let proof = "authorization: aws4-hmac-sha256 credential=akidexample/";
    assert!(head.contains(proof) && head.contains("/eu-central-1/bedrock/aws4_request"), "{head}");
    assert!(head.contains("x-amz-date: ") && !head.contains("secret"), "{head}");
    assert_eq!(head.matches("\r\nhost: ").count(), 1, "{head}");
    // Refused by the front, and with an exception in place of the first word.
    let refused = json!({ "message": "The security token included in the request is invalid." });
    one.then(raw(403, "application/json", refused.to_string().as_bytes()));
    assert!(it.ask("m").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_before_the_first_word_goes_to_the_next_channel() {
    let it = Fixture::new();
    let (one, two) = (Upstream::new("one").await, Upstream::new("two").await);
    let change = json!({
        "type": "bedrock-converse", "priority": 1, "keys": ["a-bedrock-api-key"],
        "base_url": one.base_url.trim_end_matches("/v1"),
    });
    it.channel("one", &one.base_url, change).await;
    it.channel("two", &two.base_url, json!({})).await;
    let bytes = [
        frame("event", "messageStart", r#"{"role":"assistant"}"#),
        frame("exception", "throttlingException", r#"{"message":"Too many"}"#),
    ];
    one.then(raw(200, "application/vnd.amazon.eventstream", &bytes.concat()));
    assert_eq!(it.say("m").await.text, "two");
    let head = one.seen()[0].head.to_ascii_lowercase();
    assert!(head.contains("authorization: bearer a-bedrock-api-key"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_access_token_serves_many_requests_until_it_expires() {
    let it = Fixture::new();
    let (one, tokens) = (Upstream::new("one").await, Upstream::new("tokens").await);
    let account = account_file(&format!("{}/token", tokens.base_url));
    let change = json!({
        "type": "vertex-anthropic", "keys": [account],
        "base_url": format!("{}/projects/p/locations/l/publishers/anthropic", one.base_url),
    });
    it.channel("one", &one.base_url, change).await;
    let granted = |token: &str, lasts: u64| {
        let body = json!({ "access_token": token, "expires_in": lasts, "token_type": "Bearer" });
        Reply::Whole(200, "", body.to_string())
    };
    let message = json!({
        "type": "message", "content": [{ "type": "text", "text": "hi" }],
        "stop_reason": "end_turn", "usage": { "input_tokens": 1, "output_tokens": 1 },
    });
    let said = || Reply::Whole(200, "", message.to_string());
    tokens.then(granted("first", 3600));
    (0..8).for_each(|_| one.then(said()));
    let asked = (0..8).map(|_| it.say("m"));
    for said in futures_util::future::join_all(asked).await {
        assert_eq!((said.text.as_str(), said.error), ("hi", None));
    }
    assert_eq!(tokens.seen().len(), 1, "fetched once for all");
    let seen = &tokens.seen()[0];
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    assert!(seen.text.starts_with(grant), "{}", seen.text);
    for seen in one.seen() {
        assert!(seen.head.contains("Bearer first"), "{}", seen.head);
        assert!(seen.head.contains("/publishers/anthropic/models/m:streamRawPredict "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_gets_no_token_is_a_refused_key_and_no_address_is_reached_that_is_private()
{
    let it = Fixture::new();
    let (one, tokens) = (Upstream::new("one").await, Upstream::new("tokens").await);
    let channel = |name: &'static str, token_uri: String| {
        json!({
            "name": name, "type": "vertex", "keys": [account_file(&token_uri)],
            "base_url": format!("{}/publishers/google", one.base_url),
        })
    };
    it.channel("one", &one.base_url, channel("one", format!("{}/token", tokens.base_url))).await;
    let refused =
        json!({ "error": "invalid_grant", "error_description": "Invalid JWT Signature." });
    tokens.then(Reply::Whole(400, "", refused.to_string()));
    let error = it.ask("m").await.unwrap_err();
    assert!(matches!(error, Error::Upstream { .. }), "{error:?}");
    assert!(!error.to_string().contains("JWT"), "{error}");
    let view = it.channels.list(&Caller::operator()).unwrap().remove(0);
    let other = channel("two", "http://169.254.169.254/token".to_owned());
    it.channels.remove(&Caller::operator(), view.id).await.unwrap();
    it.channel("two", &one.base_url, other).await;
    assert!(it.ask("m").await.is_err());
    assert_eq!(one.connections(), 0, "nothing is asked without a token");
    for bad in ["{}", "{\"client_email\":\"x\",\"private_key\":\"y\"}"] {
        let mut spec = channel("three", String::new());
        spec["keys"] = json!([bad]);
        spec["settings"] = json!({ "network": { "allow_private": ["127.0.0.1"] } });
        let spec = serde_json::from_value(spec).unwrap();
        assert!(it.channels.create(&Caller::operator(), spec).await.is_err(), "{bad}");
    }
}
