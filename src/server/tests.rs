//! Stories of requests: the real rooms on a real store, and a backend that says what it is told.

mod anthropic_stories;
mod catalogue_stories;
mod channel_stories;
mod chat_shelf_stories;
mod chat_stories;
mod document;
mod doors;
mod gemini_stories;
mod matrix;
mod money_stories;
mod ollama_stories;
mod openapi_stories;
mod passage_stories;
mod people_stories;
mod rules_stories;
mod scripted;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use hearth_gateway::accounts::{
    Accounts, AccountsConfig, NewAccount, NewToken, read_control_secret,
};
use hearth_gateway::alerts::{Alerts, AlertsConfig};
use hearth_gateway::backend::Backend;
use hearth_gateway::caller::Caller;
use hearth_gateway::channels::{Channels, known_wire};
use hearth_gateway::clock::Clock;
use hearth_gateway::routing::{RoutingConfig, Switchboard};
use hearth_gateway::vault::Vault;
use hearth_gateway::{Gateway, GatewayConfig};
use hearth_hub::catalogue::Variant;
use hearth_hub::{HubConfig, Library, Pulls, Pushes};
use hearth_store::{Store, UserRole};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::{AppState, Fit, MachineFacts, Rooms, ServerConfig, Verdict, router};
use scripted::Scripted;

const PASSWORD: &str = "correct horse";

/// A whole server without a socket.
struct Fixture {
    state: AppState,
    router: Router,
    backend: Arc<Scripted>,
    accounts: Accounts,
    store: Store,
    dir: tempfile::TempDir,
}

/// A machine of 8 GB on which files are all that counts.
fn judged(variant: &Variant) -> Fit {
    let free_bytes = 8_000_000_000;
    let is_small = variant.file_bytes <= free_bytes;
    Fit {
        verdict: if is_small { Verdict::Fits } else { Verdict::TooLarge },
        device: "cpu".to_owned(),
        need_bytes: variant.file_bytes,
        free_bytes,
        context_tokens: if is_small { 4096 } else { 0 },
    }
}

/// An answer, read whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The code of an error of Hearth's own API.
    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(ServerConfig::default())
    }

    fn with(config: ServerConfig) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let clock = Clock::of(|| 1_000_000);
        let vault = Vault::open(dir.path(), None).unwrap();
        let config_of_accounts = AccountsConfig::default();
        let (rows, keys) = (store.clone(), vault.clone());
        let accounts =
            Accounts::open(rows, dir.path(), config_of_accounts, clock.clone(), keys).unwrap();
        let backend = Arc::new(Scripted::default());
        let (rows, keys, config_of_alerts) =
            (store.clone(), vault.clone(), AlertsConfig::default());
        let alerts = Alerts::open(rows, keys, clock.clone(), &config_of_alerts).unwrap();
        let channels = Channels::new(store.clone(), vault, clock.clone(), known_wire);
        let local: Arc<dyn Backend> = Arc::clone(&backend) as _;
        let switchboard = Switchboard::new(local, channels.clone(), RoutingConfig::default());
        let backends: Vec<Arc<dyn Backend>> = vec![Arc::new(switchboard)];
        let gateway =
            Gateway::new(store.clone(), backends, GatewayConfig::default(), clock.clone());
        let library = Arc::new(Library::open(&dir.path().join("models"), &[]).unwrap());
        let rooms = Rooms {
            accounts: accounts.clone(),
            gateway,
            alerts,
            channels,
            pulls: Pulls::open(Arc::clone(&library), &HubConfig::default()).unwrap(),
            pushes: Pushes::open(Arc::clone(&library), &HubConfig::default()).unwrap(),
            library,
            store: store.clone(),
            clock,
            machine: Arc::new(|| MachineFacts { cores: 2, ..MachineFacts::default() }),
            judge: Arc::new(|variants| variants.iter().map(|variant| judged(variant)).collect()),
        };
        let state = AppState::new(rooms, config);
        let router = router(state.clone());
        Fixture { state, router, backend, accounts, store, dir }
    }

    /// An API token of a new user.
    async fn token(&self, name: &str, role: UserRole) -> String {
        let operator = Caller::operator();
        let new = NewAccount { name: name.to_owned(), role, password: PASSWORD.to_owned() };
        self.accounts.create_user(&operator, new).await.unwrap();
        let new = NewToken {
            name: "test".to_owned(),
            user: Some(name.to_owned()),
            ..NewToken::default()
        };
        self.accounts.create_token(&operator, new).await.unwrap().1.reveal().to_owned()
    }

    fn control(&self) -> String {
        read_control_secret(self.dir.path()).unwrap().unwrap().reveal().to_owned()
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    async fn call(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send(request(token, method, path, body)).await
    }
}

fn request(token: &str, method: &str, path: &str, body: Option<Value>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    match body {
        Some(body) => {
            request.header("content-type", "application/json").body(Body::from(body.to_string()))
        }
        None => request.body(Body::empty()),
    }
    .unwrap()
}
