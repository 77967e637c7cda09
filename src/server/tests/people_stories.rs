//! People over HTTP: sign-in with a second factor, invites, files, and what ends at once.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use hearth_store::UserRole;
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

use super::scripted::{Script, started, text};
use super::{Fixture, PASSWORD, request};

#[tokio::test]
async fn an_open_answer_ends_with_its_last_word_when_its_caller_is_disabled() {
    let fixture = Fixture::new();
    let root = fixture.token("root", UserRole::Admin).await;
    let token = fixture.token("ann", UserRole::User).await;
    let ann = fixture.store.users().by_name("ann").await.unwrap().unwrap();
    for (path, body, last) in [
        (
            "/v1/chat/completions",
            json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "x" }] }),
            "invalid_api_key",
        ),
        (
            "/v1/messages",
            json!({
                "model": "m", "stream": true, "max_tokens": 9,
                "messages": [{ "role": "user", "content": "x" }],
            }),
            "authentication_error",
        ),
        ("/api/generate", json!({ "model": "m", "prompt": "x" }), "unauthorized"),
    ] {
        fixture.backend.then(Script::SayAndHang(vec![started(), text("Hel")]));
        let request = request(&token, "POST", path, Some(body));
        let response = fixture.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let whole = tokio::spawn(response.into_body().collect());
        let change = |disabled| Some(json!({ "disabled": disabled }));
        let user = format!("/hearth/users/{}", ann.id.0);
        let answer = fixture.call(&root, "PATCH", &user, change(true)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let within = Duration::from_secs(5);
        let whole = tokio::time::timeout(within, whole).await.expect("within five seconds");
        let whole = whole.unwrap().unwrap().to_bytes();
        let whole = String::from_utf8(whole.to_vec()).unwrap();
        assert!(whole.contains("Hel") && whole.contains(last), "{path}: {whole}");
        fixture.call(&root, "PATCH", &user, change(false)).await;
    }
    fixture.backend.wait_for_cancelled(3).await;
}

#[tokio::test]
async fn a_request_whose_answer_has_not_begun_is_refused_when_its_token_is_deleted() {
    let fixture = Fixture::new();
    fixture.token("root", UserRole::Admin).await;
    let token = fixture.token("ann", UserRole::User).await;
    let listed = fixture.call(&token, "GET", "/hearth/tokens", None).await.json();
    let id = listed["tokens"][0]["id"].as_i64().unwrap();
    fixture.backend.then(Script::SayAndHang(vec![started(), text("never whole")]));
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
    let asked = request(&token, "POST", "/v1/chat/completions", Some(body));
    let answer = tokio::spawn(fixture.router.clone().oneshot(asked));
    while fixture.backend.asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let (control, path) = (fixture.control(), format!("/hearth/tokens/{id}"));
    let deleted = fixture.call(&control, "DELETE", &path, None).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let answer = tokio::time::timeout(Duration::from_secs(5), answer).await.unwrap();
    assert_eq!(answer.unwrap().unwrap().status(), StatusCode::UNAUTHORIZED);
    fixture.backend.wait_for_cancelled(1).await;
}

#[tokio::test]
async fn an_invite_makes_an_account_in_a_browser() {
    let fixture = Fixture::new();
    let root = fixture.token("root", UserRole::Admin).await;
    let group = json!({ "name": "lab", "models": ["m"] });
    let answer = fixture.call(&root, "POST", "/hearth/groups", Some(group)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let invite = json!({ "group": "lab", "note": "spring" });
    let invite = fixture.call(&root, "POST", "/hearth/invites", Some(invite)).await.json();
    let secret = invite["secret"].as_str().unwrap();
    let listed = fixture.call(&root, "GET", "/hearth/invites", None).await;
    assert!(!listed.text.contains(secret), "shown once");
    let join = |name: &str| Some(json!({ "invite": secret, "name": name, "password": PASSWORD }));
    let joined = fixture.call("", "POST", "/hearth/join", join("ann")).await;
    assert_eq!(joined.status, StatusCode::CREATED, "{}", joined.text);
    assert_eq!(joined.json()["user"]["group"], "lab");
    let again = fixture.call("", "POST", "/hearth/join", join("bob")).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    let cookie = joined.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    let models = Request::get("/v1/models")
        .header("host", "localhost")
        .header("cookie", cookie)
        .body(Body::empty())
        .unwrap();
    let models = fixture.send(models).await.json();
    let ids: Vec<&str> =
        models["data"].as_array().unwrap().iter().filter_map(|m| m["id"].as_str()).collect();
    assert_eq!(ids, ["m"], "the group's models alone");
}

#[tokio::test]
async fn people_come_and_go_as_a_table() {
    let fixture = Fixture::new();
    let root = fixture.token("root", UserRole::Admin).await;
    let import = async |query: &str, table: &'static str| {
        let mut request = request(&root, "POST", &format!("/hearth/users/import{query}"), None);
        *request.body_mut() = Body::from(table);
        fixture.send(request).await
    };
    let table = "name,role,password\nann,user,correct horse\n'=1+1,user,\n";
    assert_eq!(import("?dry_run=true", table).await.json()["dry_run"], true);
    assert_eq!(import("", table).await.json()["users"], 2);
    let bad = import("", "name\nann\n").await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert!(bad.json()["error"]["message"].as_str().unwrap().contains("Row 1"), "{}", bad.text);
    let answer = fixture.call(&root, "GET", "/hearth/users/export", None).await;
    assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8");
    assert!(answer.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert!(answer.text.contains("\n'=1+1,user,"), "{}", answer.text);
}

#[tokio::test]
async fn the_audit_log_is_paged_and_verified_over_http() {
    let fixture = Fixture::new();
    let root = fixture.token("root", UserRole::Admin).await;
    for name in ["a1", "b2", "c3"] {
        let body = Some(json!({ "name": name }));
        fixture.call(&root, "POST", "/hearth/groups", body).await;
    }
    let path = "/hearth/audit?action=groups.&limit=2";
    let first = fixture.call(&root, "GET", path, None).await.json();
    assert_eq!(first["acts"][0]["target"], "group c3");
    let path = format!("{path}&before={}", first["next"]);
    let second = fixture.call(&root, "GET", &path, None).await.json();
    assert_eq!(second["acts"].as_array().unwrap().len(), 1);
    assert_eq!(second["next"], json!(null));
    let whole = fixture.call(&root, "GET", "/hearth/audit/verify", None).await.json();
    assert_eq!(whole["fault"], json!(null));
    let head = format!("?sequence={}&hash={}", whole["rows"], whole["hash"].as_str().unwrap());
    let path = format!("/hearth/audit/verify{head}");
    assert_eq!(fixture.call(&root, "GET", &path, None).await.json()["fault"], json!(null));
    let wrong = format!("/hearth/audit/verify?sequence=1&hash={}", "0".repeat(64));
    assert!(fixture.call(&root, "GET", &wrong, None).await.json()["fault"].is_string());
    for bad in ["?sequence=1", "?sequence=1&hash=xyz", "?sequence=-1&hash=00", "?limit=1"] {
        let path = format!("/hearth/audit/verify{bad}");
        let answer = fixture.call(&root, "GET", &path, None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    for bad in ["?limit=0", "?limit=501", "?since=x", "?colour=red"] {
        let answer = fixture.call(&root, "GET", &format!("/hearth/audit{bad}"), None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}
