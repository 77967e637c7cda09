//! Where requests go: here, elsewhere, and nowhere else.

use std::sync::atomic::Ordering;

use super::upstream::{Reply, refusal};
use super::*;
use crate::backend::ModelState;
use hearth_store::{MicroDollars, NewUser, Price, PriceRow, UserRole};

impl Fixture {
    async fn member(&self, group: &str) -> UserId {
        let new = NewUser {
            name: format!("of-{group}"),
            password: "x".to_owned(),
            role: UserRole::User,
            created_at: 1,
        };
        let user = self.store.users().create(new).await.unwrap().id;
        let group = match self.store.groups().by_name(group).await.unwrap() {
            Some(group) => group,
            None => self.store.groups().create(group.to_owned(), 1).await.unwrap(),
        };
        self.store.groups().put(user, Some(group.id)).await.unwrap();
        user
    }

    async fn say_as(&self, user: UserId, request: GenerateRequest) -> Result<Said> {
        Ok(heard(
            self.board.generate(Asker { user: Some(user), ..Asker::default() }, request).await?,
        )
        .await)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_only_group_never_leaves_the_machine() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.here.has("m");
    it.here.has("short");
    it.channel("one", &one.base_url, json!({ "settings": { "models": ["m", "far", "*"] } })).await;
    it.route("m", json!({ "policy": "prefer-remote", "on_context_full": ["far"] })).await;
    it.route("alias", json!({ "policy": "cheapest", "targets": [{ "model": "far" }] })).await;
    let user = it.member("secret").await;
    let operator = Caller::operator();
    let policy = Some(super::super::Policy::LocalOnly);
    it.channels.set_group_policy(&operator, "secret", policy).await.unwrap();

    assert_eq!(it.say_as(user, chat("m", "x")).await.unwrap().text, "here");
    for error in [
        Error::Overloaded { retry_after: Duration::from_secs(1) },
        Error::TooBig { model: "m".into(), need_bytes: 2, free_bytes: 1, loaded: String::new() },
        Error::ContextFull { prompt_tokens: 9, max_tokens: 0, context_tokens: 1 },
        Error::Internal("gone".to_owned()),
    ] {
        it.here.refuses(error.clone());
        assert_eq!(it.say_as(user, chat("m", "x")).await.unwrap_err(), error);
    }
    it.here.queue_wait_ms.store(1_000_000, Ordering::SeqCst);
    assert_eq!(it.say_as(user, chat("m", "x")).await.unwrap().text, "here");
    for far in ["far", "alias", "anything"] {
        let refused = it.say_as(user, chat(far, "x")).await.unwrap_err();
        assert!(matches!(refused, Error::NoModel(_)), "{refused:?}");
    }
    assert_eq!(one.connections(), 0, "not even a connection");
    assert_eq!(it.say("far").await.text, "one", "others may");
}

#[tokio::test(flavor = "multi_thread")]
async fn prefer_local_spills_over_on_a_long_wait_on_memory_and_on_failure() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.here.has("m");
    it.channel("one", &one.base_url, json!({})).await;
    assert_eq!(it.say("m").await.text, "here");
    for error in [
        Error::Overloaded { retry_after: Duration::from_secs(1) },
        Error::TooBig { model: "m".into(), need_bytes: 2, free_bytes: 1, loaded: String::new() },
        Error::Internal("gone".to_owned()),
    ] {
        it.here.refuses(error);
        assert_eq!(it.say("m").await.text, "one");
    }
    it.here.queue_wait_ms.store(20_000, Ordering::SeqCst);
    assert_eq!(it.say("m").await.text, "one");
    one.then(Reply::Whole(500, "", String::new()));
    assert_eq!(it.say("m").await.text, "here", "a long wait is better than nothing");
    it.here.queue_wait_ms.store(0, Ordering::SeqCst);
    it.here.refuses(Error::invalid("stop", "no"));
    assert!(matches!(it.ask("m").await, Err(Error::Invalid { .. })), "that is no reason");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_is_too_long_goes_to_a_model_with_a_longer_context() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.channel("one", &one.base_url, json!({ "settings": { "models": ["m", "long"] } })).await;
    let full = || {
        let message = "This model's maximum context length is 8192 tokens";
        Reply::Whole(400, "", refusal(message, "context_length_exceeded"))
    };
    one.then(full());
    let error = it.ask("m").await.unwrap_err();
    let fault = crate::error::Fault::ContextFull;
    assert!(matches!(&error, Error::Upstream { fault: f, .. } if *f == fault), "{error:?}");
    it.route("m", json!({ "on_context_full": ["long"] })).await;
    one.then(full());
    assert_eq!(it.say("m").await.text, "one");
    let models: Vec<_> = one.seen().iter().map(|seen| seen.body["model"].clone()).collect();
    assert_eq!(models, ["m", "m", "long"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_asks_its_targets_in_order_under_their_own_names() {
    let it = Fixture::new();
    let (one, two) = (Upstream::new("one").await, Upstream::new("two").await);
    let mapped = json!({ "settings": { "model_mapping": { "m": "vendor/m-2024" } } });
    it.channel("one", &one.base_url, mapped).await;
    it.channel("two", &two.base_url, json!({ "priority": 9 })).await;
    it.here.has("small");
    let targets = json!([
        { "model": "m", "channel": "one" },
        { "model": "m", "channel": "two" },
        { "model": "small", "channel": "local" },
    ]);
    it.route("fast", json!({ "policy": "prefer-remote", "targets": targets })).await;
    assert_eq!(it.say("fast").await.text, "one");
    assert_eq!(one.seen()[0].body["model"], "vendor/m-2024");
    for _ in 0..2 {
        one.then(Reply::Whole(500, "", String::new()));
        two.then(Reply::Whole(500, "", String::new()));
    }
    assert_eq!(it.say("fast").await.text, "here");
    let listed: Vec<(String, ModelState)> =
        it.board.models().into_iter().map(|model| (model.name, model.state)).collect();
    let remote = ("m".to_owned(), ModelState::Remote);
    assert!(listed.contains(&remote), "{listed:?}");
    assert!(listed.iter().any(|(name, _)| name == "fast"), "{listed:?}");
    assert!(it.board.model("none").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_of_a_group_is_for_its_members() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.channel("one", &one.base_url, json!({ "settings": { "groups": ["Staff"] } })).await;
    let (staff, guest) = (it.member("staff").await, it.member("guests").await);
    assert_eq!(it.say_as(staff, chat("m", "x")).await.unwrap().text, "one");
    assert!(matches!(it.say_as(guest, chat("m", "x")).await, Err(Error::NoModel(_))));
    assert!(matches!(it.ask("m").await, Err(Error::NoModel(_))), "the operator is in no group");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_stays_with_the_channel_that_knows_it() {
    let it = Fixture::new();
    let upstreams = [Upstream::new("a").await, Upstream::new("b").await, Upstream::new("c").await];
    for (name, upstream) in ["a", "b", "c"].iter().zip(&upstreams) {
        it.channel(name, &upstream.base_url, json!({})).await;
    }
    let first =
        heard(it.board.generate(Asker::default(), chat("m", "hello")).await.unwrap()).await.text;
    let next = [("user", "hello"), ("assistant", first.as_str()), ("user", "go on")];
    for _ in 0..20 {
        let said =
            heard(it.board.generate(Asker::default(), turns("m", &next)).await.unwrap()).await;
        assert_eq!(said.text, first);
    }
    let mut others = std::collections::HashSet::new();
    for _ in 0..60 {
        others.insert(it.say("m").await.text);
    }
    assert_eq!(others.len(), 3, "new conversations go to all");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cheapest_channel_comes_first() {
    let it = Fixture::new();
    let (dear, cheap) = (Upstream::new("dear").await, Upstream::new("cheap").await);
    for (name, upstream, micros) in [("dear", &dear, 5_000_000), ("cheap", &cheap, 1_000_000)] {
        let channel = it.channel(name, &upstream.base_url, json!({})).await;
        let input_micros_per_million = MicroDollars::new(micros).unwrap();
        let price = Price { input_micros_per_million, ..Price::default() };
        let row = PriceRow { model: "m".to_owned(), channel_id: Some(channel.id), price };
        it.store.prices().set(row).await.unwrap();
    }
    it.channels.refresh().await.unwrap();
    it.route("m", json!({ "policy": "cheapest" })).await;
    for _ in 0..5 {
        assert_eq!(it.say("m").await.text, "cheap");
    }
    cheap.then(Reply::Whole(500, "", String::new()));
    assert_eq!(it.say("m").await.text, "dear");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_answers_no_more_at_once_than_it_may() {
    let it = Fixture::with(RoutingConfig { max_retry_wait_ms: 0, ..RoutingConfig::default() });
    let (one, two) = (Upstream::new("one").await, Upstream::new("two").await);
    let limits = json!({ "priority": 1, "settings": { "limits": { "concurrent": 1 } } });
    it.channel("one", &one.base_url, limits).await;
    it.channel("two", &two.base_url, json!({})).await;
    one.then(Reply::Hang(vec![super::upstream::chunk("slow")]));
    let slow = it.ask("m").await.unwrap();
    assert_eq!(it.say("m").await.text, "two");
    drop(slow);
    one.wait_for_gone(1).await;
    let limits = json!({ "settings": { "limits": { "requests_per_minute": 1 } } });
    let id = it.channels.list(&Caller::operator()).unwrap()[0].id;
    it.channels.update(&Caller::operator(), id, &limits).await.unwrap();
    let texts = [it.say("m").await.text, it.say("m").await.text];
    assert_eq!(texts, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_admin_changes_reaches_the_provider() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    let change = json!({ "settings": {
        "network": { "headers": { "X-Team": "blue" } },
        "request": {
            "overrides": [
                { "mode": "set", "field": "temperature", "value": 0.25 },
                { "mode": "set", "field": "service_tier", "value": "flex" },
                { "mode": "remove", "field": "stream_options" },
            ],
            "system_prompt": { "text": "Be brief." },
        },
    } });
    it.channel("one", &one.base_url, change).await;
    it.say("m").await;
    let seen = &one.seen()[0];
    assert!(seen.head.to_lowercase().contains("x-team: blue"), "{}", seen.head);
    assert_eq!(seen.body["temperature"], 0.25);
    assert_eq!(seen.body["service_tier"], "flex");
    assert!(seen.body.get("stream_options").is_none());
    assert_eq!(seen.body["messages"][0], json!({ "role": "system", "content": "Be brief." }));
    assert_eq!(seen.body["messages"][1]["content"], "hi");
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_a_group_are_offered_to_its_members_alone() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    let closed = json!({ "settings": { "models": ["closed"], "groups": ["Team"] } });
    it.channel("closed", &one.base_url, closed).await;
    it.channel("open", &one.base_url, json!({ "settings": { "models": ["open"] } })).await;
    let alias = json!({ "targets": [{ "model": "closed" }] });
    it.route("alias", alias).await;
    it.here.has("hosted");
    let offered = |group, model| it.board.is_offered(group, model);
    for model in ["closed", "alias"] {
        assert!(offered(Some("team"), model) && !offered(None, model), "{model}");
        assert!(!offered(Some("others"), model), "{model}");
    }
    assert!(offered(None, "open") && offered(None, "hosted"), "and what is hosted here");
}
