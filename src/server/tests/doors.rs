//! Who may come in through which door, and how everybody else is refused.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use hearth_gateway::Error;
use hearth_store::UserRole;
use serde_json::json;

use super::scripted::{Script, whole};
use super::{Fixture, PASSWORD, request};
use crate::error::Failure;
use crate::state::LARGE_BODIES;
use crate::{Access, ServerConfig};

#[tokio::test]
async fn every_route_refuses_whom_its_entry_does_not_name() {
    let fixture = Fixture::new();
    let user = fixture.token("ann", UserRole::User).await;
    let admin = fixture.token("root", UserRole::Admin).await;
    let control = fixture.control();
    let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
    for route in crate::list() {
        let path = route.path.replace("{id}", "7").replace("{name}", "x").replace("{*id}", "x");
        let who = [
            ("", Access::Anyone),
            (user.as_str(), Access::User),
            (admin.as_str(), Access::Admin),
            (control.as_str(), Access::Operator),
        ];
        for (token, role) in who {
            // Without a body: whoever is let in is told 415 or 404, and nothing changes.
            let answer = fixture.call(token, route.method, &path, None).await;
            let context = format!("{} {} as {role:?}: {}", route.method, path, answer.text);
            // Tokens and the operator are nobody's browser; tests of sessions stand elsewhere.
            let is_allowed = route.access != Access::Person && rank(role) >= rank(route.access);
            if !is_allowed {
                let expected = if token.is_empty() { refused[0] } else { refused[1] };
                assert_eq!(answer.status, expected, "{context}");
            } else if role == Access::Operator {
                // The operator owns no rows: 403 is right there, 401 never is.
                assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{context}");
            } else {
                assert!(!refused.contains(&answer.status), "{context}");
            }
            assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{context}");
            assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{context}");
        }
    }
}

fn rank(access: Access) -> u8 {
    match access {
        Access::Anyone => 0,
        Access::User | Access::Person => 1,
        Access::Admin => 2,
        Access::Operator => 3,
    }
}

#[tokio::test]
async fn each_dialect_has_its_own_error_shape() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    let body = json!({ "model": "nope", "messages": [{ "role": "user", "content": "x" }] });
    let answer = fixture.call(&token, "POST", "/v1/chat/completions", Some(body)).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(
        answer.json(),
        json!({ "error": {
            "message": "The model `nope` does not exist or you do not have access to it.",
            "type": "invalid_request_error", "param": "model", "code": "model_not_found",
        }})
    );
    let answer = fixture.call("", "GET", "/v1/models", None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.json()["error"]["code"], "invalid_api_key");

    let answer = fixture.call(&token, "GET", "/hearth/chats/none", None).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    let id = answer.headers["x-request-id"].to_str().unwrap();
    assert_eq!(answer.json()["error"]["request_id"], id);
    for (path, code) in [
        ("/hearth/nothing", "not_found"),
        ("/v1/nothing", "not_found"),
        ("/hearth/users/abc", "forbidden"),
    ] {
        assert_eq!(fixture.call(&token, "PATCH", path, None).await.code(), code, "{path}");
    }
    let answer = fixture.call(&token, "DELETE", "/v1/models", None).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.code(), "method_not_allowed");
}

#[tokio::test]
async fn a_full_context_names_no_field_that_the_request_lacks() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    let full = Error::ContextFull { prompt_tokens: 900, max_tokens: 0, context_tokens: 512 };
    fixture.backend.then(Script::Refuse(full));
    let body = Some(json!({ "model": "m", "prompt": "x" }));
    let error = fixture.call(&token, "POST", "/v1/completions", body).await.json();
    assert_eq!(error["error"]["code"], "context_length_exceeded");
    assert_eq!(error["error"]["param"], json!(null));
}

#[tokio::test]
async fn bodies_that_are_too_large_too_deep_or_no_json_are_refused() {
    let config = ServerConfig { max_body_bytes: 100_000, ..ServerConfig::default() };
    let fixture = Fixture::with(config);
    let token = fixture.token("ann", UserRole::User).await;
    for path in ["/v1/chat/completions", "/hearth/chats"] {
        let send = |body: Body, length: Option<&str>| {
            let mut request = request(&token, "POST", path, Some(json!({})));
            *request.body_mut() = body;
            if let Some(length) = length {
                request.headers_mut().insert("content-length", length.parse().unwrap());
            }
            fixture.send(request)
        };
        // A gigabyte that is only announced: nobody waits for it.
        let never = Body::from_stream(futures_util::stream::pending::<std::io::Result<Vec<u8>>>());
        let answer = send(never, Some("1000000000")).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        let answer = send(Body::from(vec![b' '; 100_001]), None).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(send(Body::from(deep), None).await.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(send(Body::from("{"), None).await.status, StatusCode::BAD_REQUEST, "{path}");
        let mut plain = request(&token, "POST", path, Some(json!({})));
        plain.headers_mut().insert("content-type", "text/plain".parse().unwrap());
        let answer = fixture.send(plain).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
    }
    let unknown = json!({ "model": "m", "colour": "red" });
    let answer = fixture.call(&token, "POST", "/hearth/chats", Some(unknown)).await;
    assert_eq!(answer.code(), "invalid_request");
}

#[tokio::test]
async fn bodies_are_small_where_a_caller_or_a_route_needs_no_large_one() {
    let fixture = Fixture::new();
    let control = fixture.control();
    let user = fixture.token("ann", UserRole::User).await;
    for (token, path, most) in [
        ("", "/hearth/session", 16 << 10),
        ("", "/hearth/setup", 16 << 10),
        (user.as_str(), "/hearth/tokens", 64 << 10),
        (control.as_str(), "/hearth/models/import", 64 << 10),
        (user.as_str(), "/hearth/chats/none/turns", 1 << 20),
        (user.as_str(), "/v1/completions", 32 << 20),
    ] {
        for (length, is_refused) in [(most, false), (most + 1, true)] {
            let mut request = request(token, "POST", path, Some(json!({})));
            *request.body_mut() = Body::from(vec![b' '; length]);
            let status = fixture.send(request).await.status;
            assert_eq!(status == StatusCode::PAYLOAD_TOO_LARGE, is_refused, "{path}: {length}");
        }
    }
}

#[tokio::test]
async fn a_server_without_places_still_answers_who_watches_it() {
    let config = ServerConfig { public_metrics: true, ..ServerConfig::default() };
    let fixture = Fixture::with(config);
    let all = fixture.state.config().max_requests;
    let _taken = fixture.state.requests().clone().try_acquire_many_owned(all).unwrap();
    assert_eq!(fixture.call("", "GET", "/hearth/status", None).await.code(), "busy");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(fixture.call("", "GET", path, None).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_panic_answers_500_and_the_server_goes_on() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
    fixture.backend.then(Script::Panic);
    let answer = fixture.call(&token, "POST", "/v1/chat/completions", Some(body.clone())).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.text.contains("as told"), "{}", answer.text);
    fixture.backend.then(whole(&["hi"]));
    let answer = fixture.call(&token, "POST", "/v1/chat/completions", Some(body)).await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "hi");
}

#[tokio::test]
async fn only_so_many_large_bodies_are_parsed_at_once() {
    let fixture = Fixture::new();
    let token = fixture.token("ann", UserRole::User).await;
    let body = |content: String| {
        Some(json!({ "model": "m", "messages": [{ "role": "user", "content": content }] }))
    };
    let path = "/v1/chat/completions";
    fixture.backend.then(whole(&["small"]));
    fixture.backend.then(whole(&["large"]));
    let places = fixture.state.large_bodies().clone();
    let all = places.acquire_many_owned(LARGE_BODIES as u32).await.unwrap();
    let large = async { fixture.call(&token, "POST", path, body("x".repeat(100_000))).await };
    let small = async {
        let answer = fixture.call(&token, "POST", path, body("x".to_owned())).await;
        drop(all);
        answer
    };
    for (answer, said) in <[_; 2]>::from(tokio::join!(large, small)).iter().zip(["large", "small"])
    {
        assert_eq!(answer.json()["choices"][0]["message"]["content"], said);
    }
}

#[tokio::test]
async fn an_import_of_what_cannot_be_read_names_the_path_and_the_reason() {
    let fixture = Fixture::new();
    let control = fixture.control();
    let folder = fixture.dir.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("config.json"), "{}").unwrap();
    let weights = folder.join("model.safetensors");
    let _socket = std::os::unix::net::UnixListener::bind(&weights).unwrap();
    let weights = weights.to_str().unwrap();
    for (path, named, reason) in [
        ("/nowhere/model.gguf", "/nowhere/model.gguf", "No such file"),
        ("/dev/null", "/dev/null", "neither a plain file nor a folder"),
        (weights, weights, "neither a plain file nor a folder"),
        (folder.to_str().unwrap(), weights, "neither a plain file nor a folder"),
    ] {
        let body = Some(json!({ "path": path, "name": "x" }));
        let answer = fixture.call(&control, "POST", "/hearth/models/import", body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {}", answer.text);
        assert_eq!(answer.code(), "not_readable");
        assert!(answer.text.contains(named) && answer.text.contains(reason), "{}", answer.text);
    }
}

#[test]
fn a_panic_is_not_quoted() {
    let response = crate::edge::caught(Box::new("a prompt".to_owned()));
    let failure = response.extensions().get::<Failure>().unwrap();
    assert_eq!(failure.detail.as_deref(), Some("a handler panicked"));
}

#[tokio::test]
async fn cookies_change_things_only_from_our_own_page() {
    let fixture = Fixture::new();
    fixture.token("ann", UserRole::User).await;
    let body = json!({ "name": "ann", "password": PASSWORD });
    let answer = fixture.call("", "POST", "/hearth/session", Some(body.clone())).await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let rename = |headers: &[(&str, &str)]| {
        let change = json!({ "theme": "dark" });
        let mut request = request("", "PATCH", "/hearth/me", Some(change));
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        for (name, value) in headers {
            let name: axum::http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        fixture.send(request)
    };
    for headers in [
        vec![],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
        vec![("origin", "http://evil.example")],
        vec![("origin", "null")],
    ] {
        assert_eq!(rename(&headers).await.code(), "cross_site", "{headers:?}");
    }
    for headers in [vec![("sec-fetch-site", "same-origin")], vec![("origin", "http://localhost")]] {
        assert_eq!(rename(&headers).await.status, StatusCode::OK, "{headers:?}");
    }
    let mut foreign = request("", "POST", "/hearth/session", Some(body));
    foreign.headers_mut().insert("sec-fetch-site", "cross-site".parse().unwrap());
    assert_eq!(fixture.send(foreign).await.code(), "cross_site");
}

#[tokio::test]
async fn foreign_names_in_host_are_refused() {
    let fixture = Fixture::new();
    let get = |host: Option<&str>| {
        let mut request = Request::builder().uri("/healthz");
        if let Some(host) = host {
            request = request.header("host", host);
        }
        fixture.send(request.body(Body::empty()).unwrap())
    };
    assert_eq!(get(Some("evil.example")).await.code(), "wrong_host");
    assert_eq!(get(None).await.code(), "wrong_host");
    assert_eq!(get(Some("192.0.2.1:3000")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_and_an_id() {
    let fixture = Fixture::new();
    for path in ["/", "/healthz", "/hearth/users", "/v1/nothing", "/assets/none.js"] {
        let answer = fixture.call("", "GET", path, None).await;
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("script-src 'self';"), "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert!(!answer.headers.contains_key("strict-transport-security"), "{path}");
        assert_eq!(answer.headers["x-request-id"].len(), 32, "{path}");
    }
    let mut named = request("", "GET", "/healthz", None);
    named.headers_mut().insert("x-request-id", "job-7.a".parse().unwrap());
    assert_eq!(fixture.send(named).await.headers["x-request-id"], "job-7.a");
    let mut hostile = request("", "GET", "/healthz", None);
    hostile.headers_mut().insert("x-request-id", "a b\"c".parse().unwrap());
    assert_eq!(fixture.send(hostile).await.headers["x-request-id"].len(), 32);
}

#[tokio::test]
async fn metrics_and_openapi_describe_what_there_is() {
    let fixture = Fixture::new();
    let admin = fixture.token("root", UserRole::Admin).await;
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
    fixture.backend.then(whole(&["a", "b"]));
    fixture.call(&admin, "POST", "/v1/chat/completions", Some(body)).await;
    let text = fixture.call(&admin, "GET", "/metrics", None).await.text;
    for line in [
        "hearth_completion_tokens_total{model=\"m\"} 2",
        "hearth_model_memory_bytes{model=\"m\"} 7",
        "hearth_generations_complete_total 1",
        "route=\"/v1/chat/completions\"",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert_eq!(text.matches("# EOF").count(), 1);

    let described = fixture.call(&admin, "GET", "/hearth/openapi.json", None).await.json();
    for route in crate::list().iter().filter(|route| route.path.starts_with("/hearth/")) {
        let method = route.method.to_lowercase();
        assert!(described["paths"][route.path][&method].is_object(), "{method} {}", route.path);
    }
    let turn = &described["components"]["schemas"]["Turn"]["properties"];
    assert!(turn["content"].is_object() && turn["sampling"].is_object(), "{turn}");
    let machine = fixture.call(&admin, "GET", "/hearth/machine", None).await.json();
    assert_eq!(
        (&machine["cores"], &machine["models_loaded"][0]["running"]),
        (&json!(2), &json!(1))
    );
}
