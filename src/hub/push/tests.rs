//! Whole pushes to a registry on loopback, and back into another library.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::*;
use crate::config::Credential;
use crate::pull::testing::{noise, part};
use crate::pull::{PullRequest, Pulls};

fn real_model(file: &str) -> Vec<u8> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = std::env::var("HEARTH_SHARED").unwrap_or(default.to_owned());
    std::fs::read(Path::new(&shared).join("models/stories260k").join(file)).unwrap()
}

/// A registry that takes models and gives them back, and misbehaves as a test tells it to.
#[derive(Clone)]
struct Registry {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    manifests: Mutex<HashMap<String, (String, Vec<u8>)>>,
    uploads: Mutex<BTreeMap<usize, Vec<u8>>>,
    asked: Mutex<Vec<Asked>>,
    trick: Mutex<Option<Trick>>,
}

#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    path: String,
    authorization: Option<String>,
    bytes: usize,
}

type Trick = Box<dyn Fn(&Asked, usize) -> Option<Response> + Send + Sync>;

impl Registry {
    async fn start() -> Registry {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = Registry { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let answering = registry.clone();
        let router = Router::new().fallback(move |request: Request| {
            let registry = answering.clone();
            async move { registry.answer(request).await }
        });
        let router = router.layer(axum::extract::DefaultBodyLimit::disable());
        tokio::spawn(async move { axum::serve(listener, router).await });
        registry
    }

    fn config(&self) -> HubConfig {
        HubConfig {
            registries: vec![self.address.to_string()],
            push_registries: vec![self.address.to_string()],
            plain_http: vec![self.address.to_string()],
            private_hosts: vec!["127.0.0.1".to_owned()],
            keep_free_bytes: 0,
            retries: 2,
            ..HubConfig::default()
        }
    }

    fn play(&self, trick: impl Fn(&Asked, usize) -> Option<Response> + Send + Sync + 'static) {
        *self.shared.trick.lock().unwrap() = Some(Box::new(trick));
    }

    fn asked(&self, method: &Method) -> Vec<Asked> {
        let asked = self.shared.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.method == *method).cloned().collect()
    }

    async fn answer(&self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 30).await.unwrap();
        let asked = Asked {
            method: head.method.clone(),
            path: head.uri.path_and_query().unwrap().to_string(),
            authorization: text(&head, header::AUTHORIZATION),
            bytes: body.len(),
        };
        let before = {
            let mut all = self.shared.asked.lock().unwrap();
            all.push(asked.clone());
            all.len() - 1
        };
        if let Some(answer) =
            self.shared.trick.lock().unwrap().as_ref().and_then(|trick| trick(&asked, before))
        {
            return answer;
        }
        let what = head.uri.path().strip_prefix("/v2/me/tale/").unwrap_or_default().to_owned();
        match what.split('/').next() {
            Some("manifests") => self.manifest(&head, &what, &body),
            Some("blobs") if what.starts_with("blobs/uploads/") => self.upload(&head, &what, &body),
            Some("blobs") => self.blob(&head, &what),
            _ => panic!("{asked:?}"),
        }
    }

    fn blob(&self, head: &Parts, what: &str) -> Response {
        let range = text(head, header::RANGE).map(|range| {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            (first.parse().unwrap(), last.parse().unwrap())
        });
        match self.shared.blobs.lock().unwrap().get(&what["blobs/".len()..]) {
            Some(bytes) => part(bytes, range),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }

    fn upload(&self, head: &Parts, what: &str, body: &[u8]) -> Response {
        let mut uploads = self.shared.uploads.lock().unwrap();
        if head.method == Method::POST {
            let number = uploads.len();
            uploads.insert(number, Vec::new());
            return accepted(number, 0);
        }
        let number: usize = what["blobs/uploads/".len()..].parse().unwrap();
        let Some(kept) = uploads.get_mut(&number) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        match head.method.as_str() {
            "GET" => {
                let mut answer = accepted(number, kept.len());
                *answer.status_mut() = StatusCode::NO_CONTENT;
                answer
            }
            "PATCH" => {
                let range = text(head, header::CONTENT_RANGE).unwrap();
                if !range.starts_with(&format!("{}-", kept.len())) {
                    return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
                }
                kept.extend_from_slice(body);
                accepted(number, kept.len())
            }
            _ => {
                let digest = head.uri.query().unwrap().rsplit_once("digest=").unwrap().1;
                let digest = digest.replace("%3A", ":");
                if Digest::of(kept).to_string() != digest {
                    return StatusCode::BAD_REQUEST.into_response();
                }
                self.shared.blobs.lock().unwrap().insert(digest, kept.clone());
                StatusCode::CREATED.into_response()
            }
        }
    }

    fn manifest(&self, head: &Parts, what: &str, body: &[u8]) -> Response {
        let mut manifests = self.shared.manifests.lock().unwrap();
        if head.method == Method::PUT {
            let kind = text(head, header::CONTENT_TYPE).unwrap();
            manifests.insert(what.to_owned(), (kind, body.to_vec()));
            let digest = Digest::of(body).to_string();
            return (StatusCode::CREATED, [("docker-content-digest", digest)]).into_response();
        }
        match manifests.get(what) {
            Some((kind, bytes)) => {
                ([(header::CONTENT_TYPE, kind.clone())], bytes.clone()).into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

fn text(head: &Parts, name: header::HeaderName) -> Option<String> {
    head.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
}

fn accepted(number: usize, kept: usize) -> Response {
    let headers = [
        (header::LOCATION, format!("/v2/me/tale/blobs/uploads/{number}?state=x")),
        (header::RANGE, format!("0-{}", kept.saturating_sub(1))),
    ];
    (StatusCode::ACCEPTED, headers).into_response()
}

struct Fixture {
    registry: Registry,
    library: Arc<Library>,
    name: ModelName,
    root: tempfile::TempDir,
}

impl Fixture {
    /// A library with one model, under a name of the registry.
    async fn new() -> Fixture {
        let registry = Registry::start().await;
        let root = tempfile::tempdir().unwrap();
        let library = Arc::new(Library::open(root.path(), &[]).unwrap());
        let file = root.path().join("model.gguf");
        std::fs::write(&file, real_model("stories260K-q8_0.gguf")).unwrap();
        let name = format!("{}/me/tale", registry.address);
        let name = library.import(&file, &name, 7, &mut |_| std::ops::ControlFlow::Continue(()));
        let name = name.unwrap().name;
        Fixture { registry, library, name, root }
    }

    async fn push(&self) -> PullResult<Vec<PushProgress>> {
        self.push_with(&self.registry.config()).await
    }

    async fn push_with(&self, config: &HubConfig) -> PullResult<Vec<PushProgress>> {
        let pushes = Pushes::open(Arc::clone(&self.library), config).unwrap();
        let mut watch = pushes.start(&self.name)?;
        let mut told = Vec::new();
        while let Some(event) = watch.next().await {
            match event {
                PushEvent::Progress(progress) => told.push(progress),
                PushEvent::Done => return Ok(told),
                PushEvent::Failed(error) => return Err(error),
            }
        }
        panic!("a push ended without a word")
    }

    /// The model of another Hearth that has pulled what the registry has.
    async fn pull_back(&self) -> PullResult<crate::Entry> {
        let root = tempfile::tempdir().unwrap();
        let library = Arc::new(Library::open(root.path(), &[]).unwrap());
        let pulls = Pulls::open(library, &self.registry.config()).unwrap();
        let request = PullRequest { name: self.name.to_string(), from: None, is_detached: false };
        pulls.start(request).await?.end().await
    }
}

#[tokio::test]
async fn a_pushed_model_is_pulled_back_as_it_was() {
    let fixture = Fixture::new().await;
    let told = fixture.push().await.unwrap();
    assert_eq!((told[0], told[told.len() - 1]), (PushProgress::Manifest, PushProgress::Naming));
    let whole = |told: &&PushProgress| matches!(told, PushProgress::Sending { total, completed, .. } if total == completed);
    assert!(told.iter().filter(whole).count() >= 2, "{told:?}");
    let entry = fixture.library.find(&fixture.name.to_string()).unwrap();
    let back = fixture.pull_back().await.unwrap();
    assert_eq!(back, entry, "name, description, size and digest");
    // Once more: nothing is sent but the name.
    let before = fixture.registry.asked(&Method::POST).len();
    fixture.push().await.unwrap();
    assert_eq!(fixture.registry.asked(&Method::POST).len(), before);
}

#[tokio::test]
async fn models_go_only_where_an_admin_allows_it() {
    let fixture = Fixture::new().await;
    let config = HubConfig { push_registries: Vec::new(), ..fixture.registry.config() };
    let failed = fixture.push_with(&config).await.unwrap_err();
    let host = fixture.registry.address.to_string();
    assert_eq!(failed, PullError::PushNotAllowed(host));
    assert!(failed.to_string().contains("hub.push_registries"), "{failed}");
    let config = HubConfig { private_hosts: Vec::new(), ..fixture.registry.config() };
    let failed = fixture.push_with(&config).await;
    assert!(matches!(failed, Err(PullError::PrivateAddress { .. })), "{failed:?}");
    let config = HubConfig { plain_http: Vec::new(), ..fixture.registry.config() };
    assert!(fixture.push_with(&config).await.is_err(), "no TLS there");
    assert!(fixture.registry.shared.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_damaged_file_is_never_sent() {
    let fixture = Fixture::new().await;
    let gguf = real_model("stories260K-q8_0.gguf");
    let digest = Digest::of(&gguf);
    let path = fixture.library.blob_path(&digest);
    let mut changed = gguf.clone();
    // In the weights: the header still reads well.
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&path, changed).unwrap();
    assert_eq!(fixture.push().await, Err(PullError::DamagedBlob(digest)));
    std::fs::write(&path, &gguf[..gguf.len() / 2]).unwrap();
    assert!(matches!(fixture.push().await, Err(PullError::BadModel(_))), "cut off");
    let sent = fixture.registry.asked(&Method::PATCH);
    assert!(sent.is_empty(), "{sent:?}");
    assert!(fixture.registry.asked(&Method::PUT).is_empty());
}

#[tokio::test]
async fn an_account_is_shown_to_the_registry_alone_and_a_token_fetched_with_it() {
    let fixture = Fixture::new().await;
    let challenge =
        "Bearer realm=\"/token\",service=\"reg\",scope=\"repository:me/tale:pull,push\"";
    fixture.registry.play(move |asked, _| {
        if asked.path.starts_with("/token") {
            let is_right = asked.authorization.as_deref() == Some("Basic bWU6czNjcmV0");
            let status = if is_right { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            return Some((status, r#"{"token":"t0ken"}"#).into_response());
        }
        let is_known = asked.authorization.as_deref() == Some("Bearer t0ken");
        let headers = [(header::WWW_AUTHENTICATE, challenge)];
        (!is_known).then(|| (StatusCode::UNAUTHORIZED, headers).into_response())
    });
    let failed = fixture.push().await;
    assert!(matches!(failed, Err(PullError::Denied { .. })), "{failed:?}");
    let account = Credential(format!("{}=me:s3cret", fixture.registry.address));
    let config = HubConfig { registry_credentials: vec![account], ..fixture.registry.config() };
    fixture.push_with(&config).await.unwrap();
    let tokens = fixture.registry.asked(&Method::GET);
    let scope = "/token?service=reg&scope=repository%3Ame%2Ftale%3Apull%2Cpush";
    assert!(tokens.iter().all(|asked| asked.path == scope), "{tokens:?}");
    // The same where the registry takes the account itself.
    fixture.registry.play(move |asked, _| {
        let is_known = asked.authorization.as_deref() == Some("Basic bWU6czNjcmV0");
        let headers = [(header::WWW_AUTHENTICATE, "Basic realm=\"reg\"")];
        (!is_known).then(|| (StatusCode::UNAUTHORIZED, headers).into_response())
    });
    fixture.push_with(&config).await.unwrap();
}

#[tokio::test]
async fn neither_a_foreign_realm_nor_a_foreign_upload_gets_anything() {
    let fixture = Fixture::new().await;
    let other = Registry::start().await;
    other.play(|_, _| Some(StatusCode::ACCEPTED.into_response()));
    let account = Credential(format!("{}=me:s3cret", fixture.registry.address));
    let config = HubConfig {
        registry_credentials: vec![account],
        plain_http: vec![fixture.registry.address.to_string(), other.address.to_string()],
        ..fixture.registry.config()
    };
    let challenge = format!("Bearer realm=\"http://{}/token\"", other.address);
    fixture.registry.play(move |_, _| {
        let headers = [(header::WWW_AUTHENTICATE, challenge.clone())];
        Some((StatusCode::UNAUTHORIZED, headers).into_response())
    });
    let failed = fixture.push_with(&config).await;
    assert!(matches!(failed, Err(PullError::ForeignRealm { .. })), "{failed:?}");
    // A place to send to, and a redirect of the bytes themselves.
    for (method, status) in
        [(Method::POST, StatusCode::ACCEPTED), (Method::PATCH, StatusCode::TEMPORARY_REDIRECT)]
    {
        let location = format!("http://{}/steal", other.address);
        fixture.registry.play(move |asked, _| {
            let headers = [(header::LOCATION, location.clone())];
            (asked.method == method).then(|| (status, headers).into_response())
        });
        let failed = fixture.push_with(&config).await;
        let (host, registry) = (other.address.to_string(), fixture.registry.address.to_string());
        assert_eq!(failed, Err(PullError::ForeignUpload { host, registry }));
    }
    assert!(other.shared.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_breaks_off_goes_on_where_the_registry_says() {
    let fixture = Fixture::new().await;
    // Three pieces: the second is refused once, and the answer to the last word is lost.
    let content = noise((17 << 20) + 5);
    let digest = Digest::of(&content);
    let path = fixture.root.path().join("large");
    std::fs::write(&path, &content).unwrap();
    let patches = std::sync::atomic::AtomicUsize::new(0);
    fixture.registry.play(move |asked, _| {
        let number = match asked.method {
            Method::PATCH => patches.fetch_add(1, std::sync::atomic::Ordering::SeqCst),
            _ => return None,
        };
        (number == 1).then(|| StatusCode::BAD_GATEWAY.into_response())
    });
    let (http, config) =
        (Http::new(&fixture.registry.config()).unwrap(), fixture.registry.config());
    let upload = Upload::new(&http, &config, &fixture.name).unwrap();
    let reports = Mutex::new(Vec::new());
    let report = |completed| reports.lock().unwrap().push(completed);
    assert!(!upload.has(&digest).await.unwrap());
    upload.send(&path, &digest, content.len() as u64, &report).await.unwrap();
    assert!(upload.has(&digest).await.unwrap());
    let sizes: Vec<usize> =
        fixture.registry.asked(&Method::PATCH).iter().map(|asked| asked.bytes).collect();
    assert_eq!(sizes, [8 << 20, 8 << 20, 8 << 20, (1 << 20) + 5], "the first is not sent twice");
    let reports = reports.into_inner().unwrap();
    assert!(reports.is_sorted() && reports.last() == Some(&(content.len() as u64)), "{reports:?}");
    assert_eq!(fixture.registry.shared.uploads.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_forgotten_upload_begins_anew_and_a_registry_that_only_fails_is_given_up() {
    let fixture = Fixture::new().await;
    let shared = Arc::clone(&fixture.registry.shared);
    let is_first = std::sync::atomic::AtomicBool::new(true);
    fixture.registry.play(move |asked, _| {
        let is_piece = asked.method == Method::PATCH;
        if is_piece && is_first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            // The whole session is gone; a next one has another number.
            shared.uploads.lock().unwrap().insert(1000, Vec::new());
            shared.uploads.lock().unwrap().retain(|number, _| *number == 1000);
            return Some(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
        None
    });
    fixture.push().await.unwrap();
    fixture.pull_back().await.unwrap();
    let fixture = Fixture::new().await;
    fixture.registry.play(|asked, _| {
        let is_end = asked.method == Method::PUT && asked.path.contains("manifests");
        is_end.then(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    });
    let failed = fixture.push().await;
    assert!(matches!(failed, Err(PullError::Unreachable { tries: 3, .. })), "{failed:?}");
    // One that takes pieces and keeps none.
    let fixture = Fixture::new().await;
    fixture.registry.play(|asked, _| (asked.method == Method::PATCH).then(|| accepted(0, 0)));
    assert!(fixture.push().await.is_err());
}

#[tokio::test]
async fn who_goes_away_cancels_a_push() {
    let fixture = Fixture::new().await;
    let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    fixture.registry.play(move |asked, _| {
        if asked.method != Method::PATCH {
            return None;
        }
        begun.send(()).unwrap();
        let never = futures_util::stream::pending::<std::io::Result<Vec<u8>>>();
        Some((StatusCode::ACCEPTED, Body::from_stream(never)).into_response())
    });
    let pushes = Pushes::open(Arc::clone(&fixture.library), &fixture.registry.config()).unwrap();
    let watch = pushes.start(&fixture.name).unwrap();
    has_begun.recv().await.unwrap();
    drop(watch);
    // Its place is free again once it has ended.
    let all = u32::try_from(MAX_PUSHES).unwrap();
    drop(pushes.inner.places.acquire_many(all).await.unwrap());
    assert!(fixture.registry.shared.manifests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_few_run_and_the_rest_is_refused() {
    let fixture = Fixture::new().await;
    let pushes = Pushes::open(Arc::clone(&fixture.library), &fixture.registry.config()).unwrap();
    let watches: Vec<_> = (0..MAX_PUSHES).map(|_| pushes.start(&fixture.name).unwrap()).collect();
    assert!(matches!(pushes.start(&fixture.name), Err(PullError::QueueFull)));
    drop(watches);
}

#[tokio::test]
async fn a_folder_of_files_is_pushed_and_pulled_back_too() {
    let fixture = Fixture::new().await;
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = std::env::var("HEARTH_SHARED").unwrap_or(default.to_owned());
    let folder = Path::new(&shared).join("models/stories260k/hf");
    let name = fixture.name.to_string();
    fixture.library.remove(&name).unwrap();
    let mut on = |_| std::ops::ControlFlow::Continue(());
    let entry = fixture.library.import(&folder, &name, 7, &mut on).unwrap();
    fixture.push().await.unwrap();
    assert_eq!(fixture.pull_back().await.unwrap(), entry);
}
