//! Rules for what may go in and out.

use serde_json::{Value, json};

use super::scripted::Script;
use super::*;
use crate::error::Error;
use crate::event::{Aside, Filter};
use crate::gateway::GuardRule;

const CARD: &str = "4111 1111 1111 1111";

async fn with_rules(rules: Value) -> Fixture {
    let it = Fixture::new(GatewayConfig::default());
    let rules: Vec<GuardRule> = serde_json::from_value(rules).unwrap();
    it.gateway.set_guards(&Caller::operator(), rules).await.unwrap();
    it
}

fn asking(text: &str) -> GenerateRequest {
    GenerateRequest { input: Input::Text(text.to_owned()), ..request("r") }
}

async fn told(it: &Fixture, pieces: &[&str]) -> Vec<Event> {
    let mut script = vec![started(3)];
    script.extend(pieces.iter().map(|piece| text(0, piece)));
    script.extend([finished(0), done(3, 2)]);
    it.backend.then(Script::Say(script));
    let events = read_all(it.gateway.generate(&caller(), request("r")).await.unwrap()).await;
    events.into_iter().map(|event| event.unwrap()).collect()
}

fn text_of(events: &[Event]) -> String {
    let text = |event: &Event| match event {
        Event::Text { text, .. } => Some(text.clone()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

#[tokio::test]
async fn what_a_rule_finds_in_a_request_is_masked_before_anybody_is_asked() {
    let it = with_rules(json!([
        { "name": "personal", "find": { "known": ["email", "card"] }, "action": "mask", "on": "request" },
        { "name": "project", "find": { "keywords": ["Blue Heron"] }, "action": "mask" },
    ]))
    .await;
    it.backend.then(Script::Say(vec![started(1), finished(0), done(1, 0)]));
    let asked = asking(&format!("{CARD}, to ann@example.org about blue heron!"));
    read_all(it.gateway.generate(&caller(), asked).await.unwrap()).await;
    let seen = it.backend.inputs.lock().unwrap()[0].clone();
    assert_eq!(seen, Input::Text("[card], to [email] about [project]!".to_owned()));
    let stats = it.gateway.guard_stats().await;
    assert_eq!((stats[0].requests, stats[1].requests, stats[1].responses), (2, 1, 0));
}

#[tokio::test]
async fn a_request_that_a_rule_blocks_is_refused_and_noted_without_what_it_said() {
    let it = with_rules(json!([
        { "name": "keys", "find": { "known": ["api_key"] }, "action": "block" },
    ]))
    .await;
    let secret = format!("ghp_{}", "a1B2".repeat(9));
    let refused = it.gateway.generate(&caller(), asking(&format!("use {secret}"))).await.err();
    assert!(matches!(&refused, Some(Error::Blocked(why)) if why.contains("`keys`")), "{refused:?}");
    assert!(it.backend.asked.lock().unwrap().is_empty());
    let filter =
        hearth_store::AuditFilter { action: Some("guards.block".to_owned()), ..Default::default() };
    let noted = async {
        loop {
            let acts = it.store.audit().list(filter.clone(), 10).await.unwrap();
            if !acts.is_empty() {
                return acts;
            }
            tokio::task::yield_now().await;
        }
    };
    let acts = tokio::time::timeout(Duration::from_secs(10), noted).await.unwrap();
    assert_eq!((acts[0].target.as_str(), acts[0].actor.as_str()), ("guard keys", "ann"));
    assert!(!format!("{acts:?}").contains("a1B2"));
}

#[tokio::test]
async fn a_match_is_found_however_the_answer_is_cut() {
    let it = with_rules(json!([
        { "name": "personal", "find": { "known": ["email", "card", "phone"] }, "action": "mask" },
    ]))
    .await;
    let whole = format!("Né: {CARD}; ann.b@mail.example.org? Call +4930901820 now. Fin 4111");
    let expected = "Né: [card]; [email]? Call [phone] now. Fin 4111";
    assert_eq!(text_of(&told(&it, &[&whole]).await), expected);
    let letters: Vec<String> = whole.chars().map(|letter| letter.to_string()).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    assert_eq!(text_of(&told(&it, &letters).await), expected);
    for at in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
        let (one, two) = whole.split_at(at);
        assert_eq!(text_of(&told(&it, &[one, two]).await), expected, "{at}");
    }
}

#[tokio::test]
async fn nothing_is_held_back_that_cannot_become_a_match() {
    let it = with_rules(json!([
        { "name": "word", "find": { "regex": "heron[a-z]*" }, "action": "mask" },
    ]))
    .await;
    let events = told(&it, &["A blue ", "he", "ron flies. He", "re."]).await;
    let pieces: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            Event::Text { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(pieces, ["A blue ", "[word] flies. He", "re."]);
}

#[tokio::test]
async fn an_answer_that_a_rule_blocks_ends_there_as_filtered_and_is_paid_for() {
    let it = with_rules(json!([
        { "name": "word", "find": { "keywords": ["heron"] }, "action": "block", "on": "response" },
    ]))
    .await;
    for pieces in [&["A ", "her", "on flies."][..], &["A ", "heron"]] {
        let events = told(&it, pieces).await;
        assert_eq!(text_of(&events), "A ");
        let reason = FinishReason::Filtered(Filter::Blocklist);
        let end = &events[events.len() - 2..];
        assert_eq!(end[0], Event::Finished { choice: 0, reason });
        assert!(matches!(end[1], Event::Done(_)), "{end:?}");
    }
    let rows = it.recorded(2).await;
    assert_eq!(rows[0].reason.as_deref(), Some("guard"));
    assert_eq!(rows[0].outcome, hearth_store::Outcome::Complete);
}

#[tokio::test]
async fn thoughts_and_arguments_are_looked_at_too_and_order_stays() {
    let it = with_rules(json!([
        { "name": "mail", "find": { "known": ["email"] }, "action": "mask" },
    ]))
    .await;
    let aside = |aside| Ok(Event::Aside { choice: 0, aside, tokens: Vec::new() });
    let call = Aside::CallStart { index: 0, id: "c".to_owned(), name: "f".to_owned() };
    let arguments = |text: &str| Aside::CallArguments { index: 0, text: text.to_owned() };
    it.backend.then(Script::Say(vec![
        started(1),
        aside(Aside::Reasoning("write a@b.".to_owned())),
        aside(Aside::Reasoning("org".to_owned())),
        text(0, "ok"),
        aside(call.clone()),
        aside(arguments("{\"to\":\"x@y.")),
        aside(arguments("com\"}")),
        finished(0),
        done(1, 1),
    ]));
    let events = read_all(it.gateway.generate(&caller(), request("r")).await.unwrap()).await;
    let (mut asides, mut thought) = (Vec::new(), String::new());
    for event in events.into_iter().map(|event| event.unwrap()) {
        match event {
            Event::Aside { aside: Aside::Reasoning(text), .. } => thought.push_str(&text),
            Event::Aside { aside: Aside::CallArguments { text, .. }, .. } => asides.push(text),
            Event::Text { text, .. } => asides.push(text),
            Event::Aside { aside, .. } => asides.push(format!("{aside:?}")),
            _ => {}
        }
    }
    assert_eq!(thought, "write [email]");
    assert_eq!(asides.concat(), format!("ok{call:?}{{\"to\":\"[email]\"}}"));
}

#[tokio::test]
async fn rules_are_for_admins_and_wrong_ones_are_refused() {
    let it = Fixture::new(GatewayConfig::default());
    assert!(matches!(it.gateway.guards(&caller()).await, Err(Error::Forbidden(_))));
    assert!(it.gateway.set_guards(&caller(), Vec::new()).await.is_err());
    let rule = |find: Value| json!({ "name": "r", "find": find, "action": "mask" });
    for wrong in [
        json!([rule(json!({ "regex": "(" }))]),
        json!([rule(json!({ "regex": "a*" }))]),
        json!([rule(json!({ "known": [] }))]),
        json!([rule(json!({ "keywords": ["a"] })), rule(json!({ "keywords": ["b"] }))]),
    ] {
        let rules: Vec<GuardRule> = serde_json::from_value(wrong.clone()).unwrap();
        let refused = it.gateway.set_guards(&Caller::operator(), rules).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{wrong}: {refused:?}");
    }
    assert!(serde_json::from_value::<GuardRule>(rule(json!({ "known": ["dna"] }))).is_err());
}
