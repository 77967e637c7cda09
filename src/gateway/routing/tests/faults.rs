//! Providers that fail: nobody notices while another one is well.

use super::upstream::{Reply, answer, chunk, event, refusal};
use super::*;
use crate::error::Fault;

#[tokio::test(flavor = "multi_thread")]
async fn with_three_of_four_channels_dead_no_request_fails() {
    let it = Fixture::new();
    let well = Upstream::new("well").await;
    let (broken, silent) = (Upstream::new("broken").await, Upstream::new("silent").await);
    let short = json!({ "settings": { "timeouts": { "first_byte_ms": 50 } } });
    it.channel("nobody", &Upstream::nobody().await, json!({})).await;
    it.channel("broken", &broken.base_url, json!({})).await;
    it.channel("silent", &silent.base_url, short).await;
    it.channel("well", &well.base_url, json!({})).await;
    for round in 0..60 {
        let failures = [
            Reply::Whole(500, "", "oh".to_owned()),
            Reply::Whole(503, "", refusal("overloaded", "overloaded")),
            Reply::Reset(Vec::new()),
            Reply::Stream(vec![event(&json!({ "error": { "message": "in a stream" } }))]),
        ];
        broken.then(failures[round % 4].clone());
        silent.then(Reply::Silence);
        let said = it.say("m").await;
        assert_eq!((said.text.as_str(), said.error), ("well", None), "round {round}");
    }
    assert!(broken.seen().len() < 30, "the breaker keeps requests away: {}", broken.seen().len());
    assert!(silent.seen().len() < 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_come_in_order_and_each_is_exhausted_before_the_next() {
    let it = Fixture::new();
    let (first, second, last) =
        (Upstream::new("a").await, Upstream::new("b").await, Upstream::new("last").await);
    it.channel("last", &last.base_url, json!({ "priority": -1 })).await;
    it.channel("a", &first.base_url, json!({ "priority": 5 })).await;
    it.channel("b", &second.base_url, json!({ "priority": 5 })).await;
    assert!(["a", "b"].contains(&it.say("m").await.text.as_str()));
    for upstream in [&first, &second] {
        upstream.then(Reply::Whole(502, "", String::new()));
    }
    assert_eq!(it.say("m").await.text, "last");
    assert_eq!(first.seen().len() + second.seen().len(), 3, "each was asked once more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_place_of_the_first_event_goes_to_the_next_channel() {
    let it = Fixture::new();
    let (one, two) = (Upstream::new("one").await, Upstream::new("two").await);
    it.channel("one", &one.base_url, json!({ "priority": 1 })).await;
    it.channel("two", &two.base_url, json!({})).await;
    let role = event(&json!({
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{ "index": 0, "delta": { "role": "assistant", "content": "" } }],
    }));
    let error = event(&json!({ "error": { "message": "Overloaded", "type": "overloaded" } }));
    one.then(Reply::Stream(vec![role, error]));
    let said = it.say("m").await;
    assert_eq!((said.text.as_str(), said.error), ("two", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_an_error_and_is_not_begun_again() {
    let it = Fixture::new();
    let (one, two) = (Upstream::new("one").await, Upstream::new("two").await);
    let channel = it.channel("one", &one.base_url, json!({ "priority": 1 })).await;
    it.channel("two", &two.base_url, json!({})).await;
    let error = event(&json!({ "error": { "message": "Overloaded" } }));
    for reply in [
        Reply::Reset(vec![chunk("half")]),
        Reply::Stream(vec![chunk("half")]),
        Reply::Stream(vec![chunk("half"), error]),
        Reply::Stream(vec![chunk("half"), b"data: {nonsense\n\n".to_vec()]),
    ] {
        one.then(reply);
        let said = it.say("m").await;
        assert_eq!(said.text, "half");
        let broken = matches!(said.error, Some(Error::Upstream { fault: Fault::Broken, .. }));
        assert!(broken, "{:?}", said.error);
        assert_eq!(said.usage, None);
    }
    assert!(two.seen().is_empty(), "two halves make no answer");
    assert_eq!(it.show(channel.id).stats.unwrap().all.failures, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stops_coming_is_ended() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    let short = json!({ "settings": { "timeouts": { "idle_ms": 50 } } });
    it.channel("one", &one.base_url, short).await;
    one.then(Reply::Hang(vec![chunk("half")]));
    let said = it.say("m").await;
    assert_eq!(said.text, "half");
    assert!(matches!(said.error, Some(Error::Upstream { fault: Fault::TimedOut, .. })));
    one.wait_for_gone(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_alone_is_asked_once_more_before_anybody_hears_of_a_failure() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.channel("one", &one.base_url, json!({})).await;
    one.then(Reply::Whole(502, "", String::new()));
    assert_eq!(it.say("m").await.text, "one");
    one.then(Reply::Whole(502, "", String::new()));
    one.then(Reply::Whole(502, "", String::new()));
    let error = it.ask("m").await.unwrap_err();
    assert!(matches!(error, Error::Upstream { fault: Fault::Broken, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_would_take_is_refused_at_once_in_the_providers_words() {
    let it = Fixture::new();
    let (one, two) = (Upstream::new("one").await, Upstream::new("two").await);
    it.channel("one", &one.base_url, json!({ "priority": 1 })).await;
    it.channel("two", &two.base_url, json!({})).await;
    one.then(Reply::Whole(400, "", refusal("'temperature' is not for this model", "invalid")));
    let error = it.ask("m").await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    assert!(error.to_string().contains("'temperature' is not for this model"), "{error}");
    assert!(two.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_honoured_within_the_budget_and_told_beyond_it() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.channel("one", &one.base_url, json!({})).await;
    let busy = |header| Reply::Whole(429, header, refusal("slow down", "rate_limit_exceeded"));
    one.then(busy("retry-after-ms: 200\r\n"));
    let started = std::time::Instant::now();
    assert_eq!(it.say("m").await.text, "one");
    assert!(started.elapsed() >= Duration::from_millis(200));
    one.then(busy("retry-after: 40\r\n"));
    let error = it.ask("m").await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { retry_after } if retry_after.as_secs() >= 39));
    let seen = one.seen().len();
    let error = it.ask("m").await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { retry_after } if retry_after.as_secs() >= 38));
    assert_eq!(one.seen().len(), seen, "it is left alone until then");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_channel_is_asked_when_the_first_is_unusually_slow() {
    let it = Fixture::new();
    let (one, two) = (Upstream::new("one").await, Upstream::new("two").await);
    it.channel("one", &one.base_url, json!({ "priority": 1 })).await;
    it.channel("two", &two.base_url, json!({})).await;
    it.route("m", json!({ "hedge": true })).await;
    for _ in 0..20 {
        assert_eq!(it.say("m").await.text, "one");
    }
    one.then(Reply::Silence);
    let said = it.say("m").await;
    assert_eq!((said.text.as_str(), said.error), ("two", None));
    one.wait_for_gone(1).await;
    assert_eq!(two.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_where_pieces_were_asked_for_is_read_all_the_same() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.channel("one", &one.base_url, json!({})).await;
    let body = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": "whole" },
        }],
        "usage": { "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7 },
    });
    one.then(Reply::Whole(200, "", body.to_string()));
    let said = it.say("m").await;
    assert_eq!((said.text.as_str(), said.usage.unwrap().prompt_tokens), ("whole", 5));
    one.then(Reply::Stream(answer(&["again"], true)));
    assert_eq!(it.say("m").await.text, "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_provider_is_left_alone_for_as_long_as_it_says() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.channel("one", &one.base_url, json!({})).await;
    let overloaded = |header| {
        let body = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } });
        Reply::Whole(529, header, body.to_string())
    };
    one.then(overloaded("retry-after-ms: 200\r\n"));
    let started = std::time::Instant::now();
    assert_eq!(it.say("m").await.text, "one");
    assert!(started.elapsed() >= Duration::from_millis(200));
    one.then(overloaded("retry-after: 30\r\n"));
    let error = it.ask("m").await.unwrap_err();
    let is_told = matches!(error, Error::Overloaded { retry_after } if retry_after.as_secs() >= 29)
        || matches!(error, Error::Upstream { .. });
    assert!(is_told, "{error:?}");
    let seen = one.seen().len();
    let error = it.ask("m").await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { retry_after } if retry_after.as_secs() >= 28));
    assert_eq!(one.seen().len(), seen, "it is left alone until then");
}
