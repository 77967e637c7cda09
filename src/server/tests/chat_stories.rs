//! Stories of answers: streamed, stored, stopped and failed.

use axum::http::StatusCode;
use hearth_gateway::Error;
use hearth_gateway::request::{Input, Priority};
use hearth_store::UserRole;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;

use super::scripted::{Script, started, text, whole};
use super::{Fixture, request};

/// Events of a stream: name and data.
fn events(text: &str) -> Vec<(String, Value)> {
    text.split("\n\n")
        .filter_map(|block| {
            let name = block.lines().find_map(|line| line.strip_prefix("event: "))?;
            let data = block.lines().find_map(|line| line.strip_prefix("data: "))?;
            Some((name.to_owned(), serde_json::from_str(data).unwrap()))
        })
        .collect()
}

struct Story {
    fixture: Fixture,
    token: String,
    path: String,
}

impl Story {
    async fn new() -> Story {
        let fixture = Fixture::new();
        let token = fixture.token("ann", UserRole::User).await;
        let chat = json!({ "model": "m" });
        let answer = fixture.call(&token, "POST", "/hearth/chats", Some(chat)).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        let path = format!("/hearth/chats/{}", answer.json()["chat"]["id"].as_str().unwrap());
        Story { fixture, token, path }
    }

    async fn turn(&self, body: Value) -> super::Answer {
        let path = format!("{}/turns", self.path);
        self.fixture.call(&self.token, "POST", &path, Some(body)).await
    }

    async fn show(&self) -> Value {
        self.fixture.call(&self.token, "GET", &self.path, None).await.json()
    }
}

#[tokio::test]
async fn a_stream_is_printed_as_openai_prints_it() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    fixture.backend.then(whole(&["Hel", "lo"]));
    let body = json!({
        "model": "m", "stream": true, "stream_options": { "include_usage": true },
        "messages": [{ "role": "user", "content": "x" }],
    });
    let answer = fixture.call(&token, "POST", "/v1/chat/completions", Some(body)).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert_eq!(answer.headers["x-accel-buffering"], "no");
    let data: Vec<&str> =
        answer.text.split("\n\n").filter_map(|block| block.strip_prefix("data: ")).collect();
    assert_eq!(*data.last().unwrap(), "[DONE]");
    let chunks: Vec<Value> =
        data[..data.len() - 1].iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    let said: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(said, "Hello");
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], 2);
}

#[tokio::test]
async fn an_error_before_the_first_event_is_a_status_and_later_a_frame() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    let body =
        json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "x" }] });
    let busy = || Error::Busy { retry_after: Duration::from_secs(7) };
    for script in [Script::Refuse(busy()), Script::Say(vec![Err(busy())])] {
        fixture.backend.then(script);
        let path = "/v1/chat/completions";
        let answer = fixture.call(&token, "POST", path, Some(body.clone())).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.headers["retry-after"], "7");
        assert_eq!(answer.code(), "rate_limit_exceeded");
    }
    let full = Error::Overloaded { retry_after: Duration::from_secs(9) };
    fixture.backend.then(Script::Refuse(full));
    let answer = fixture.call(&token, "POST", "/v1/chat/completions", Some(body.clone())).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "9");
    assert_eq!(answer.code(), "overloaded");
    let secret = Error::Internal("tensor 7 at /secret/path".to_owned());
    fixture.backend.then(Script::Say(vec![started(), text("so"), Err(secret)]));
    let answer = fixture.call(&token, "POST", "/v1/chat/completions", Some(body)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.text.ends_with("data: [DONE]\n\n"), "{}", answer.text);
    assert!(answer.text.contains("\"server_error\"") && !answer.text.contains("secret"));
}

#[tokio::test]
async fn models_are_found_by_names_with_slashes() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    for path in ["/v1/models/hf.co/a/b:q4", "/v1/models/hf.co%2Fa%2Fb%3Aq4"] {
        let answer = fixture.call(&token, "GET", path, None).await;
        assert_eq!(answer.json()["id"], "hf.co/a/b:q4", "{path}");
    }
    let answer = fixture.call(&token, "GET", "/v1/models/none", None).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_turn_is_streamed_and_stored_and_the_next_one_knows_it() {
    let story = Story::new().await;
    story.fixture.backend.then(whole(&["Good ", "day"]));
    let answer = story.turn(json!({ "content": "Hello there" })).await;
    let events = events(&answer.text);
    // How the pieces fall into frames depends on who is faster.
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names[0], *names.last().unwrap()), ("started", "finished"));
    assert!(names[1..names.len() - 1].iter().all(|name| *name == "delta"), "{names:?}");
    let mut said = events[0].1["assistant_message"]["content"].as_str().unwrap().to_owned();
    said.extend(events.iter().filter_map(|(_, data)| data["text"].as_str()));
    assert_eq!(said, "Good day");
    let last = &events.last().unwrap().1;
    assert_eq!(last["chat"]["title"], "Hello there");
    assert_eq!(last["assistant_message"]["content"], "Good day");
    assert_eq!(last["assistant_message"]["status"], "complete");
    assert_eq!(last["assistant_message"]["usage"]["completion_tokens"], 2);
    assert_eq!(events[0].1["user_message"], story.show().await["messages"][0]);

    story.fixture.backend.then(whole(&["Fine"]));
    story.turn(json!({ "content": "How are you?" })).await;
    let asked = story.fixture.backend.asked.lock().unwrap().pop().unwrap();
    assert_eq!(asked.priority, Priority::Interactive, "somebody sits in front of it");
    let Input::Chat(messages) = asked.input else { panic!("no chat") };
    let said: Vec<String> = messages.iter().map(|message| message.joined_text()).collect();
    assert_eq!(said, ["Hello there", "Good day", "How are you?"]);

    let first = last["assistant_message"]["id"].clone();
    story.fixture.backend.then(whole(&["Hi"]));
    story.turn(json!({ "regenerate": first })).await;
    let all = format!("{}/export", story.path);
    let all = story.fixture.call(&story.token, "GET", &all, None).await.json();
    assert_eq!(all["messages"].as_array().unwrap().len(), 5);
    let shown = story.show().await;
    let messages = shown["messages"].as_array().unwrap();
    let newest = messages.iter().find(|message| message["content"] == "Hi").unwrap();
    assert_eq!(newest["versions"].as_array().unwrap().len(), 2);
    assert_eq!(newest["parent_id"], messages[0]["id"], "beside the first answer");
}

/// Reads a stream until it has said this.
async fn read_until(body: &mut axum::body::Body, words: &str) -> String {
    let mut heard = String::new();
    while !heard.contains(words) {
        let frame = body.frame().await.unwrap().unwrap();
        heard.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    heard
}

#[tokio::test]
async fn an_answer_goes_on_without_its_reader_and_another_reads_along_until_it_is_stopped() {
    let story = Story::new().await;
    story.fixture.backend.then(Script::SayAndHang(vec![started(), text("Once upon")]));
    let path = format!("{}/turns", story.path);
    let body = json!({ "content": "A tale" });
    let response =
        story.fixture.router.clone().oneshot(request(&story.token, "POST", &path, Some(body)));
    let mut reading = response.await.unwrap().into_body();
    read_until(&mut reading, "Once upon").await;
    drop(reading);
    let second = story.turn(json!({ "content": "Me too" })).await;
    assert_eq!((second.status, second.code().as_str()), (StatusCode::CONFLICT, "turn_running"));

    let running = story.show().await["running"][0].as_str().unwrap().to_owned();
    let along = format!("{path}/{running}");
    let bob = story.fixture.token("bob", UserRole::Admin).await;
    let foreign = story.fixture.call(&bob, "GET", &along, None).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    let response = story.fixture.router.clone().oneshot(request(&story.token, "GET", &along, None));
    let mut reading = response.await.unwrap().into_body();
    read_until(&mut reading, "Once upon").await;
    let foreign = story.fixture.call(&bob, "DELETE", &path, None).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    let stopped = story.fixture.call(&story.token, "DELETE", &path, None).await;
    assert_eq!(stopped.status, StatusCode::NO_CONTENT);
    let end = read_until(&mut reading, "event: finished").await;
    assert!(end.contains("\"stopped\""), "{end}");
    let limit = Duration::from_secs(10);
    let cancelled = story.fixture.backend.wait_for_cancelled(1);
    tokio::time::timeout(limit, cancelled).await.expect("the sequence is cancelled");
    let shown = story.show().await;
    let answer = &shown["messages"][1];
    assert_eq!((&answer["status"], &answer["content"]), (&json!("stopped"), &json!("Once upon")));
    assert_eq!(shown["running"], json!([]));
    let gone = story.fixture.call(&story.token, "GET", &along, None).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_no_answer_up() {
    let story = Story::new().await;
    // More than all the queues on the way take.
    let pieces: Vec<&str> = std::iter::repeat_n("and ", 500).collect();
    story.fixture.backend.then(whole(&pieces));
    let path = format!("{}/turns", story.path);
    let request = request(&story.token, "POST", &path, Some(json!({ "content": "A tale" })));
    let unread = story.fixture.router.clone().oneshot(request).await.unwrap();
    assert_eq!(unread.status(), StatusCode::OK);
    story.fixture.state.tasks().close();
    story.fixture.state.tasks().wait().await;
    let answer = &story.show().await["messages"][1];
    assert_eq!(answer["status"], "complete");
    assert_eq!(answer["content"].as_str().unwrap().len(), 2_000);
    drop(unread);
}

#[tokio::test]
async fn thoughts_and_calls_are_told_and_kept_apart_from_the_text() {
    use hearth_gateway::event::{Aside, Event};
    let story = Story::new().await;
    let aside = |aside| Ok(Event::Aside { choice: 0, aside, tokens: Vec::new() });
    let Script::Say(mut events) = whole(&["Sunny."]) else { unreachable!() };
    let call = Aside::CallStart { index: 0, id: "c1".to_owned(), name: "weather".to_owned() };
    let arguments = Aside::CallArguments { index: 0, text: "{\"at\":\"Rome\"}".to_owned() };
    events.insert(1, aside(Aside::Reasoning("Hm, Rome.".to_owned())));
    events.insert(2, aside(call));
    events.insert(3, aside(arguments));
    story.fixture.backend.then(Script::Say(events));
    story.turn(json!({ "content": "The weather?" })).await;
    let answer = &story.show().await["messages"][1];
    assert_eq!((&answer["content"], &answer["reasoning"]), (&json!("Sunny."), &json!("Hm, Rome.")));
    assert_eq!(answer["calls"][0]["arguments"], "{\"at\":\"Rome\"}");
    assert!(answer["reasoning_ms"].is_u64());
}

#[tokio::test]
async fn a_turn_takes_the_chats_instructions_parameters_and_files() {
    let story = Story::new().await;
    let settings = json!({
        "system": "Be brief.",
        "parameters": { "temperature": 0.5, "seed": 7, "stop": ["END"], "context_tokens": 512 },
    });
    let change = Some(json!({ "settings": settings }));
    let answer = story.fixture.call(&story.token, "PATCH", &story.path, change).await;
    assert_eq!(answer.json()["chat"]["settings"], settings);
    let wild = Some(json!({ "settings": { "parameters": { "temperature": 9 } } }));
    let refused = story.fixture.call(&story.token, "PATCH", &story.path, wild).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);

    story.fixture.backend.then(whole(&["Yes"]));
    let files = json!([{ "name": "a\".txt", "text": "line\n" }]);
    story
        .turn(json!({ "content": "Read it", "files": files, "sampling": { "temperature": 0.0 } }))
        .await;
    let asked = story.fixture.backend.asked.lock().unwrap().pop().unwrap();
    assert_eq!((asked.sampling.temperature, asked.sampling.seed), (Some(0.0), Some(7)));
    assert_eq!((asked.stop, asked.window.limit_tokens), (vec!["END".to_owned()], Some(512)));
    let Input::Chat(messages) = asked.input else { panic!("no chat") };
    let said: Vec<String> = messages.iter().map(|message| message.joined_text()).collect();
    assert_eq!(said, ["Be brief.", "<file name=\"a .txt\">\nline\n</file>\n\nRead it"]);
    let question = story.show().await["messages"][0].clone();
    assert_eq!(question["files"], json!([{ "name": "a\".txt", "bytes": 5 }]));

    story.fixture.backend.then(whole(&["Again"]));
    let edited = json!({ "content": "Once more", "parent_id": null, "files_of": question["id"] });
    story.turn(edited).await;
    let asked = story.fixture.backend.asked.lock().unwrap().pop().unwrap();
    let Input::Chat(messages) = asked.input else { panic!("no chat") };
    assert!(messages[1].joined_text().contains("</file>\n\nOnce more"));
}

#[tokio::test]
async fn an_answer_goes_on_where_it_stopped_and_others_are_given_beside_it() {
    let story = Story::new().await;
    story.fixture.backend.then(whole(&["One, "]));
    story.turn(json!({ "content": "Count" })).await;
    let shown = story.show().await;
    let (question, answer) = (&shown["messages"][0]["id"], &shown["messages"][1]["id"]);
    story.fixture.backend.then(whole(&["two."]));
    story.turn(json!({ "continue": answer })).await;
    let shown = story.show().await;
    assert_eq!(shown["messages"][1]["content"], "One, two.");
    assert_eq!(shown["messages"].as_array().unwrap().len(), 2);

    story.fixture.backend.then(whole(&["Eins."]));
    let beside = story.turn(json!({ "answer": question, "model": "hf.co/a/b:q4" })).await;
    assert_eq!(beside.status, StatusCode::OK);
    let shown = story.show().await;
    assert_eq!(shown["messages"][1]["content"], "One, two.", "the chat stays where it is");
    assert_eq!(shown["chat"]["model"], "m");
    let versions = shown["messages"][1]["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2);
    let go = json!({ "current_message_id": versions[1] });
    story.fixture.call(&story.token, "PATCH", &story.path, Some(go)).await;
    assert_eq!(story.show().await["messages"][1]["content"], "Eins.");
    for wrong in [json!({ "answer": answer }), json!({ "continue": question })] {
        assert_eq!(story.turn(wrong).await.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_turn_that_cannot_start_stores_nothing_and_one_that_breaks_says_why() {
    let story = Story::new().await;
    let full = Error::ContextFull { prompt_tokens: 900, max_tokens: 0, context_tokens: 512 };
    story.fixture.backend.then(Script::Refuse(full));
    let answer = story.turn(json!({ "content": "Long" })).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::BAD_REQUEST, "context_full"));
    assert!(answer.text.contains("900") && answer.text.contains("512"));
    assert_eq!(story.show().await["messages"], json!([]));

    let broken = Error::Internal("a thread died".to_owned());
    story.fixture.backend.then(Script::Say(vec![started(), text("So"), Err(broken)]));
    let answer = story.turn(json!({ "content": "Again" })).await;
    let events = events(&answer.text);
    let (name, data) = events.last().unwrap();
    assert_eq!((name.as_str(), &data["error"]["code"]), ("failed", &json!("internal")));
    let stored = &story.show().await["messages"][1];
    assert_eq!((&stored["status"], &stored["content"]), (&json!("failed"), &json!("So")));
    assert!(!answer.text.contains("thread"));
}

#[tokio::test]
async fn chats_of_others_are_not_found() {
    let story = Story::new().await;
    let bob = story.fixture.token("bob", UserRole::Admin).await;
    let turns = format!("{}/turns", story.path);
    let calls = [
        ("GET", story.path.as_str(), None),
        ("PATCH", &story.path, Some(json!({ "title": "mine" }))),
        ("DELETE", &story.path, None),
        ("POST", &turns, Some(json!({ "content": "x" }))),
    ];
    for (method, path, body) in calls {
        let answer = story.fixture.call(&bob, method, path, body).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
    }
    let listed = story.fixture.call(&bob, "GET", "/hearth/chats", None).await.json();
    assert_eq!(listed, json!({ "chats": [], "next": null }));
    assert_eq!(story.fixture.store.users().list(None, 10).await.unwrap().len(), 2);
}
