//! Sign-in by a provider of OpenID Connect: authorization code with PKCE, state and nonce.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hearth_store::Identity;
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreIdToken, CoreProviderMetadata};
use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, HttpRequest, HttpResponse, IssuerUrl, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, TokenResponse, http,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::external::{Trust, Vouched};
use super::hidden::Hidden;
use super::{Accounts, SignedIn, Visit};
use crate::error::{Error, Result};

/// How long somebody may take at the provider.
const FLOW_S: i64 = 600;
/// Most sign-ins under way.
const MAX_FLOWS: usize = 10_000;
/// How long the provider may take to connect and to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Most bytes of an answer of the provider.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// How long what the provider says of itself is believed.
const METADATA_S: i64 = 600;

/// A provider of OpenID Connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OidcConfig {
    /// Its address, exactly as it calls itself; empty is no provider.
    pub issuer: String,
    /// Who we are there.
    pub client_id: String,
    /// Our secret there.
    pub client_secret: Hidden,
    /// Our address as browsers see it, such as `https://llm.example.com`.
    pub public_url: String,
    /// What is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// The claim with the name that people have here.
    pub name_claim: String,
    /// The claim with their groups.
    pub groups_claim: String,
    /// Groups whose people are admins here; empty changes no roles.
    pub admin_groups: Vec<String>,
    /// Groups whose people come in; empty is everybody.
    pub allowed_groups: Vec<String>,
    /// Whether people who have no account get one.
    pub creates_users: bool,
}

impl Default for OidcConfig {
    fn default() -> OidcConfig {
        OidcConfig {
            issuer: String::new(),
            client_id: String::new(),
            client_secret: Hidden::default(),
            public_url: String::new(),
            scopes: vec!["profile".to_owned(), "email".to_owned()],
            name_claim: "preferred_username".to_owned(),
            groups_claim: "groups".to_owned(),
            admin_groups: Vec::new(),
            allowed_groups: Vec::new(),
            creates_users: true,
        }
    }
}

impl OidcConfig {
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> std::result::Result<(), String> {
        if self.issuer.is_empty() {
            return Ok(());
        }
        let is_web = |url: &str| url.starts_with("https://") || url.starts_with("http://");
        if !is_web(&self.issuer) {
            return Err("issuer must begin with https:// or http://".to_owned());
        }
        if !is_web(&self.public_url) {
            return Err("public_url must be our address as browsers see it".to_owned());
        }
        if self.client_id.is_empty() {
            return Err("client_id is missing".to_owned());
        }
        Ok(())
    }

    fn redirect_url(&self) -> String {
        format!("{}/hearth/oidc/callback", self.public_url.trim_end_matches('/'))
    }
}

/// Somebody who is at the provider now.
struct Flow {
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    /// Hash of what the browser keeps, so that nobody else's browser ends the flow.
    browser: [u8; 32],
    ends_at: i64,
}

/// A client that knows where to send people and where to ask for tokens.
type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The provider, and who is there.
pub(super) struct Oidc {
    config: OidcConfig,
    http: Option<reqwest::Client>,
    flows: Mutex<HashMap<String, Flow>>,
    metadata: Mutex<Option<(i64, CoreProviderMetadata)>>,
}

/// Where a browser goes, and what it keeps until it comes back.
pub struct Departure {
    /// The provider's page.
    pub url: String,
    /// For a cookie that lives as long as the flow.
    pub binding: String,
}

/// What the provider sends a browser back with.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// For the token.
    pub code: String,
    /// Names the flow.
    pub state: String,
    /// What the browser kept.
    pub binding: String,
}

/// Why a question to the provider failed.
#[derive(Debug, thiserror::Error)]
enum HttpError {
    #[error("{0}")]
    Request(#[from] reqwest::Error),
    #[error("{0}")]
    Answer(#[from] http::Error),
    #[error("the answer is too long")]
    TooLong,
}

/// An answer of the provider that is under way.
type Answering =
    Pin<Box<dyn Future<Output = std::result::Result<HttpResponse, HttpError>> + Send + Sync>>;

impl Oidc {
    pub(super) fn new(config: OidcConfig) -> Result<Oidc> {
        let http = match config.issuer.is_empty() {
            true => None,
            false => Some(client()?),
        };
        Ok(Oidc { config, http, flows: Mutex::default(), metadata: Mutex::new(None) })
    }

    /// The client and the HTTP client, if there is a provider.
    async fn client(&self, now: i64) -> Result<(Client, &reqwest::Client)> {
        let http = self.http.as_ref().ok_or_else(|| {
            Error::NotOffered("No OpenID provider is configured here.".to_owned())
        })?;
        let known = self.metadata.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let metadata = match known {
            Some((until, metadata)) if now < until => metadata,
            _ => {
                let issuer = IssuerUrl::new(self.config.issuer.clone()).map_err(fault)?;
                let metadata = CoreProviderMetadata::discover_async(issuer, &asking(http))
                    .await
                    .map_err(fault)?;
                let mut known = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
                *known = Some((now + METADATA_S, metadata.clone()));
                metadata
            }
        };
        let secret = &self.config.client_secret.0;
        let secret = (!secret.is_empty()).then(|| ClientSecret::new(secret.clone()));
        let id = ClientId::new(self.config.client_id.clone());
        let redirect = RedirectUrl::new(self.config.redirect_url()).map_err(fault)?;
        let client = CoreClient::from_provider_metadata(metadata, id, secret);
        Ok((client.set_redirect_uri(redirect), http))
    }

    /// Takes a flow out, if this browser began it.
    fn take_flow(&self, arrival: &Arrival, now: i64) -> Option<Flow> {
        let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        let browser: [u8; 32] = Sha256::digest(arrival.binding.as_bytes()).into();
        let is_own = |flow: &Flow| flow.browser == browser && now < flow.ends_at;
        if !flows.get(&arrival.state).is_some_and(is_own) {
            return None;
        }
        flows.remove(&arrival.state)
    }
}

impl Accounts {
    /// Whether there is a provider of OpenID Connect.
    pub fn offers_oidc(&self) -> bool {
        self.inner.oidc.http.is_some()
    }

    /// Begins a sign-in at the provider.
    pub async fn begin_oidc(&self, visit: &Visit) -> Result<Departure> {
        let oidc = &self.inner.oidc;
        let now = self.inner.clock.now();
        let network = super::attempts::network_of(visit.address);
        let too_many = |retry_after| Error::TooManyAttempts { retry_after };
        self.inner.by_address.take(network, now).map_err(too_many)?;
        let (client, _) = oidc.client(now).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let mut url = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                CsrfToken::new_random,
                Nonce::new_random,
            )
            .set_pkce_challenge(challenge);
        for scope in &oidc.config.scopes {
            url = url.add_scope(Scope::new(scope.clone()));
        }
        let (url, state, nonce) = url.url();
        let binding = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let browser = Sha256::digest(binding.as_bytes()).into();
        let mut flows = oidc.flows.lock().unwrap_or_else(PoisonError::into_inner);
        flows.retain(|_, flow| now < flow.ends_at);
        if flows.len() >= MAX_FLOWS {
            return Err(Error::Busy { retry_after: Duration::from_secs(10) });
        }
        let flow = Flow { nonce, verifier, browser, ends_at: now + FLOW_S };
        flows.insert(state.into_secret(), flow);
        Ok(Departure { url: url.to_string(), binding })
    }

    /// Ends a sign-in: the provider has sent the browser back. Each flow ends once.
    pub async fn end_oidc(&self, arrival: Arrival, visit: Visit) -> Result<SignedIn> {
        let oidc = &self.inner.oidc;
        let now = self.inner.clock.now();
        let wrong = || {
            let message = "This sign-in was not begun in this browser, or took too long.";
            Error::Forbidden(message.to_owned())
        };
        let flow = oidc.take_flow(&arrival, now).ok_or_else(wrong)?;
        let (client, http) = oidc.client(now).await?;
        let answer = client
            .exchange_code(AuthorizationCode::new(arrival.code))
            .map_err(fault)?
            .set_pkce_verifier(flow.verifier)
            .request_async(&asking(http))
            .await
            .map_err(fault)?;
        let token: &CoreIdToken =
            answer.id_token().ok_or_else(|| fault("the answer has no ID token"))?;
        let verifier = client.id_token_verifier();
        // Signature, issuer, audience, time and nonce.
        let claims = token.claims(&verifier, &flow.nonce).map_err(fault)?;
        if let Some(expected) = claims.access_token_hash() {
            let algorithm = token.signing_alg().map_err(fault)?;
            let key = token.signing_key(&verifier).map_err(fault)?;
            let hash =
                openidconnect::AccessTokenHash::from_token(answer.access_token(), algorithm, key);
            if hash.map_err(fault)? != *expected {
                return Err(fault("the access token is not the one of the ID token"));
            }
        }
        let subject = claims.subject().to_string();
        // The same claims once more, for those that are ours to name: they are verified now.
        let all = payload(&token.to_string()).ok_or_else(|| fault("the claims cannot be read"))?;
        let text = |claim: &str| all[claim].as_str().map(str::to_owned);
        let email_is_verified = all["email_verified"] != Value::Bool(false);
        let email = text("email").filter(|_| email_is_verified);
        let who = Vouched {
            identity: Identity { provider: oidc.config.issuer.clone(), subject: subject.clone() },
            name: text(&oidc.config.name_claim)
                .or_else(|| text("preferred_username"))
                .or_else(|| email.clone())
                .unwrap_or(subject),
            email,
            groups: groups(&all[&oidc.config.groups_claim]),
        };
        let trust = Trust {
            creates_users: oidc.config.creates_users,
            admin_groups: &oidc.config.admin_groups,
            allowed_groups: &oidc.config.allowed_groups,
        };
        let user = self.vouched_user(who, &trust).await?;
        self.inner.by_address.give_back(&super::attempts::network_of(visit.address));
        self.start_session(user, "oidc", visit).await
    }
}

/// A list of texts, or one text.
fn groups(claim: &Value) -> Option<Vec<String>> {
    match claim {
        Value::String(group) => Some(vec![group.clone()]),
        Value::Array(list) => {
            Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        _ => None,
    }
}

/// The claims of a token whose signature was checked.
fn payload(token: &str) -> Option<Value> {
    let part = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Asks nobody but whom it is told to: no redirects, no proxy by accident, no endless answers.
fn client() -> Result<reqwest::Client> {
    // A second start in one process keeps the first one's choice, which is the same.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        .build()
        .map_err(|error| Error::Internal(format!("cannot make an HTTP client: {error}")))
}

/// Asks the provider by this client. It holds the client and boxes its answers, so that nothing of
/// it borrows: the futures around it could not be sent between threads otherwise.
fn asking(http: &reqwest::Client) -> impl Fn(HttpRequest) -> Answering + Send + Sync + use<> {
    let http = http.clone();
    move |request| Box::pin(send(http.clone(), request))
}

async fn send(
    http: reqwest::Client,
    request: HttpRequest,
) -> std::result::Result<HttpResponse, HttpError> {
    let mut answer = http.execute(request.try_into()?).await?;
    let mut built = http::Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        built = built.header(name, value);
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(HttpError::TooLong);
        }
    }
    Ok(built.body(body)?)
}

/// What the provider did wrong is for the log; it may quote what it was sent.
fn fault(error: impl std::fmt::Display) -> Error {
    tracing::warn!(%error, "a sign-in by OpenID Connect failed");
    Error::Provider("The OpenID provider's answer is not as it should be.".to_owned())
}
