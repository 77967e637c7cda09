//! Every way in which a request ends, and what the books say of it.

use std::time::Duration;

use hearth_store::{ApiTokenId, Outcome, UserId};

use super::scripted::Script;
use super::{Fixture, caller, done, finished, read_all, request, started, text};
use crate::caller::Via;
use crate::error::Error;
use crate::event::{Event, TokenLogprob};
use crate::gateway::{GatewayConfig, Stats};
use crate::request::GenerateRequest;

#[tokio::test]
async fn a_whole_answer_is_recorded_with_the_backends_own_counts() {
    let it = Fixture::new(GatewayConfig::default());
    let said = vec![started(7), text(0, "hi"), finished(0), done(7, 3)];
    it.backend.then(Script::Say(said.clone()));
    let mut caller = caller();
    caller.via = Via::ApiToken { id: ApiTokenId(4), models: None, restricted: false };
    let mut stream = it.gateway.generate(&caller, request("r")).await.unwrap();
    assert_eq!(it.gateway.running(), 1);
    let mut heard = Vec::new();
    while let Some(event) = stream.recv().await {
        if matches!(event, Ok(Event::Done(_))) {
            // Whoever hears of the end finds it in the books and has the slot back.
            assert_eq!(it.rows().await.len(), 1);
            assert_eq!(it.gateway.running(), 0);
        }
        heard.push(event);
    }
    assert_eq!(heard, said);
    let row = it.rows().await.remove(0);
    assert_eq!((row.client_request_id.as_deref(), row.model.as_str()), (Some("r"), "m"));
    assert_ne!(row.request_id, "r", "the ledger has a name of its own");
    assert_eq!((row.user_id, row.token_id), (Some(UserId(1)), Some(ApiTokenId(4))));
    assert_eq!((row.prompt_tokens, row.completion_tokens), (7, 3));
    assert_eq!((row.outcome, row.created_at), (Outcome::Complete, 777));
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_backend_and_pays_for_what_was_said() {
    let it = Fixture::new(GatewayConfig::default());
    let logprob = TokenLogprob {
        id: 1,
        text: "a".to_owned(),
        bytes: vec![97],
        logprob: -1.0,
        top: Vec::new(),
    };
    let tokens = vec![logprob.clone(), logprob];
    let said = vec![
        started(7),
        text(0, "once"),
        text(0, "one"),
        Ok(Event::Text { choice: 0, text: "two".to_owned(), tokens }),
    ];
    it.backend.then(Script::SayAndHang(said));
    let request = GenerateRequest { echo: true, ..request("r") };
    let mut stream = it.gateway.generate(&caller(), request).await.unwrap();
    for _ in 0..4 {
        stream.recv().await.unwrap().unwrap();
    }
    drop(stream);
    it.backend.wait_for_cancelled(1).await;
    let rows = it.recorded(1).await;
    assert_eq!((rows[0].prompt_tokens, rows[0].completion_tokens), (7, 3));
    assert_eq!(rows[0].outcome, Outcome::Stopped);
    assert_eq!(it.gateway.running(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_event_stops_the_backend_too() {
    let it = Fixture::new(GatewayConfig::default());
    it.backend.then(Script::SayAndHang(Vec::new()));
    it.backend.then(Script::SayForEver);
    drop(it.gateway.generate(&caller(), request("silent")).await.unwrap());
    it.backend.wait_for_cancelled(1).await;
    // This client does not read: the backend waits for it, and stops when it goes.
    let stream = it.gateway.generate(&caller(), request("full")).await.unwrap();
    while stream.len() < 64 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    it.backend.wait_for_cancelled(2).await;
    let rows = it.recorded(2).await;
    assert!(rows.iter().all(|row| row.outcome == Outcome::Stopped));
}

#[tokio::test]
async fn a_failure_is_told_and_recorded_once() {
    let it = Fixture::new(GatewayConfig::default());
    let failure = Error::Internal("the model broke".to_owned());
    it.backend.then(Script::Say(vec![started(7), text(0, "x"), Err(failure.clone())]));
    it.backend.then(Script::Say(vec![started(7)]));
    let stream = it.gateway.generate(&caller(), request("told")).await.unwrap();
    assert_eq!(read_all(stream).await.last(), Some(&Err(failure)));
    let stream = it.gateway.generate(&caller(), request("silent")).await.unwrap();
    let heard = read_all(stream).await;
    assert!(matches!(heard.last(), Some(Err(Error::Internal(_)))), "no Done is a failure");
    let rows = it.recorded(2).await;
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.outcome == Outcome::Failed && row.prompt_tokens == 7));
    let stats = Stats { failed: 2, prompt_tokens: 14, completion_tokens: 1, ..Stats::default() };
    assert_eq!(it.gateway.stats(), stats);
}

#[tokio::test]
async fn a_refused_request_is_not_in_the_books_and_frees_its_slot() {
    let it = Fixture::new(GatewayConfig::default());
    let full = Error::ContextFull { prompt_tokens: 9, max_tokens: 0, context_tokens: 8 };
    it.backend.then(Script::Refuse(full.clone()));
    let refused = it.gateway.generate(&caller(), request("r")).await;
    assert_eq!(refused.err(), Some(full));
    assert_eq!((it.gateway.running(), it.gateway.stats().refused), (0, 1));
    assert!(it.rows().await.is_empty());
}

#[tokio::test]
async fn the_time_limit_ends_a_request() {
    let config = GatewayConfig { request_timeout_s: 1, ..GatewayConfig::default() };
    let it = Fixture::new(config);
    it.backend.then(Script::SayAndHang(vec![started(2)]));
    let stream = it.gateway.generate(&caller(), request("r")).await.unwrap();
    let heard = read_all(stream).await;
    let limit = Duration::from_secs(1);
    assert_eq!(heard, [started(2), Err(Error::TimedOut { limit })]);
    it.backend.wait_for_cancelled(1).await;
    let rows = it.recorded(1).await;
    assert_eq!(rows[0].outcome, Outcome::Failed);
    assert!(rows[0].total_ms >= 1_000);
}

#[tokio::test]
async fn an_id_that_is_used_again_does_not_escape_the_books() {
    let it = Fixture::new(GatewayConfig::default());
    for _ in 0..2 {
        it.backend.then(Script::Say(vec![started(1), finished(0), done(1, 5)]));
        read_all(it.gateway.generate(&caller(), request("same")).await.unwrap()).await;
    }
    let rows = it.rows().await;
    assert_eq!(rows.iter().map(|row| row.completion_tokens).sum::<u32>(), 10);
    assert!(rows.iter().all(|row| row.client_request_id.as_deref() == Some("same")));
}

#[tokio::test]
async fn draining_refuses_the_new_and_waits_for_the_running() {
    let it = Fixture::new(GatewayConfig::default());
    it.backend.then(Script::Say(vec![started(1), text(0, "x"), finished(0), done(1, 1)]));
    let stream = it.gateway.generate(&caller(), request("r")).await.unwrap();
    let gateway = it.gateway.clone();
    let drained = tokio::spawn(async move { gateway.drain(Duration::from_secs(10)).await });
    while !it.gateway.is_draining() {
        tokio::task::yield_now().await;
    }
    let refused = it.gateway.generate(&caller(), request("late")).await;
    assert_eq!(refused.err(), Some(Error::Draining));
    assert_eq!(read_all(stream).await.len(), 4);
    assert!(drained.await.unwrap(), "all ended by themselves");
}

#[tokio::test]
async fn draining_does_not_wait_for_a_client_that_does_not_read() {
    let it = Fixture::new(GatewayConfig::default());
    it.backend.then(Script::SayForEver);
    let stream = it.gateway.generate(&caller(), request("r")).await.unwrap();
    while stream.len() < 64 {
        tokio::task::yield_now().await;
    }
    assert!(!it.gateway.drain(Duration::from_millis(20)).await);
    assert!(it.gateway.inner.tasks.is_empty(), "nothing is left behind");
    assert_eq!(it.rows().await[0].outcome, Outcome::Failed);
}

#[tokio::test]
async fn draining_cuts_off_what_does_not_end() {
    let it = Fixture::new(GatewayConfig::default());
    it.backend.then(Script::SayAndHang(vec![started(3)]));
    let stream = it.gateway.generate(&caller(), request("r")).await.unwrap();
    assert!(!it.gateway.drain(Duration::from_millis(20)).await);
    assert_eq!(read_all(stream).await, [started(3), Err(Error::Draining)]);
    it.backend.wait_for_cancelled(1).await;
    let rows = it.rows().await;
    assert_eq!((rows[0].outcome, rows[0].prompt_tokens), (Outcome::Failed, 3));
}

#[tokio::test]
async fn what_a_provider_bills_anyway_is_in_the_books_though_the_client_has_left() {
    let it = Fixture::new(GatewayConfig::default());
    let served = |drain_s| {
        let channel = hearth_store::ChannelId(7);
        Ok(Event::Served { channel, ignored: Vec::new(), drain_s })
    };
    for (id, drain_s) in [("at_once", 0), ("drained", 60)] {
        let mut script = vec![served(drain_s), started(3), text(0, "a")];
        // More than waits for a client that does not read.
        script.extend((0..200).map(|_| text(0, "b")));
        script.extend([finished(0), done(30, 777)]);
        it.backend.then(Script::Say(script));
        let mut stream = it.gateway.generate(&caller(), request(id)).await.unwrap();
        while !matches!(stream.recv().await, Some(Ok(Event::Text { .. }))) {}
        drop(stream);
    }
    let mut rows = it.recorded(2).await;
    rows.sort_by(|one, other| one.client_request_id.cmp(&other.client_request_id));
    assert!(rows[0].completion_tokens < 200, "{:?}", rows[0]);
    assert_eq!((rows[1].prompt_tokens, rows[1].completion_tokens), (30, 777));
    assert_eq!(rows[1].outcome, hearth_store::Outcome::Stopped);
    assert_eq!(rows[1].reason.as_deref(), Some("client_gone"));
}
