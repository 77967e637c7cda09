//! One Hearth in a temporary directory, called the way the command line calls it.

use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hearth::app::App;
use hearth::config::Config;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

/// A running Hearth without a socket.
pub(crate) struct Story {
    pub(crate) app: App,
    router: Router,
    pub(crate) folder: TempDir,
}

impl Story {
    /// A fresh one, with stories260k imported.
    pub(crate) async fn begin() -> Story {
        Story::begin_with(|_| {}).await
    }

    /// The same with other settings.
    pub(crate) async fn begin_with(change: impl FnOnce(&mut Config)) -> Story {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.data.dir = folder.path().join("data");
        change(&mut config);
        std::fs::create_dir(&config.data.dir).unwrap();
        let app = App::open(&config).await.unwrap();
        let story = Story { router: app.router(), app, folder };
        let imported = story.import(&models().join("stories260K-f32.gguf"), "stories260k").await;
        assert!(imported.contains("event: imported"), "{imported}");
        story
    }

    /// Imports a model; returns the whole event stream.
    pub(crate) async fn import(&self, path: &Path, name: &str) -> String {
        let body = json!({ "path": path.to_str().unwrap(), "name": name });
        let answer = self.send(Method::POST, "/hearth/models/import", Some(body)).await;
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// One call with a JSON answer.
    pub(crate) async fn call(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let answer = self.send(Method::POST, path, Some(body)).await;
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 24).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// One call of any method with a JSON body.
    pub(crate) async fn send_json(
        &self,
        method: Method,
        path: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        self.send_bytes(method, path, body.to_string().into_bytes()).await
    }

    /// The same with any body.
    pub(crate) async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> (StatusCode, Value) {
        let answer = self.send_body(method, path, Body::from(body)).await;
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 24).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// An answer as text.
    pub(crate) async fn text(&self, method: Method, path: &str, body: Value) -> String {
        let answer = self.send(method, path, Some(body)).await;
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 24).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// One call that reads something.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.send(Method::GET, path, None).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 24).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// One deleting call.
    pub(crate) async fn delete(&self, path: &str) -> StatusCode {
        self.send(Method::DELETE, path, None).await.status()
    }

    /// One call with a streamed answer; dropping the stream is a client that goes away.
    pub(crate) async fn stream(
        &self,
        path: &str,
        body: Value,
    ) -> impl Stream<Item = Bytes> + Unpin {
        let answer = self.send(Method::POST, path, Some(body)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.into_body().into_data_stream().map(|bytes| bytes.unwrap())
    }

    /// What a model does now, from the machine panel.
    pub(crate) async fn activity(&self, model: &str) -> Value {
        let answer = self.send(Method::GET, "/hearth/machine", None).await;
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let machine: Value = serde_json::from_slice(&bytes).unwrap();
        let loaded = machine["models_loaded"].as_array().unwrap();
        loaded.iter().find(|row| row["name"] == model).cloned().unwrap_or(Value::Null)
    }

    /// The completion of `prompt`, greedy.
    pub(crate) async fn complete(&self, model: &str, prompt: Value, max_tokens: usize) -> String {
        let body = json!({
            "model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0,
        });
        let (status, answer) = self.call("/v1/completions", body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["choices"][0]["text"].as_str().unwrap().to_owned()
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> axum::response::Response {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send_body(method, path, body).await
    }

    async fn send_body(&self, method: Method, path: &str, body: Body) -> axum::response::Response {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.app.control_token()))
            .body(body)
            .unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }
}

/// The folder of the real test models.
pub(crate) fn models() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared");
    let shared = std::env::var("HEARTH_SHARED").unwrap_or(default.to_owned());
    let models = Path::new(&shared).join("models/stories260k");
    assert!(models.is_dir(), "{} is missing: set HEARTH_SHARED", models.display());
    models
}

/// Prompts with what an independent implementation makes of them.
pub(crate) fn golden() -> Vec<Value> {
    let text = std::fs::read_to_string(models().join("golden.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}
