//! A registry on loopback that serves what a test puts there, and misbehaves as it is told to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hearth_hub::Digest;
use serde_json::{Value, json};

use crate::story::Story;

/// Type of the layer that is the model.
pub(crate) const MODEL: &str = "application/vnd.ollama.image.model";

/// Bytes by path. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    files: Mutex<HashMap<String, Vec<u8>>>,
    asked: Mutex<Vec<String>>,
    trick: Mutex<Option<Trick>>,
}

/// Answers instead of the registry, or does not.
type Trick = Box<dyn Fn(&str) -> Option<Response> + Send + Sync>;

impl Registry {
    pub(crate) async fn start() -> Registry {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = Registry { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let answering = registry.clone();
        let router = Router::new().fallback(move |request: Request| {
            let answer = answering.answer(&request);
            std::future::ready(answer)
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        registry
    }

    /// A Hearth that may pull from here, and from nowhere else.
    pub(crate) async fn story(&self) -> Story {
        self.story_with(|_| {}).await
    }

    /// The same with other settings.
    pub(crate) async fn story_with(
        &self,
        change: impl FnOnce(&mut hearth::config::Config),
    ) -> Story {
        let address = self.address.to_string();
        Story::begin_with(|config| {
            config.hub.registries = vec![address.clone()];
            config.hub.plain_http = vec![address];
            config.hub.private_hosts = vec!["127.0.0.1".to_owned()];
            config.hub.keep_free_bytes = 0;
            config.hub.retries = 0;
            change(config);
        })
        .await
    }

    /// The whole name of a model of this registry.
    pub(crate) fn name(&self, model: &str) -> String {
        format!("{}/{model}", self.address)
    }

    pub(crate) fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.shared.files.lock().unwrap().insert(path.to_owned(), bytes.into());
    }

    /// Serves a manifest as `me/MODEL:latest`.
    pub(crate) fn put_manifest(&self, model: &str, manifest: impl Into<Vec<u8>>) {
        self.put(&format!("/v2/me/{model}/manifests/latest"), manifest);
    }

    /// Serves a whole model of one file as `me/MODEL:latest`; returns the file's digest.
    pub(crate) fn put_model(&self, model: &str, gguf: &[u8]) -> Digest {
        let config = br#"{"model_format":"gguf"}"#;
        for bytes in [gguf, config] {
            self.put(&format!("/v2/me/{model}/blobs/{}", Digest::of(bytes)), bytes);
        }
        let layer = |bytes: &[u8]| json!({ "mediaType": MODEL, "digest": Digest::of(bytes), "size": bytes.len() });
        self.put_manifest(model, manifest(&layer(config), &[layer(gguf)]).to_string());
        Digest::of(gguf)
    }

    /// From now on `trick` is asked first.
    pub(crate) fn play(&self, trick: impl Fn(&str) -> Option<Response> + Send + Sync + 'static) {
        *self.shared.trick.lock().unwrap() = Some(Box::new(trick));
    }

    /// Every path so far that contains `part`.
    pub(crate) fn asked_for(&self, part: &str) -> Vec<String> {
        let asked = self.shared.asked.lock().unwrap();
        asked.iter().filter(|path| path.contains(part)).cloned().collect()
    }

    fn answer(&self, request: &Request) -> Response {
        let path = request.uri().path();
        self.shared.asked.lock().unwrap().push(path.to_owned());
        let trick = self.shared.trick.lock().unwrap();
        if let Some(answer) = trick.as_ref().and_then(|trick| trick(path)) {
            return answer;
        }
        match self.shared.files.lock().unwrap().get(path) {
            Some(bytes) => part(bytes, request),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

/// A manifest of these layers.
pub(crate) fn manifest(config: &Value, layers: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": "m", "config": config, "layers": layers })
}

pub(crate) fn redirect(to: &str) -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to.to_owned())]).into_response()
}

/// The bytes that a request asks for, as a good server sends them.
fn part(bytes: &[u8], request: &Request) -> Response {
    let range = request.headers().get(header::RANGE).map(|range| {
        let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
        let (first, last) = range.split_once('-').unwrap();
        (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap())
    });
    let Some((first, last)) = range else { return bytes.to_vec().into_response() };
    let Some(last) = bytes.len().checked_sub(1).map(|end| last.min(end)) else {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    };
    let range = format!("bytes {first}-{last}/{}", bytes.len());
    let body = bytes[first.min(last)..=last].to_vec();
    (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, range)], body).into_response()
}
