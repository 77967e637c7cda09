//! What Ollama's clients see: lines and their end, errors and their words, and who may do what.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use hearth_gateway::Error;
use hearth_store::UserRole;
use serde_json::{Value, json};

use super::scripted::{Script, started, text, whole};
use super::{Answer, Fixture, request};

fn lines(answer: &Answer) -> Vec<Value> {
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn asking(change: Value) -> Option<Value> {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    Some(body)
}

#[tokio::test]
async fn answers_are_lines_unless_one_object_is_asked_for() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    fixture.backend.then(whole(&["Once", " upon"]));
    let answer = fixture.call(&token, "POST", "/api/chat", asking(json!({}))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    assert!(answer.text.ends_with('\n'));
    let lines = lines(&answer);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1]["message"]["content"], " upon");
    assert_eq!((&lines[2]["done"], &lines[2]["eval_count"]), (&json!(true), &json!(2)));
    assert!(lines[2]["total_duration"].as_u64().unwrap() > 0);
    fixture.backend.then(whole(&["Once", " upon"]));
    let body = json!({ "stream": false, "options": { "mirostat": 1 } });
    let answer = fixture.call(&token, "POST", "/api/chat", asking(body)).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["x-hearth-ignored"], "mirostat");
    assert_eq!(answer.json()["message"]["content"], "Once upon");
}

#[tokio::test]
async fn a_stream_ends_with_its_last_line_also_after_an_error() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    let broken = Err(Error::Internal("/secret/path broke".to_owned()));
    fixture.backend.then(Script::Say(vec![started(), text("Once"), broken]));
    let answer = fixture.call(&token, "POST", "/api/chat", asking(json!({}))).await;
    let lines = lines(&answer);
    let last = lines.last().unwrap();
    assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("error")));
    assert!(last["error"].as_str().unwrap().starts_with("the server had a fault"));
    assert!(!answer.text.contains("secret"));
    let broken = Err(Error::Internal("broke".to_owned()));
    fixture.backend.then(Script::Say(vec![started(), text("Once"), broken]));
    let answer =
        fixture.call(&token, "POST", "/api/chat", asking(json!({ "stream": false }))).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.json()["error"].is_string());
}

#[tokio::test]
async fn refusals_have_the_status_and_words_that_clients_look_for() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    let busy = Error::Overloaded { retry_after: std::time::Duration::from_secs(7) };
    fixture.backend.then(Script::Refuse(busy));
    let answer = fixture.call(&token, "POST", "/api/chat", asking(json!({}))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let words = "server busy, please try again.  maximum pending requests exceeded";
    assert_eq!(answer.json(), json!({ "error": words }));
    assert_eq!(answer.headers["retry-after"], "7");
    for (path, body, status, words) in [
        ("/api/chat", json!({ "model": "x" }), 404, "model 'x' not found"),
        ("/api/generate", json!({}), 404, "model '' not found"),
        ("/api/chat", json!({}), 400, "model is required"),
        ("/api/embed", json!({ "model": "x", "input": "a" }), 404, "model 'x' not found"),
        ("/api/chat", json!({ "model": "m", "think": 3 }), 400, "invalid think value: \"?\""),
    ] {
        let answer = fixture.call(&token, "POST", path, Some(body)).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.starts_with(words), "{error}");
    }
    for (method, path, status) in [
        ("GET", "/api/nothing", StatusCode::NOT_FOUND),
        ("GET", "/api/chat", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let answer = fixture.call(&token, method, path, None).await;
        assert_eq!(answer.status, status);
        assert!(answer.json()["error"].is_string(), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_body_is_read_whatever_it_says_it_is() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    for kind in ["application/x-www-form-urlencoded", "text/plain"] {
        fixture.backend.then(whole(&["Once"]));
        let request = Request::post("/api/generate")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", kind)
            .body(Body::from(r#"{"model":"m","prompt":"x","stream":false}"#))
            .unwrap();
        let answer = fixture.send(request).await;
        assert_eq!(answer.json()["response"], "Once", "{kind}");
    }
}

#[tokio::test]
async fn signs_of_life_need_no_credential_and_nothing_else_goes_without() {
    let fixture = Fixture::new();
    let get = |accept: &str| {
        let mut request = request("", "GET", "/", None);
        request.headers_mut().insert("accept", accept.parse().unwrap());
        request
    };
    for accept in ["*/*", "application/json"] {
        assert_eq!(fixture.send(get(accept)).await.text, "Ollama is running");
    }
    let page = fixture.send(get("text/html,application/xhtml+xml,*/*;q=0.8")).await;
    assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
    let head = fixture.call("", "HEAD", "/", None).await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
    let version = fixture.call("", "GET", "/api/version", None).await.json();
    let parts: Vec<u32> =
        version["version"].as_str().unwrap().split('.').map(|part| part.parse().unwrap()).collect();
    assert_eq!(parts.len(), 3);
    for (method, path) in [
        ("GET", "/api/status"),
        ("GET", "/api/tags"),
        ("GET", "/api/ps"),
        ("POST", "/api/chat"),
        ("POST", "/api/generate"),
        ("POST", "/api/embed"),
        ("POST", "/api/embeddings"),
    ] {
        let answer = fixture.call("", method, path, None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(answer.json()["error"].as_str().unwrap().starts_with("unauthorized"), "{path}");
    }
}

#[tokio::test]
async fn only_admins_let_models_go_or_stay() {
    let fixture = Fixture::new();
    let user = fixture.token("ann", UserRole::User).await;
    let admin = fixture.token("root", UserRole::Admin).await;
    let unload = Some(json!({ "model": "m", "keep_alive": 0 }));
    let answer = fixture.call(&user, "POST", "/api/generate", unload.clone()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let answer = fixture.call(&admin, "POST", "/api/generate", unload).await.json();
    assert_eq!((&answer["done"], &answer["done_reason"]), (&json!(true), &json!("unload")));
    let load = Some(json!({ "model": "m", "keep_alive": "1h" }));
    let answer = fixture.call(&user, "POST", "/api/generate", load.clone()).await;
    assert_eq!(answer.headers["x-hearth-ignored"], "keep_alive");
    assert_eq!(answer.json()["done_reason"], "load");
    let answer = fixture.call(&admin, "POST", "/api/generate", load).await;
    assert!(!answer.headers.contains_key("x-hearth-ignored"));
    fixture.backend.then(whole(&["Once"]));
    let body = asking(json!({ "keep_alive": -1, "stream": false }));
    let answer = fixture.call(&user, "POST", "/api/chat", body).await;
    assert_eq!(answer.headers["x-hearth-ignored"], "keep_alive");
}

#[tokio::test]
async fn only_admins_see_how_a_prompt_is_written() {
    let fixture = Fixture::new();
    let user = fixture.token("ann", UserRole::User).await;
    let body = || asking(json!({ "_debug_render_only": true }));
    let answer = fixture.call(&user, "POST", "/api/chat", body()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text);
    let admin = fixture.token("root", UserRole::Admin).await;
    let answer = fixture.call(&admin, "POST", "/api/chat", body()).await;
    // The scripted models have no templates.
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    assert!(answer.text.contains("are not written here"), "{}", answer.text);
}
