//! Keys: where they are shown, and what happens to those that are not taken.

use super::upstream::{Reply, refusal};
use super::*;

fn has_key(seen: &super::upstream::Seen, key: &str) -> bool {
    seen.head.to_lowercase().contains(&format!("authorization: bearer {key}").to_lowercase())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_take_turns_and_one_that_is_refused_rests() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    let keys = ["sk-good-aaaaaaaaaa", "sk-bad-bbbbbbbbbbb"];
    let channel = it.channel("one", &one.base_url, json!({ "keys": keys })).await;
    it.say("m").await;
    it.say("m").await;
    let seen = one.seen();
    assert!(keys.iter().all(|key| seen.iter().any(|seen| has_key(seen, key))), "each has a turn");

    let bad = seen.iter().position(|seen| has_key(seen, keys[1])).unwrap();
    // The next request shows the key whose turn it is: the first one again or the second.
    if bad == 1 {
        it.say("m").await;
    }
    one.then(Reply::Whole(401, "", refusal("no such key", "invalid_api_key")));
    let said = it.say("m").await;
    assert_eq!((said.text.as_str(), said.error), ("one", None), "the other key does");
    let resting: Vec<bool> =
        it.show(channel.id).keys.iter().map(|key| key.rests_s.is_some()).collect();
    assert_eq!(resting.iter().filter(|rests| **rests).count(), 1);
    let before = one.seen().len();
    for _ in 0..4 {
        assert_eq!(it.say("m").await.text, "one");
    }
    let well = if resting[0] { keys[1] } else { keys[0] };
    assert!(one.seen()[before..].iter().all(|seen| has_key(seen, well)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_so_that_the_key_stays_where_it_belongs() {
    let it = Fixture::new();
    let (one, thief) = (Upstream::new("one").await, Upstream::new("thief").await);
    it.channel("one", &one.base_url, json!({})).await;
    let location: &'static str =
        Box::leak(format!("location: {}/chat/completions\r\n", thief.base_url).into_boxed_str());
    one.then(Reply::Whole(307, location, String::new()));
    one.then(Reply::Whole(302, location, String::new()));
    assert!(it.ask("m").await.is_err());
    assert_eq!(thief.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_to_this_machine_is_not_connected_to() {
    // Not refused as a text: what it leads to is seen at the connection alone.
    let name = "ip6-localhost";
    let it = Fixture::new();
    let listener = tokio::net::TcpListener::bind("[::1]:0").await;
    let port = listener.as_ref().map_or(9, |open| open.local_addr().unwrap().port());
    let channel = it.channel("one", &format!("https://{name}:{port}/v1"), json!({})).await;
    assert!(it.ask("m").await.is_err());
    let probe = it.channels.probe(&Caller::operator(), channel.id, None).await.unwrap();
    let error = probe.list.error.unwrap();
    if tokio::net::lookup_host((name, port)).await.is_ok() {
        assert!(error.contains("address is private"), "{error}");
    }
    if let Ok(listener) = listener {
        let asked = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(asked.is_err(), "not even a connection");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_address_needs_the_keys_anew() {
    let it = Fixture::new();
    let (one, thief) = (Upstream::new("one").await, Upstream::new("thief").await);
    let channel = it.channel("one", &one.base_url, json!({})).await;
    let operator = Caller::operator();
    let moved = json!({ "base_url": thief.base_url });
    let refused = it.channels.update(&operator, channel.id, &moved).await;
    assert!(refused.unwrap_err().to_string().contains("keys anew"));
    let proxied = json!({ "settings": { "network": { "proxy": "http://127.0.0.1:9" } } });
    assert!(it.channels.update(&operator, channel.id, &proxied).await.is_err());
    it.say("m").await;
    assert_eq!(thief.connections(), 0);
    let with_keys = json!({ "base_url": thief.base_url, "keys": ["sk-new-0123456789"] });
    it.channels.update(&operator, channel.id, &with_keys).await.unwrap();
    assert_eq!(it.say("m").await.text, "thief");
    assert!(has_key(&thief.seen()[0], "sk-new-0123456789"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_shown_or_stored_holds_a_key() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    let key = "sk-very-secret-0123456789";
    let channel = it.channel("one", &one.base_url, json!({ "keys": [key] })).await;
    let shown = serde_json::to_string(&it.show(channel.id)).unwrap();
    assert!(!shown.contains("very-secret") && shown.contains("…6789"), "{shown}");
    let rows = format!("{:?}", it.store.channels().list().await.unwrap());
    assert!(!rows.contains("very-secret"));
    it.say("m").await;
    assert!(has_key(&one.seen()[0], key), "but the provider gets it");
    // Also after all secrets are sealed anew.
    assert_eq!(it.channels.rotate_secrets(&Caller::operator()).await.unwrap(), 1);
    it.say("m").await;
    assert!(has_key(&one.seen()[1], key));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_tells_the_models_and_the_providers_own_words() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    let channel = it.channel("one", &one.base_url, json!({})).await;
    let models = json!({ "object": "list", "data": [{ "id": "m", "object": "model" }] });
    one.then(Reply::Whole(200, "", models.to_string()));
    let words = "Your card was declined for sk-test-0123456789";
    one.then(Reply::Whole(403, "", refusal(words, "billing")));
    let operator = Caller::operator();
    let probe = it.channels.probe(&operator, channel.id, None).await.unwrap();
    assert_eq!(probe.list.models, ["m"]);
    let error = probe.answer.unwrap().error.unwrap();
    assert!(error.contains("Your card was declined") && error.contains("403"), "{error}");
    assert!(error.contains("for ***") && !error.contains("sk-test"), "{error}");
    assert!(!probe.ok);
}
