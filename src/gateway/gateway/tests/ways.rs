//! Which model a caller gets, how many calls at once, and calls with several prompts.

use std::sync::atomic::Ordering;

use hearth_store::{ApiTokenId, Outcome, UserId, UserRole};

use super::scripted::{Script, model};
use super::{Fixture, caller, done, finished, read_all, request, started, text};
use crate::caller::{Caller, Via};
use crate::error::{Error, Result};
use crate::event::{Event, Usage};
use crate::gateway::GatewayConfig;
use crate::request::GenerateRequest;

fn limited_to(patterns: &[&str]) -> Caller {
    let models = Some(patterns.iter().map(|&pattern| pattern.to_owned()).collect());
    Caller { via: Via::ApiToken { id: ApiTokenId(1), models, restricted: true }, ..caller() }
}

#[tokio::test]
async fn callers_see_and_use_the_models_that_they_may() {
    let it = Fixture::new(GatewayConfig::default());
    *it.backend.models.lock().unwrap() = vec![model("llama3:latest"), model("qwen3:8b")];
    let limited = limited_to(&["qwen*"]);
    let names = |caller: &Caller| -> Vec<String> {
        it.gateway.models(caller).into_iter().map(|model| model.name).collect()
    };
    assert_eq!(names(&caller()), ["llama3:latest", "qwen3:8b"]);
    assert_eq!(names(&limited), ["qwen3:8b"]);
    it.gateway.model(&limited, "qwen3:8b").unwrap();
    for hidden in ["llama3:latest", "llama3", "LLAMA3", "absent", ""] {
        let request = GenerateRequest { model: hidden.to_owned(), ..request("r") };
        let wanted = Error::NoModel(hidden.to_owned());
        assert_eq!(it.gateway.model(&limited, hidden).err(), Some(wanted.clone()));
        assert_eq!(it.gateway.generate(&limited, request).await.err(), Some(wanted));
    }
    assert!(it.backend.asked.lock().unwrap().is_empty());
    assert_eq!(it.gateway.running(), 0);
}

#[tokio::test]
async fn the_backend_gets_the_full_name_of_a_model() {
    let it = Fixture::new(GatewayConfig::default());
    *it.backend.models.lock().unwrap() = vec![model("llama3:latest"), model("llama3:8b")];
    for name in ["llama3", "Llama3:LATEST", "llama3:latest"] {
        it.backend.then(Script::Say(vec![started(1), done(1, 0)]));
        let request = GenerateRequest { model: name.to_owned(), ..request(name) };
        read_all(it.gateway.generate(&caller(), request).await.unwrap()).await;
    }
    assert_eq!(*it.backend.asked.lock().unwrap(), ["llama3:latest"; 3]);
    assert!(it.rows().await.iter().all(|row| row.model == "llama3:latest"));
}

#[tokio::test]
async fn a_user_has_so_many_answers_at_once_and_others_are_not_concerned() {
    let config = GatewayConfig { max_running_per_caller: 2, ..GatewayConfig::default() };
    let it = Fixture::new(config);
    let mut streams = Vec::new();
    for id in ["a", "b"] {
        it.backend.then(Script::SayAndHang(vec![started(1)]));
        streams.push(it.gateway.generate(&caller(), request(id)).await.unwrap());
    }
    let two = GenerateRequest { choices: 2, ..request("two") };
    let three = GenerateRequest { choices: 3, ..request("three") };
    let refused = it.gateway.generate(&caller(), two).await;
    assert!(matches!(refused.err(), Some(Error::Busy { .. })));
    let refused = it.gateway.generate(&caller(), three).await;
    assert!(matches!(refused.err(), Some(Error::Invalid { .. })), "asking again does not help");
    // Another credential of the same user shares the limit.
    for again in [caller(), limited_to(&["*"])] {
        let refused = it.gateway.generate(&again, request("c")).await;
        assert!(matches!(refused.err(), Some(Error::Busy { .. })));
    }
    it.backend.then(Script::SayAndHang(vec![started(1)]));
    let other = Caller { user_id: Some(UserId(2)), ..caller() };
    let _others = it.gateway.generate(&other, request("d")).await.unwrap();
    let asked = [Some(UserId(1)), Some(UserId(1)), Some(UserId(2))];
    assert_eq!(*it.backend.users.lock().unwrap(), asked, "a backend knows whom it serves");
    drop(streams);
    it.recorded(2).await;
    it.backend.then(Script::Say(vec![started(1), done(1, 0)]));
    while it.gateway.running() > 1 {
        tokio::task::yield_now().await;
    }
    it.gateway.generate(&caller(), request("e")).await.unwrap();
}

#[tokio::test]
async fn only_admins_load_and_unload() {
    let it = Fixture::new(GatewayConfig::default());
    let loaded = || it.backend.loaded.load(Ordering::SeqCst);
    assert!(matches!(it.gateway.load(&caller(), "m").await, Err(Error::Forbidden(_))));
    assert!(matches!(it.gateway.unload(&caller(), "m").await, Err(Error::Forbidden(_))));
    assert_eq!(loaded(), 0);
    let admin = Caller { role: UserRole::Admin, ..caller() };
    it.gateway.load(&admin, "m").await.unwrap();
    assert_eq!(loaded(), 1);
    it.gateway.unload(&admin, "m").await.unwrap();
    assert_eq!(loaded(), 0);
    let absent = it.gateway.load(&admin, "absent").await;
    assert_eq!(absent, Err(Error::NoModel("absent".to_owned())));
}

/// A call of three prompts with two choices each.
async fn call_of_three(it: &Fixture) -> Result<crate::event::EventStream> {
    let requests =
        ["r", "r-2", "r-3"].map(|id| GenerateRequest { choices: 2, ..request(id) }).to_vec();
    it.gateway.generate_all(&caller(), requests).await
}

#[tokio::test]
async fn the_prompts_of_one_call_become_one_stream() {
    let config = GatewayConfig { max_running_per_caller: 6, ..GatewayConfig::default() };
    let it = Fixture::new(config);
    for prompt in 0..3 {
        it.backend.then(Script::Say(vec![
            started(10 + prompt),
            text(0, "a"),
            text(1, "b"),
            finished(1),
            finished(0),
            done(10 + prompt, 2),
        ]));
    }
    let heard = read_all(call_of_three(&it).await.unwrap()).await;
    assert_eq!(heard[0], started(33));
    let usage = Usage { prompt_tokens: 33, completion_tokens: 6, ..Usage::default() };
    assert_eq!(heard.last(), Some(&Ok(Event::Done(usage))));
    let (mut texts, mut ends) = (Vec::new(), Vec::new());
    for event in &heard[1..heard.len() - 1] {
        match event {
            Ok(Event::Text { choice, text, .. }) => texts.push((*choice, text.as_str())),
            Ok(Event::Finished { choice, .. }) => ends.push(*choice),
            other => panic!("{other:?}"),
        }
    }
    texts.sort_unstable();
    ends.sort_unstable();
    assert_eq!(texts, [(0, "a"), (1, "b"), (2, "a"), (3, "b"), (4, "a"), (5, "b")]);
    assert_eq!(ends, [0, 1, 2, 3, 4, 5]);
    let ids: Vec<String> =
        it.rows().await.into_iter().map(|row| row.client_request_id.unwrap_or_default()).collect();
    assert_eq!(ids, ["r", "r-2", "r-3"]);
}

#[tokio::test]
async fn a_call_of_several_prompts_counts_all_its_answers() {
    let config = GatewayConfig { max_running_per_caller: 6, ..GatewayConfig::default() };
    let it = Fixture::new(config);
    it.backend.then(Script::SayAndHang(vec![started(1)]));
    let _one = it.gateway.generate(&caller(), request("one")).await.unwrap();
    assert!(matches!(call_of_three(&it).await.err(), Some(Error::Busy { .. })));
    assert_eq!(it.backend.asked.lock().unwrap().len(), 1, "no prompt of it was started");
}

#[tokio::test]
async fn the_first_error_of_one_prompt_ends_the_whole_call() {
    let it = Fixture::new(GatewayConfig::default());
    let failure = Error::Internal("broke".to_owned());
    it.backend.then(Script::SayAndHang(vec![started(1)]));
    it.backend.then(Script::Say(vec![started(1), Err(failure.clone())]));
    it.backend.then(Script::SayAndHang(vec![started(1)]));
    let heard = read_all(call_of_three(&it).await.unwrap()).await;
    assert_eq!(heard, [started(3), Err(failure)]);
    it.backend.wait_for_cancelled(2).await;
    let rows = it.recorded(3).await;
    let stopped = rows.iter().filter(|row| row.outcome == Outcome::Stopped).count();
    assert_eq!((rows.len(), stopped), (3, 2));
    it.backend.then(Script::SayAndHang(vec![started(1)]));
    it.backend.then(Script::Refuse(Error::Draining));
    assert_eq!(call_of_three(&it).await.err(), Some(Error::Draining));
    it.backend.wait_for_cancelled(3).await;
}

#[tokio::test]
async fn a_client_that_leaves_a_call_of_several_prompts_stops_them_all() {
    let it = Fixture::new(GatewayConfig::default());
    for _ in 0..3 {
        it.backend.then(Script::SayAndHang(vec![started(1), text(0, "x")]));
    }
    let mut stream = call_of_three(&it).await.unwrap();
    assert_eq!(stream.recv().await, Some(started(3)));
    drop(stream);
    it.backend.wait_for_cancelled(3).await;
    assert_eq!(it.recorded(3).await.len(), 3);
}
