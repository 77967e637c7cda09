//! Whole answers and answers in pieces: providers are asked for what the client wants.

use super::upstream::Reply;
use super::*;

fn whole(text: &str) -> Reply {
    let body = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": text },
        }],
        "usage": { "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7 },
    });
    Reply::Whole(200, "", body.to_string())
}

async fn say_whole(it: &Fixture) -> Said {
    heard(it.board.generate(Asker::default(), chat("m", "hi").streamed(false)).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_the_whole_answer_has_the_provider_asked_for_it() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    let channel = it.channel("one", &one.base_url, json!({})).await;
    one.then(whole("all"));
    let said = say_whole(&it).await;
    assert_eq!((said.text.as_str(), said.error), ("all", None));
    assert_eq!(said.usage.unwrap().prompt_tokens, 5);
    assert_eq!(it.say("m").await.text, "one");
    let asked: Vec<Value> = one.seen().iter().map(|seen| seen.body["stream"].clone()).collect();
    assert_eq!(asked, [Value::Null, true.into()]);
    let stats = it.show(channel.id).stats.unwrap();
    assert_eq!((stats.all.answers, stats.in_flight), (2, 0));
    assert_eq!((stats.all.prompt_tokens, stats.all.completion_tokens), (16, 9));
    let timed = stats.all.first_token_p50_ms;
    assert!(timed.is_some_and(|ms| ms < 5000), "of the answer that came in pieces: {timed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_can_be_asked_for_pieces_always_and_is_where_its_speed_counts() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    let change = json!({ "settings": { "request": { "always_streams": true } } });
    let channel = it.channel("one", &one.base_url, change).await;
    assert_eq!(say_whole(&it).await.text, "one");
    let as_asked = json!({ "settings": { "request": null } });
    it.channels.update(&Caller::operator(), channel.id, &as_asked).await.unwrap();
    for route in [json!({ "policy": "fastest" }), json!({ "hedge": true })] {
        it.route("m", route).await;
        assert_eq!(say_whole(&it).await.text, "one");
    }
    assert!(one.seen().iter().all(|seen| seen.body["stream"] == true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_has_a_time_limit_of_its_own_and_then_the_next_channel_is_asked() {
    let it = Fixture::new();
    let (one, two) = (Upstream::new("one").await, Upstream::new("two").await);
    let short = json!({
        "priority": 1, "settings": { "timeouts": { "whole_ms": 50, "first_byte_ms": 60_000 } },
    });
    it.channel("one", &one.base_url, short).await;
    it.channel("two", &two.base_url, json!({})).await;
    one.then(Reply::Silence);
    two.then(whole("two"));
    let said = say_whole(&it).await;
    assert_eq!((said.text.as_str(), said.error), ("two", None));
    one.wait_for_gone(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_that_is_garbage_or_breaks_off_goes_to_the_next_channel() {
    let it = Fixture::new();
    let (one, two) = (Upstream::new("one").await, Upstream::new("two").await);
    it.channel("one", &one.base_url, json!({ "priority": 1 })).await;
    it.channel("two", &two.base_url, json!({})).await;
    let error = json!({ "error": { "message": "Overloaded" } }).to_string();
    for reply in [
        Reply::Whole(200, "", "{\"choices\": [".to_owned()),
        Reply::Whole(200, "", "<html>".to_owned()),
        Reply::Whole(200, "", error),
        Reply::Reset(vec![b"{\"choices\": [".to_vec()]),
    ] {
        one.then(reply);
        two.then(whole("two"));
        let said = say_whole(&it).await;
        assert_eq!((said.text.as_str(), said.error), ("two", None));
    }
}
