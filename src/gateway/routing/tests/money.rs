//! What an answer from elsewhere used: the provider's own counts, or a guess that says so.

use super::upstream::{Reply, answer, event};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_counts_are_told_with_our_times() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    let channel = it.channel("one", &one.base_url, json!({})).await;
    let said = it.say("m").await;
    let usage = said.usage.unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (11, 7));
    assert!(!usage.is_estimated && usage.total_ms >= usage.first_token_ms);
    assert_eq!(said.channel, Some(channel.id));
    let stats = it.show(channel.id).stats.unwrap().all;
    assert_eq!((stats.answers, stats.prompt_tokens, stats.completion_tokens), (1, 11, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_does_not_count_is_guessed_and_marked() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.channel("one", &one.base_url, json!({})).await;
    one.then(Reply::Stream(answer(&["four", " and", " some", " more"], false)));
    let usage = it.say("m").await.usage.unwrap();
    assert!(usage.is_estimated);
    assert!(usage.prompt_tokens > 0 && (2..=10).contains(&usage.completion_tokens), "{usage:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_counts_end_in_no_panic_and_no_wrap_around() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.channel("one", &one.base_url, json!({})).await;
    for usage in [
        json!({ "prompt_tokens": -5, "completion_tokens": -1, "total_tokens": -6 }),
        json!({ "prompt_tokens": 1e300, "completion_tokens": 18_446_744_073_709_551_615u64 }),
        json!({ "prompt_tokens": "many", "completion_tokens": null }),
        json!([1, 2]),
    ] {
        let mut pieces = answer(&["text"], false);
        let end = pieces.pop().unwrap();
        pieces.push(event(&json!({
            "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [], "usage": usage,
        })));
        pieces.push(end);
        one.then(Reply::Stream(pieces));
        let said = it.say("m").await;
        assert_eq!(said.text, "text", "{usage}");
        assert!(said.usage.is_some() || said.error.is_some(), "{usage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_come_from_the_first_channel_that_makes_them() {
    let it = Fixture::new();
    let (one, two) = (Upstream::new("one").await, Upstream::new("two").await);
    it.channel("one", &one.base_url, json!({ "priority": 1 })).await;
    let channel = it.channel("two", &two.base_url, json!({})).await;
    one.then(Reply::Whole(500, "", String::new()));
    let vector = |index: usize, first: f32| json!({ "object": "embedding", "index": index, "embedding": [first, 0.0] });
    let body = json!({
        "object": "list", "model": "m", "data": [vector(1, 2.0), vector(0, 1.0)],
        "usage": { "prompt_tokens": 6, "total_tokens": 6 },
    });
    two.then(Reply::Whole(200, "", body.to_string()));
    two.then(Reply::Whole(200, "", body.to_string()));
    let text = |text: &str| crate::embedding::EmbedInput::Text(text.to_owned());
    let request = crate::embedding::EmbedRequest {
        id: RequestId("r".to_owned()),
        model: "m".to_owned(),
        inputs: vec![text("a"), text("b")],
        wanted: crate::embedding::Wanted::Vector,
        path: Vec::new(),
    };
    let embedding = it.board.embed(None, request.clone()).await.unwrap();
    assert_eq!((embedding.prompt_tokens, embedding.channel), (6, Some(channel.id)));
    let vectors = embedding.vectors.await.unwrap().unwrap();
    assert_eq!((vectors[0][0], vectors[1][0]), (1.0, 2.0), "in the order of the texts");
    let here = Arc::clone(&it.here) as Arc<dyn Backend>;
    let board = Switchboard::new(here, it.channels.clone(), RoutingConfig::default());
    let backends: Vec<Arc<dyn Backend>> = vec![Arc::new(board)];
    let config = crate::GatewayConfig::default();
    let gateway = crate::Gateway::new(it.store.clone(), backends, config, Clock::of(|| 777));
    gateway.embed(&Caller::operator(), request).await.unwrap();
    let booked = it.store.usage().latest(hearth_store::UsageFilter::default(), 1).await.unwrap();
    assert_eq!((booked[0].channel_id, booked[0].prompt_tokens), (Some(channel.id), 6));
    let count = it.board.count_tokens(chat("m", "four words are here")).await.unwrap();
    assert!((3..20).contains(&count), "{count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_set_aside_without_asking_anybody_elsewhere() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.channel("one", &one.base_url, json!({ "type": "anthropic" })).await;
    assert!(it.board.reckon(chat("m", "four words are here")).await.unwrap() >= 3);
    assert_eq!(one.connections(), 0);
    it.here.has("m");
    assert_eq!(it.board.reckon(chat("m", "x")).await.unwrap(), 3, "counted here");
}
