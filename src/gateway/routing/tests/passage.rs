//! Requests that pass through: to a channel that has the model and the route, and back as they are.

use std::sync::Arc;

use bytes::Bytes;

use super::upstream::{Reply, event, refusal};
use super::*;
use crate::error::Fault;
use crate::passage::{FormPart, PassBody, PassKind, PassRequest, PassRoute, Passage, Piece};

fn drawing(model: &str) -> PassRequest {
    let Value::Object(members) = json!({ "model": model, "prompt": "a cat", "odd": [1] }) else {
        panic!("an object")
    };
    let (id, model) = (RequestId("r".to_owned()), model.to_owned());
    PassRequest { id, model, route: PassRoute::Images, body: PassBody::Json(Arc::new(members)) }
}

fn recording(model: &str) -> PassRequest {
    let part = |name: &str, file: Option<&str>, bytes: &'static [u8]| FormPart {
        name: name.to_owned(),
        file_name: file.map(str::to_owned),
        mime: file.map(|_| "audio/wav".to_owned()),
        bytes: Bytes::from_static(bytes),
    };
    let parts = [
        part("file", Some("ä b.wav"), b"RIFF\r\n--x"),
        part("timestamp_granularities[]", None, b"word"),
    ];
    let (id, model) = (RequestId("r".to_owned()), model.to_owned());
    let body = PassBody::Form(parts.into());
    PassRequest { id, model, route: PassRoute::Transcriptions, body }
}

/// What came back: the text of it, and how it ended.
async fn read(mut passage: Passage) -> (String, Result<Usage>) {
    let mut text = String::new();
    loop {
        match passage.pieces.recv().await.expect("an end") {
            Ok(Piece::Bytes(bytes)) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
            Ok(Piece::Done(usage)) => return (text, Ok(usage)),
            Err(error) => return (text, Err(error)),
        }
    }
}

fn raw(mime: &str, body: &str) -> Reply {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {mime}\r\ncontent-length: {length}\r\n");
    Reply::Raw(format!("{head}\r\n{body}").into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_goes_on_as_it_is_with_the_channels_own_name_of_the_model() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    let change = json!({ "settings": { "model_mapping": { "m": "gpt-image-1" } } });
    let channel = it.channel("one", &one.base_url, change).await;
    let body = json!({
        "created": 1, "data": [{ "b64_json": "AA" }],
        "usage": { "input_tokens": 9, "output_tokens": 7, "total_tokens": 16 },
    });
    one.then(Reply::Whole(200, "", body.to_string()));
    let passage = it.board.pass(None, drawing("m")).await.unwrap();
    assert_eq!((passage.channel, &passage.kind), (channel.id, &PassKind::Json));
    let (text, usage) = read(passage).await;
    let usage = usage.unwrap();
    assert_eq!(text, body.to_string());
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (9, 7));
    let seen = &one.seen()[0];
    assert!(seen.head.starts_with("POST /v1/images/generations "), "{}", seen.head);
    assert_eq!(seen.body, json!({ "model": "gpt-image-1", "prompt": "a cat", "odd": [1] }));

    one.then(raw("text/plain; charset=utf-8", "hello"));
    let passage = it.board.pass(None, recording("m")).await.unwrap();
    assert_eq!(read(passage).await.0, "hello");
    let seen = &one.seen()[1];
    assert!(seen.head.starts_with("POST /v1/audio/transcriptions "), "{}", seen.head);
    assert!(seen.head.contains("multipart/form-data; boundary="), "{}", seen.head);
    for part in [
        "name=\"model\"\r\n\r\ngpt-image-1\r\n",
        "name=\"file\"; filename=\"ä b.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n--x\r\n",
        "name=\"timestamp_granularities[]\"\r\n\r\nword\r\n",
    ] {
        assert!(seen.text.contains(part), "{part} in {}", seen.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn until_the_first_piece_another_key_and_another_channel_may_answer() {
    let it = Fixture::new();
    let (one, two) = (Upstream::new("one").await, Upstream::new("two").await);
    let keys = json!({ "priority": 1, "keys": ["sk-first-0123456789", "sk-second-0123456789"] });
    it.channel("one", &one.base_url, keys).await;
    it.channel("two", &two.base_url, json!({})).await;
    one.then(Reply::Whole(400, "", refusal("'prompt' is too rude", "content_policy_violation")));
    let refused = it.board.pass(None, drawing("m")).await.unwrap_err();
    assert!(matches!(refused, Error::Upstream { fault: Fault::Content, .. }), "{refused:?}");
    assert!(two.seen().is_empty(), "nobody else is asked");
    let good = || Reply::Whole(200, "", json!({ "created": 1, "data": [] }).to_string());
    one.then(Reply::Whole(401, "", refusal("Incorrect API key", "invalid_api_key")));
    one.then(good());
    let (_, usage) = read(it.board.pass(None, drawing("m")).await.unwrap()).await;
    assert!(usage.unwrap().is_estimated);
    for failure in [
        Reply::Whole(500, "", "oh".to_owned()),
        Reply::Whole(200, "", refusal("overloaded", "overloaded")),
        Reply::Whole(200, "", "{\"created\":".to_owned()),
        raw("text/html", "<h1>Bad gateway</h1>"),
        Reply::Reset(Vec::new()),
    ] {
        one.then(failure);
        two.then(good());
        let passage = it.board.pass(None, drawing("m")).await.unwrap();
        assert_eq!(read(passage).await.0, json!({ "created": 1, "data": [] }).to_string());
    }
    assert_eq!(two.seen().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_after_its_first_piece_is_an_error_and_one_that_nobody_reads_ends()
{
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.channel("one", &one.base_url, json!({ "settings": { "timeouts": { "idle_ms": 50 } } }))
        .await;
    let delta = || event(&json!({ "type": "transcript.text.delta", "delta": "hal" }));
    for reply in [Reply::Stream(vec![delta()]), Reply::Reset(vec![delta()])] {
        one.then(reply);
        let (text, end) = read(it.board.pass(None, recording("m")).await.unwrap()).await;
        assert!(text.contains("event: transcript.text.delta\n") && text.contains("hal"), "{text}");
        assert!(matches!(end, Err(Error::Upstream { fault: Fault::Broken, .. })), "{end:?}");
    }
    one.then(Reply::Hang(vec![delta()]));
    let (_, end) = read(it.board.pass(None, recording("m")).await.unwrap()).await;
    assert!(matches!(end, Err(Error::Upstream { fault: Fault::TimedOut, .. })), "{end:?}");
    one.wait_for_gone(1).await;
    one.then(Reply::Flood);
    let refused = it.board.pass(None, recording("m")).await;
    drop(refused);
    one.wait_for_gone(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_who_does_not_have_the_route_and_nothing_leaves_a_local_only_model() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.here.has("here");
    let change = json!({ "type": "anthropic", "settings": { "models": ["m", "here"] } });
    it.channel("one", &one.base_url, change).await;
    it.route("here", json!({ "policy": "local-only" })).await;
    for model in ["m", "here"] {
        let refused = it.board.pass(None, drawing(model)).await.unwrap_err();
        let said = refused.to_string();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
        assert!(said.contains(model) && said.contains("/v1/images/generations"), "{said}");
    }
    let absent = it.board.pass(None, drawing("x")).await.unwrap_err();
    assert!(matches!(absent, Error::NoModel(_)), "{absent:?}");
    assert_eq!(one.connections(), 0);
}
