//! Names that are paths, or nothing at all.

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::{is_well, kept};
use crate::registry::Registry;

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_elsewhere_are_refused_wherever_a_name_stands() {
    let registry = Registry::start().await;
    let story = registry.story().await;
    let before = kept(&story);
    let long = "a".repeat(81);
    for name in [
        "..",
        "../../etc/passwd",
        "a/../b",
        "a/..",
        "/etc/passwd",
        "/dev/random",
        "a//b",
        "a/b/c/d",
        "a\\..\\b",
        "a\0b",
        "a%2e%2e",
        "a:../b",
        "a:",
        "file:///etc/passwd",
        "a b",
        ".hidden",
        &long,
    ] {
        for (method, path, body) in [
            (Method::POST, "/api/pull", json!({ "model": name })),
            (Method::POST, "/api/pull", json!({ "model": name, "stream": false })),
            (Method::DELETE, "/api/delete", json!({ "model": name })),
            (Method::POST, "/api/copy", json!({ "source": name, "destination": "x" })),
            (Method::POST, "/api/copy", json!({ "source": "stories260k", "destination": name })),
            (Method::POST, "/api/create", json!({ "model": name, "from": "stories260k" })),
            (Method::POST, "/api/create", json!({ "model": "x", "from": name })),
            (Method::POST, "/api/push", json!({ "model": name })),
            (Method::POST, "/api/show", json!({ "model": name })),
            (Method::POST, "/hearth/models/pull", json!({ "name": name })),
        ] {
            let (status, answer) = story.send_json(method, path, body).await;
            let is_refused = matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND);
            assert!(is_refused, "{path} of {name:?}: {status} {answer}");
            // Whether a path is there, and what it is, is nobody's business.
            let told = answer.to_string();
            assert!(!told.contains("No such file") && !told.contains("directory"), "{told}");
        }
    }
    assert_eq!(kept(&story), before);
    assert!(registry.asked_for("").is_empty());
    is_well(&story).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_registries_that_an_admin_allows_are_asked() {
    let registry = Registry::start().await;
    let other = Registry::start().await;
    let story = registry.story().await;
    for host in [
        other.address.to_string(),
        "205.237.106.117".to_owned(),
        "evil.example".to_owned(),
        "169.254.169.254".to_owned(),
    ] {
        let body = json!({ "model": format!("{host}/a/b"), "stream": false });
        let (status, answer) = story.call("/api/pull", body).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains("Models are not pulled from"), "{error}");
    }
    assert!(other.asked_for("").is_empty());
}
