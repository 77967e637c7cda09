//! Answers that are kept: for the same request of the same people, and for nobody else.

use serde_json::json;

use super::scripted::Script;
use super::*;
use crate::call::CacheWish;
use crate::error::Error;
use crate::gateway::CacheRule;

fn rule(change: serde_json::Value) -> CacheRule {
    serde_json::from_value(change).unwrap()
}

fn greedy(id: &str) -> GenerateRequest {
    let sampling = Sampling { temperature: Some(0.0), ..Sampling::default() };
    GenerateRequest { sampling, ..request(id) }
}

async fn say(it: &Fixture, caller: &Caller, request: GenerateRequest) -> (String, Option<bool>) {
    let caller = fresh(caller);
    let events = read_all(it.gateway.generate(&caller, request).await.unwrap()).await;
    assert!(matches!(events.last(), Some(Ok(Event::Done(_)))), "{events:?}");
    let texts = events.into_iter().filter_map(|event| match event {
        Ok(Event::Text { text, .. }) => Some(text),
        _ => None,
    });
    (texts.collect(), caller.scope.notes.mark.is_hit())
}

/// The same caller with another call.
fn fresh(caller: &Caller) -> Caller {
    let mut caller = caller.clone();
    caller.scope.notes.mark = Default::default();
    caller
}

fn answer(word: &str) -> Script {
    Script::Say(vec![started(3), text(0, word), text(0, "!"), finished(0), done(3, 2)])
}

async fn with_rules(rules: Vec<CacheRule>) -> Fixture {
    let it = Fixture::new(GatewayConfig::default());
    it.gateway.set_cache_rules(&Caller::operator(), rules).await.unwrap();
    it
}

#[tokio::test]
async fn the_same_request_is_answered_once_and_costs_nothing_the_second_time() {
    let it = with_rules(vec![rule(json!({}))]).await;
    it.backend.then(answer("one"));
    it.backend.then(answer("two"));
    assert_eq!(say(&it, &caller(), greedy("a")).await, ("one!".to_owned(), Some(false)));
    let again = greedy("b").streamed(false);
    assert_eq!(say(&it, &caller(), again).await, ("one!".to_owned(), Some(true)));
    let longer = GenerateRequest { max_tokens: Some(9), ..greedy("c") };
    assert_eq!(say(&it, &caller(), longer).await, ("two!".to_owned(), Some(false)));
    let rows = it.recorded(3).await;
    let reasons: Vec<_> = rows.iter().map(|row| row.reason.as_deref()).collect();
    assert_eq!(reasons, [None, Some("cached"), None]);
    assert_eq!((rows[1].prompt_tokens, rows[1].completion_tokens), (3, 2));
    assert_eq!(rows[1].cost, hearth_store::MicroDollars::ZERO);
    assert_eq!(it.backend.asked.lock().unwrap().len(), 2);
    let stats = it.gateway.cache_stats();
    assert_eq!((stats.entries, stats.hits, stats.misses), (2, 1, 2));
    assert_eq!(it.gateway.clear_cache(&Caller::operator()).unwrap(), 2);
}

#[tokio::test]
async fn what_is_kept_for_one_is_nobody_elses_unless_a_group_shares() {
    let it = with_rules(vec![rule(json!({}))]).await;
    for word in ["ann", "bob"] {
        it.backend.then(answer(word));
    }
    let bob = Caller { user_id: Some(UserId(2)), ..caller() };
    assert_eq!(say(&it, &caller(), greedy("a")).await.0, "ann!");
    assert_eq!(say(&it, &bob, greedy("a")).await.0, "bob!");
    let group = it.store.groups().create("team".to_owned(), 1).await.unwrap();
    let team = json!({ "audience": { "group": "team" }, "shared": true });
    it.gateway.set_cache_rules(&Caller::operator(), vec![rule(team)]).await.unwrap();
    let member = |id| {
        let mut member = Caller { user_id: Some(UserId(id)), ..caller() };
        member.scope.group_id = Some(group.id);
        member
    };
    for word in ["team", "alone"] {
        it.backend.then(answer(word));
    }
    assert_eq!(say(&it, &member(1), greedy("a")).await.0, "team!");
    assert_eq!(say(&it, &member(2), greedy("a")).await, ("team!".to_owned(), Some(true)));
    assert_eq!(say(&it, &bob, greedy("a")).await, ("alone!".to_owned(), None));
}

#[tokio::test]
async fn only_what_would_be_said_again_or_is_allowed_is_kept() {
    let it = with_rules(vec![rule(json!({}))]).await;
    for _ in 0..5 {
        it.backend.then(answer("new"));
    }
    assert_eq!(say(&it, &caller(), request("a")).await.1, None, "drawn anew each time");
    let mut asking = caller();
    asking.scope.notes.cache = CacheWish::Use;
    assert_eq!(say(&it, &asking, request("a")).await.1, Some(false));
    assert_eq!(say(&it, &asking, request("a")).await.1, Some(true));
    asking.scope.notes.cache = CacheWish::Skip;
    assert_eq!(say(&it, &asking, request("a")).await.1, None);
    let sampled = rule(json!({ "sampled": true, "audience": { "models": ["x*", "m"] } }));
    it.gateway.set_cache_rules(&Caller::operator(), vec![sampled]).await.unwrap();
    assert_eq!(say(&it, &caller(), request("a")).await.1, Some(false));
    assert_eq!(say(&it, &caller(), request("a")).await.1, Some(true));
}

#[tokio::test]
async fn an_answer_that_did_not_end_by_itself_is_not_kept() {
    let it = with_rules(vec![rule(json!({}))]).await;
    it.backend.then(Script::Say(vec![started(3), text(0, "half"), Err(Error::Draining)]));
    let events = read_all(it.gateway.generate(&caller(), greedy("a")).await.unwrap()).await;
    assert!(matches!(events.last(), Some(Err(_))));
    let filtered = crate::event::FinishReason::Filtered(Default::default());
    let cut = Ok(Event::Finished { choice: 0, reason: filtered });
    it.backend.then(Script::Say(vec![started(3), text(0, "cut"), cut, done(3, 1)]));
    assert_eq!(say(&it, &caller(), greedy("a")).await.0, "cut");
    it.backend.then(answer("whole"));
    assert_eq!(say(&it, &caller(), greedy("a")).await.0, "whole!");
    assert_eq!(say(&it, &caller(), greedy("a")).await, ("whole!".to_owned(), Some(true)));
}

#[tokio::test]
async fn rules_are_checked_and_for_admins() {
    let it = Fixture::new(GatewayConfig::default());
    let operator = Caller::operator();
    assert!(matches!(it.gateway.cache(&caller()).await, Err(Error::Forbidden(_))));
    assert!(it.gateway.set_cache_rules(&caller(), Vec::new()).await.is_err());
    for wrong in [
        json!({ "max_age_s": 0 }),
        json!({ "audience": { "group": "nobody" } }),
        json!({ "audience": { "models": ["a\nb"] } }),
    ] {
        let refused = it.gateway.set_cache_rules(&operator, vec![rule(wrong)]).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    assert!(serde_json::from_value::<CacheRule>(json!({ "max_age": 1 })).is_err());
}

#[tokio::test]
async fn a_call_that_comes_round_again_is_refused() {
    let it = Fixture::new(GatewayConfig::default());
    it.backend.then(answer("one"));
    assert_eq!(say(&it, &caller(), request("a")).await.0, "one!");
    let path = it.backend.paths.lock().unwrap()[0].clone();
    assert_eq!(path.len(), 1, "this Hearth alone");
    let mut again = caller();
    again.scope.notes.path = vec!["other".to_owned(), path[0].clone()];
    let refused = it.gateway.generate(&again, request("b")).await;
    assert!(matches!(refused.err(), Some(Error::Loop)));
    again.scope.notes.path = (0..8).map(|it| format!("h{it}")).collect();
    let refused = it.gateway.generate(&again, request("c")).await;
    assert!(matches!(refused.err(), Some(Error::Loop)), "too many");
}
