//! A model comes from a registry on loopback and answers.

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use futures_util::StreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::story::{Story, models};

/// Serves one model as `me/stories:latest`, and one that never comes as `me/slow:latest`.
async fn registry() -> String {
    let gguf = std::fs::read(models().join("stories260K-q8_0.gguf")).unwrap();
    let config = br#"{"model_format":"gguf"}"#.to_vec();
    let digest = |bytes: &[u8]| format!("sha256:{}", hex(&Sha256::digest(bytes)));
    let manifest = |model: &str| {
        let layers = json!([{ "mediaType": "application/vnd.ollama.image.model",
            "digest": model, "size": gguf.len() }]);
        let config = json!({ "mediaType": "c", "digest": digest(&config), "size": config.len() });
        json!({ "schemaVersion": 2, "mediaType": "m", "config": config, "layers": layers })
    };
    let (whole, absent) = (manifest(&digest(&gguf)), manifest(&digest(b"absent")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().fallback(move |request: axum::extract::Request| {
        let path = request.uri().path();
        let blob = |bytes: &Vec<u8>| path.ends_with(&digest(bytes)).then(|| bytes.clone());
        let answer = match path {
            "/v2/me/stories/manifests/latest" => whole.to_string().into_response(),
            "/v2/me/slow/manifests/latest" => absent.to_string().into_response(),
            _ => match blob(&gguf).or_else(|| blob(&config)) {
                Some(bytes) => bytes.into_response(),
                None if path.starts_with("/v2/me/slow/blobs/") => {
                    let never = futures_util::stream::pending::<std::io::Result<Vec<u8>>>();
                    axum::body::Body::from_stream(never).into_response()
                }
                None => StatusCode::NOT_FOUND.into_response(),
            },
        };
        std::future::ready(answer)
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn story(registry: &str) -> Story {
    Story::begin_with(|config| {
        config.hub.registries = vec![registry.to_owned()];
        config.hub.plain_http = vec![registry.to_owned()];
        config.hub.private_hosts = vec!["127.0.0.1".to_owned()];
        config.hub.keep_free_bytes = 0;
    })
    .await
}

#[tokio::test]
async fn a_pulled_model_answers() {
    let registry = registry().await;
    let story = story(&registry).await;
    let name = format!("{registry}/me/stories");
    let mut lines = story.stream("/hearth/models/pull", json!({ "name": name })).await;
    let mut text = Vec::new();
    while let Some(bytes) = lines.next().await {
        text.extend_from_slice(&bytes);
    }
    let lines: Vec<Value> = text
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(lines[0]["stage"], "waiting");
    let last = lines.last().unwrap();
    assert_eq!(last["model"]["quantization"], "Q8_0", "{last}");
    let said = story.complete(&name, json!("Once upon a time"), 8).await;
    assert!(said.starts_with(", there was"), "{said}");
}

#[tokio::test]
async fn a_detached_pull_is_listed_until_it_is_cancelled() {
    let registry = registry().await;
    let story = story(&registry).await;
    let name = format!("{registry}/me/slow");
    let body = json!({ "name": name, "detach": true });
    let (status, answer) = story.call("/hearth/models/pull", body).await;
    assert_eq!((status, &answer["name"]), (StatusCode::ACCEPTED, &json!(name)));
    let listed = story.get("/hearth/models/pulls").await;
    assert_eq!(listed["pulls"][0]["name"], json!(name));
    assert_eq!(listed["pulls"][0]["is_detached"], true);
    let mut watch = story.app.pulls().subscribe(&name).unwrap();
    let path = format!("/hearth/models/pulls/{}", name.replace('/', "%2F").replace(':', "%3A"));
    assert_eq!(story.delete(&path).await, StatusCode::NO_CONTENT);
    while let Some(event) = watch.next().await {
        assert!(!matches!(event, hearth_hub::PullEvent::Done(_)));
    }
    assert_eq!(story.delete(&path).await, StatusCode::NOT_FOUND);
    assert_eq!(story.get("/hearth/models/pulls").await["pulls"], json!([]));
}

#[tokio::test]
async fn what_is_wrong_with_a_pull_is_said_in_words() {
    let registry = registry().await;
    let story = story(&registry).await;
    let (status, answer) = story.call("/hearth/models/pull", json!({ "name": "a/../b" })).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_name"))
    );
    let mut lines =
        story.stream("/hearth/models/pull", json!({ "name": "elsewhere.example/a/b" })).await;
    let mut last = Vec::new();
    while let Some(bytes) = lines.next().await {
        last = bytes.to_vec();
    }
    let last: Value = serde_json::from_slice(&last).unwrap();
    assert_eq!(last["error"]["code"], "registry_not_allowed");
}

/// The lines of a streamed answer.
async fn lines(story: &Story, path: &str, body: Value) -> Vec<Value> {
    let mut stream = story.stream(path, body).await;
    let mut text = Vec::new();
    while let Some(bytes) = stream.next().await {
        text.extend_from_slice(&bytes);
    }
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test]
async fn ollamas_clients_pull_in_their_own_words() {
    let registry = registry().await;
    let story = story(&registry).await;
    let name = format!("{registry}/me/stories");
    let told = lines(&story, "/api/pull", json!({ "model": name, "insecure": true })).await;
    let statuses: Vec<&str> = told.iter().filter_map(|line| line["status"].as_str()).collect();
    let first = statuses.iter().position(|status| *status == "pulling manifest").unwrap();
    let bar = told.iter().rfind(|line| line["digest"].is_string()).unwrap();
    assert!(bar["status"].as_str().unwrap().starts_with("pulling "), "{bar}");
    assert_eq!(bar["completed"], bar["total"]);
    assert_eq!(
        statuses[statuses.len() - 3..],
        ["verifying sha256 digest", "writing manifest", "success"],
        "{statuses:?}"
    );
    assert!(first < statuses.len() - 3);
    let whole = json!({ "name": name, "stream": false });
    let (status, answer) = story.call("/api/pull", whole).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({ "status": "success" })));
    let absent = json!({ "model": format!("{registry}/me/absent") });
    let told = lines(&story, "/api/pull", absent).await;
    let last = told.last().unwrap();
    assert_eq!(last["error"], "pull model manifest: file does not exist");
    let (status, answer) = story.call("/api/pull", json!({ "model": "a/../b" })).await;
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid model name")));
}

#[tokio::test]
async fn a_file_at_a_plain_address_is_pulled_under_the_name_that_is_said() {
    let registry = crate::registry::Registry::start().await;
    let gguf = std::fs::read(models().join("stories260K-q8_0.gguf")).unwrap();
    registry.put("/files/Stories-Q8_0.gguf", gguf.clone());
    let story = registry.story().await;
    let url = format!("http://{}/files/Stories-Q8_0.gguf", registry.address);
    let sha256 = hex(&Sha256::digest(&gguf));
    let pull = async |body: Value| lines(&story, "/hearth/models/pull", body).await.pop().unwrap();
    let last = pull(json!({ "name": url, "sha256": "0".repeat(64) })).await;
    assert_eq!(last["error"]["code"], "digest_mismatch", "{last}");
    let last = pull(json!({ "name": url })).await;
    assert_eq!(last["model"]["name"], "stories-q8_0", "{last}");
    let named = json!({ "name": format!("{url}#sha256={sha256}"), "as": "tales:mine" });
    let last = pull(named).await;
    assert_eq!(last["model"]["name"], "tales:mine", "{last}");
    assert_eq!(story.complete("tales:mine", json!("Once"), 1).await.len(), 5);
    for (body, status, code) in [
        (json!({ "name": format!("{url}#main") }), StatusCode::BAD_REQUEST, "invalid_name"),
        (json!({ "name": "file:///etc/passwd" }), StatusCode::BAD_REQUEST, "invalid_name"),
        (json!({ "name": url, "sha256": "abc" }), StatusCode::BAD_REQUEST, "invalid_name"),
        (json!({ "name": "qwen3:0.6b", "as": "x" }), StatusCode::BAD_REQUEST, "invalid_request"),
    ] {
        let (got, answer) = story.call("/hearth/models/pull", body).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{answer}");
    }
    // Ollama's own route knows names alone, as its clients do.
    let (status, answer) = story.call("/api/pull", json!({ "model": url })).await;
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid model name")));
}
