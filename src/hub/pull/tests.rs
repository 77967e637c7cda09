//! Whole pulls from a loopback registry and a loopback Hugging Face, with a real model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::json;

use super::testing::{Server, redirect};
use super::*;
use crate::config::HubConfig;
use crate::library::{Library, Source};

fn real_model(file: &str) -> Vec<u8> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = std::env::var("HEARTH_SHARED").unwrap_or(default.to_owned());
    std::fs::read(Path::new(&shared).join("models/stories260k").join(file)).unwrap()
}

struct Fixture {
    server: Server,
    library: Arc<Library>,
    pulls: Pulls,
    root: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Fixture {
        Fixture::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut HubConfig)) -> Fixture {
        let server = Server::start().await;
        let root = tempfile::tempdir().unwrap();
        let library = Arc::new(Library::open(root.path(), &[]).unwrap());
        let mut config = HubConfig { retries: 0, ..server.config() };
        change(&mut config);
        let pulls = Pulls::open(Arc::clone(&library), &config).unwrap();
        Fixture { server, library, pulls, root }
    }

    /// `name` at this server.
    fn here(&self, name: &str) -> String {
        format!("{}/{name}", self.server.address)
    }

    async fn start(&self, name: &str) -> PullWatch {
        let request = PullRequest { name: name.to_owned(), from: None, is_detached: false };
        self.pulls.start(request).await.unwrap()
    }

    async fn pull(&self, name: &str) -> PullResult<Entry> {
        self.start(name).await.end().await
    }

    fn blobs(&self) -> usize {
        std::fs::read_dir(self.root.path().join("blobs")).unwrap().count()
    }

    /// The file or folder of a model.
    fn path(&self, entry: &Entry) -> PathBuf {
        let Source::Path(path) = self.library.source(&entry.name).unwrap() else {
            panic!("a path")
        };
        path
    }
}

#[tokio::test]
async fn a_model_of_a_registry_is_listed_as_it_was_published() {
    let fixture = Fixture::new().await;
    let gguf = real_model("stories260K-f32.gguf");
    let manifest = fixture.server.put_model("Me/stories", "F32", &gguf);
    let mut watch = fixture.start(&fixture.here("Me/stories:F32")).await;
    let mut stages = Vec::new();
    let entry = loop {
        match watch.next().await.unwrap() {
            PullEvent::Progress(progress) => stages.push(progress),
            PullEvent::Done(entry) => break entry,
            PullEvent::Failed(error) => panic!("{error}"),
        }
    };
    assert!(stages.is_sorted_by_key(|progress| progress.stage), "{stages:?}");
    let of_model = |progress: &&PullProgress| progress.digest == Some(Digest::of(&gguf));
    let end = stages.iter().rfind(of_model).unwrap();
    assert_eq!((end.completed, end.total), (gguf.len() as u64, gguf.len() as u64));
    assert_eq!(entry.name.to_string(), fixture.here("Me/stories:F32"));
    assert_eq!(entry.digest, Digest::of(manifest.as_bytes()));
    assert_eq!((entry.description.parameters, entry.description.context_length), (292_800, 512));
    assert!(std::fs::read(fixture.path(&entry)).unwrap() == gguf);
    // Ollama's own layout, under the spelling of the registry, and found again after a restart.
    let host = fixture.server.address;
    let stored = fixture.root.path().join(format!("manifests/{host}/Me/stories/F32"));
    assert_eq!(std::fs::read_to_string(stored).unwrap(), manifest);
    let again = Library::open(fixture.root.path(), &[]).unwrap();
    assert_eq!(again.find(&fixture.here("me/STORIES:f32")).unwrap(), *entry);
    // The same once more: one look at the manifest.
    let before = fixture.server.asked().len();
    assert_eq!(fixture.pull(&fixture.here("Me/stories:F32")).await, Ok(*entry));
    assert_eq!(fixture.server.asked().len() - before, 1);
}

#[tokio::test]
async fn a_new_version_replaces_the_old_one_and_its_files() {
    let fixture = Fixture::new().await;
    let name = fixture.here("me/stories:latest");
    fixture.server.put_model("me/stories", "latest", &real_model("stories260K-f32.gguf"));
    let old = fixture.pull(&name).await.unwrap();
    fixture.server.put_model("me/stories", "latest", &real_model("stories260K-q8_0.gguf"));
    let new = fixture.pull(&name).await.unwrap();
    assert_ne!(old.digest, new.digest);
    assert_eq!(fixture.library.list(), [new]);
    assert_eq!(fixture.blobs(), 2, "the model and its config");
    // A second name shares the files, and none is fetched again.
    fixture.server.put_model("other/copy", "latest", &real_model("stories260K-q8_0.gguf"));
    fixture.pull(&fixture.here("other/copy")).await.unwrap();
    assert!(fixture.server.asked_for("/v2/other/copy/blobs").is_empty());
    fixture.library.remove(&name).unwrap();
    assert_eq!(fixture.blobs(), 2);
}

#[tokio::test]
async fn a_token_is_asked_of_the_registry_itself_and_shown_to_it_alone() {
    let fixture = Fixture::new().await;
    fixture.server.put_model("me/stories", "latest", &real_model("stories260K-f32.gguf"));
    fixture.server.put("/token", r#"{"token":"t0ken"}"#);
    let cdn = Server::start().await;
    let gguf = real_model("stories260K-f32.gguf");
    let model = Digest::of(&gguf).to_string();
    cdn.put("/cdn", gguf);
    let elsewhere = format!("http://{}/cdn", cdn.address);
    let challenge = "Bearer realm=\"/token\",service=\"reg\",scope=\"repo:me/stories:pull,x\"";
    fixture.server.play(move |asked, _| match asked.token.as_deref() {
        _ if asked.path == "/token" => None,
        Some("Bearer t0ken") if asked.path.ends_with(&model) => Some(redirect(&elsewhere)),
        Some("Bearer t0ken") => None,
        _ => {
            let headers = [(header::WWW_AUTHENTICATE, challenge)];
            Some((StatusCode::UNAUTHORIZED, headers).into_response())
        }
    });
    let config = HubConfig {
        plain_http: vec![fixture.server.address.to_string(), cdn.address.to_string()],
        ..fixture.server.config()
    };
    let pulls = Pulls::open(Arc::clone(&fixture.library), &config).unwrap();
    let request = PullRequest { name: fixture.here("me/stories"), from: None, is_detached: false };
    pulls.start(request).await.unwrap().end().await.unwrap();
    let asked = fixture.server.asked_for("/token");
    assert_eq!(asked.len(), 1, "one token serves the whole pull");
    assert_eq!(asked[0].target, "/token?service=reg&scope=repo%3Ame%2Fstories%3Apull%2Cx");
    assert_eq!(asked[0].token, None);
    assert!(cdn.asked().iter().all(|asked| asked.token.is_none()), "the token stays at home");
}

#[tokio::test]
async fn a_realm_on_another_host_is_not_asked() {
    let fixture = Fixture::new().await;
    let other = Server::start().await;
    other.put("/token", r#"{"token":"t"}"#);
    let challenge = format!("Bearer realm=\"http://{}/token\"", other.address);
    fixture.server.play(move |_, _| {
        let headers = [(header::WWW_AUTHENTICATE, challenge.clone())];
        Some((StatusCode::UNAUTHORIZED, headers).into_response())
    });
    let failed = fixture.pull(&fixture.here("me/x")).await.unwrap_err();
    let (realm, registry) = (other.address, fixture.server.address);
    assert_eq!(
        failed.to_string(),
        format!("realm host \"{realm}\" does not match original host \"{registry}\"")
    );
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn what_is_not_there_not_allowed_or_not_runnable_is_told_apart() {
    let fixture = Fixture::new().await;
    let name = fixture.here("me/none");
    assert_eq!(fixture.pull(&name).await, Err(PullError::NotFound(name.clone())));
    let failed = fixture.pull("registry.ollama.ai/library/x").await;
    assert_eq!(failed, Err(PullError::RegistryNotAllowed("registry.ollama.ai".to_owned())));
    let start = fixture.pulls.start(PullRequest {
        name: "a/../b".to_owned(),
        from: None,
        is_detached: false,
    });
    assert!(matches!(start.await, Err(PullError::BadName(_))));
    // Whole, but no model: it is not kept.
    fixture.server.put_model("me/junk", "latest", b"GGUFjunk");
    let failed = fixture.pull(&fixture.here("me/junk")).await;
    assert!(matches!(failed, Err(PullError::BadModel(_))), "{failed:?}");
    assert!(fixture.library.list().is_empty());
    let junk = fixture.root.path().join("blobs").join(Digest::of(b"GGUFjunk").file_name());
    assert!(!junk.exists());
}

#[tokio::test]
async fn hostile_manifests_are_refused_before_a_file_is_asked_for() {
    let fixture = Fixture::new().await;
    let digest = format!("sha256:{}", "0a".repeat(32));
    let layer = |digest: &str| json!({ "mediaType": crate::manifest::GGUF_TYPE, "digest": digest, "size": 5 });
    let manifest = |config: serde_json::Value, layers: Vec<serde_json::Value>| {
        json!({ "schemaVersion": 2, "config": config, "layers": layers }).to_string().into_bytes()
    };
    let traversal = "sha256:../../../../../../etc/passwd";
    let mut bomb = vec![0x1f, 0x8b, 8, 0];
    bomb.resize(4096, 0);
    let hostile = [
        manifest(layer(&digest), vec![layer(traversal)]),
        manifest(layer("sha256:abc"), vec![layer(&digest)]),
        manifest(layer(&digest), Vec::new()),
        manifest(layer(&digest), vec![layer(&digest), layer(&digest)]),
        b"{}".to_vec(),
        vec![b'['; 2 << 20],
        bomb,
    ];
    for (number, text) in hostile.into_iter().enumerate() {
        fixture.server.put("/v2/me/evil/manifests/latest", text);
        let failed = fixture.pull(&fixture.here("me/evil")).await;
        let is_refused =
            matches!(failed, Err(PullError::BadAnswer { .. } | PullError::BadModel(_)));
        assert!(is_refused, "{number}: {failed:?}");
    }
    assert!(fixture.server.asked_for("blobs").is_empty());
    assert_eq!(fixture.blobs(), 0);
}

#[tokio::test]
async fn a_model_that_does_not_fit_the_disk_is_refused_before_its_first_byte() {
    let fixture = Fixture::with(|config| config.keep_free_bytes = u64::MAX / 2).await;
    fixture.server.put_model("me/stories", "latest", &real_model("stories260K-f32.gguf"));
    let failed = fixture.pull(&fixture.here("me/stories")).await;
    assert!(matches!(failed, Err(PullError::DiskFull { .. })), "{failed:?}");
    assert!(fixture.server.asked_for("blobs").is_empty());
}

#[tokio::test]
async fn garbage_is_collected_around_a_running_pull() {
    let fixture = Fixture::new().await;
    let gguf = real_model("stories260K-f32.gguf");
    fixture.server.put_model("me/stories", "latest", &gguf);
    let entry = fixture.pull(&fixture.here("me/stories")).await.unwrap();
    // A second model of the same file, whose config never comes: its pull hangs.
    fixture.server.put_model("me/second", "latest", &gguf);
    let config = Digest::of(b"another config");
    let manifest = fixture.server.put_model("me/second", "latest", &gguf);
    let other = Digest::of(br#"{"model_format":"gguf","file_type":"F32"}"#).to_string();
    let manifest = manifest.replace(&other, &config.to_string());
    fixture.server.put("/v2/me/second/manifests/latest", manifest);
    fixture.server.play(|asked, _| {
        asked.path.contains("/second/blobs").then(|| super::testing::cut(b"an", None, 2, true))
    });
    let mut watch = fixture.start(&fixture.here("me/second")).await;
    while let Some(event) = watch.next().await {
        let PullEvent::Progress(progress) = event else { panic!("{event:?}") };
        if progress.stage == PullStage::Fetching && progress.completed == gguf.len() as u64 {
            break;
        }
    }
    let path = fixture.path(&entry);
    fixture.library.remove(&fixture.here("me/stories")).unwrap();
    fixture.library.collect_unused().unwrap();
    assert!(path.exists(), "the running pull counts on it");
    assert!(fixture.pulls.cancel(&fixture.here("me/second")));
    assert_eq!(watch.end().await, Err(PullError::Cancelled));
}

mod address;
mod crash;
mod hugging_face;
