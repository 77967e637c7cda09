//! A registry on loopback that behaves, and misbehaves as a test tells it to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};

use crate::config::HubConfig;
use crate::digest::Digest;
use crate::manifest::GGUF_TYPE;

/// Serves bytes by path, with ranges.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    files: Mutex<HashMap<String, Vec<u8>>>,
    asked: Mutex<Vec<Asked>>,
    trick: Mutex<Option<Trick>>,
}

/// One request that came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    /// With the query.
    pub(super) target: String,
    /// First and last byte.
    pub(super) range: Option<(u64, u64)>,
    pub(super) token: Option<String>,
}

/// Answers instead of the server, or does not; told how many requests came before.
type Trick = Box<dyn Fn(&Asked, usize) -> Option<Response> + Send + Sync>;

impl Server {
    pub(super) async fn start() -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server { address, shared: Arc::default() };
        let answering = server.clone();
        let router = Router::new().fallback(move |request: Request| {
            let server = answering.clone();
            async move { server.answer(&request) }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    /// Settings under which this server may be asked.
    pub(super) fn config(&self) -> HubConfig {
        HubConfig {
            registries: vec![self.address.to_string(), "hf.co".to_owned()],
            plain_http: vec![self.address.to_string()],
            private_hosts: vec!["127.0.0.1".to_owned()],
            huggingface_endpoint: format!("http://{}", self.address),
            huggingface_token: crate::config::Token("hf_secret".to_owned()),
            keep_free_bytes: 0,
            ..HubConfig::default()
        }
    }

    pub(super) fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.shared.files.lock().unwrap().insert(path.to_owned(), bytes.into());
    }

    /// Serves a blob of a repository; returns its digest.
    pub(super) fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.put(&format!("/v2/{repository}/blobs/{digest}"), bytes);
        digest
    }

    /// Serves a whole model of one GGUF file; returns its manifest.
    pub(super) fn put_model(&self, repository: &str, tag: &str, gguf: &[u8]) -> String {
        let config = br#"{"model_format":"gguf","file_type":"F32"}"#;
        let (model, config_digest) =
            (self.put_blob(repository, gguf), self.put_blob(repository, config));
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"m","config":{{"mediaType":"c",
            "digest":"{config_digest}","size":{}}},"layers":[{{"mediaType":"{GGUF_TYPE}",
            "digest":"{model}","size":{}}}]}}"#,
            config.len(),
            gguf.len()
        );
        self.put(&format!("/v2/{repository}/manifests/{tag}"), manifest.as_bytes());
        manifest
    }

    /// From now on `trick` is asked first.
    pub(super) fn play(
        &self,
        trick: impl Fn(&Asked, usize) -> Option<Response> + Send + Sync + 'static,
    ) {
        *self.shared.trick.lock().unwrap() = Some(Box::new(trick));
    }

    /// Every request so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Every request so far for a path that contains `part`.
    pub(super) fn asked_for(&self, part: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.path.contains(part)).collect()
    }

    fn answer(&self, request: &Request) -> Response {
        let asked = Asked::of(request);
        let before = {
            let mut all = self.shared.asked.lock().unwrap();
            all.push(asked.clone());
            all.len() - 1
        };
        let trick = self.shared.trick.lock().unwrap();
        if let Some(answer) = trick.as_ref().and_then(|trick| trick(&asked, before)) {
            return answer;
        }
        let files = self.shared.files.lock().unwrap();
        match files.get(&asked.path) {
            Some(bytes) => part(bytes, asked.range),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

impl Asked {
    fn of(request: &Request) -> Asked {
        let text = |headers: &HeaderMap, name| {
            headers.get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        let range = text(request.headers(), header::RANGE).map(|range| {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            (first.parse().unwrap(), last.parse().unwrap())
        });
        let token = text(request.headers(), header::AUTHORIZATION);
        let target = request.uri().path_and_query().unwrap().as_str().to_owned();
        Asked { path: request.uri().path().to_owned(), target, range, token }
    }
}

/// The bytes of a range, as a good server sends them.
pub(crate) fn part(bytes: &[u8], range: Option<(u64, u64)>) -> Response {
    let Some((first, last)) = range else { return bytes.to_vec().into_response() };
    let Some(end) = (bytes.len() as u64).checked_sub(1) else {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    };
    let last = last.min(end);
    let content_range = format!("bytes {first}-{last}/{}", bytes.len());
    let body = bytes[first as usize..=last as usize].to_vec();
    (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, content_range)], body).into_response()
}

/// As [`part`], but after `sent` bytes the connection breaks, or nothing comes any more.
pub(super) fn cut(bytes: &[u8], range: Option<(u64, u64)>, sent: usize, stalls: bool) -> Response {
    let (parts, _) = part(bytes, range).into_parts();
    let first = range.map_or(0, |(first, _)| first as usize);
    let begin = bytes[first..bytes.len().min(first + sent)].to_vec();
    let rest = match stalls {
        true => stream::pending().left_stream(),
        false => stream::once(async { Err(std::io::Error::other("cut")) }).right_stream(),
    };
    let body = Body::from_stream(stream::once(async { Ok(begin) }).chain(rest));
    Response::from_parts(parts, body)
}

pub(super) fn redirect(to: &str) -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to.to_owned())]).into_response()
}

/// Bytes of which no two mebibytes are equal.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::new();
    while block.len() < 1 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block.extend(state.to_le_bytes());
    }
    let mut bytes = Vec::with_capacity(length + block.len());
    for number in 0_u64.. {
        if bytes.len() >= length {
            break;
        }
        block[..8].copy_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&block);
    }
    bytes.truncate(length);
    bytes
}
