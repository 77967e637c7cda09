//! The one HTTP client of pulls: every hop is checked before it is taken, answers are bounded, and
//! credentials stay with the host that they are for.

mod call;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{self, HeaderMap};
use reqwest::{RequestBuilder, Response, StatusCode, Url};

use super::guard::{Guard, is_private};
use super::{PullError, PullResult};
use crate::config::{Credential, HubConfig};

pub(crate) use call::Call;

/// Redirects that one request may take.
const MAX_HOPS: usize = 10;
/// Seconds for a connection to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// First and longest wait before a broken connection is tried again.
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Largest answer of a token server, in bytes.
const MAX_TOKEN_BYTES: usize = 64 << 10;

/// Why a request brought nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another try may help.
    Broken { host: String, problem: String },
    /// No other try will.
    Final(PullError),
}

/// What requests are made of and held to.
pub(crate) struct Http {
    client: reqwest::Client,
    guard: Arc<Guard>,
    /// Longest wait for an answer to begin, and for its next byte.
    pub(crate) stall: Duration,
}

/// One request.
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a Url,
    /// First and last byte.
    pub(crate) range: Option<(u64, u64)>,
    pub(crate) accept: Option<&'static str>,
}

/// The credential for one host.
pub(crate) struct Access {
    /// Where it may be shown.
    home: Url,
    token: Mutex<Option<Shown>>,
    /// What gets a token, or is shown itself.
    credential: Option<Credential>,
    /// Whether the host may name a place that gives out tokens, as registries do.
    is_registry: bool,
}

/// What a host is shown.
#[derive(Clone)]
enum Shown {
    Bearer(String),
    Basic(Credential),
}

impl Http {
    pub(crate) fn new(config: &HubConfig) -> crate::Result<Http> {
        // A second start in one process keeps the first one's choice, which is the same.
        rustls::crypto::ring::default_provider().install_default().ok();
        let guard = Arc::new(Guard::new(config));
        let builder = reqwest::Client::builder()
            .user_agent(concat!("hearth/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // Redirects are followed below, each checked. HTTP/2 would put all ranges of a file on
            // one connection.
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .dns_resolver(guard.resolver());
        let client = proxied(builder, config).and_then(reqwest::ClientBuilder::build);
        let client = client.map_err(|error| crate::Error::Network(error.to_string()))?;
        Ok(Http { client, guard, stall: Duration::from_secs(config.stall_timeout_s.into()) })
    }

    /// The answer, with the address that gave it in the end.
    pub(crate) async fn get(&self, ask: &Ask<'_>, access: &Access) -> Result<Response, Failure> {
        let mut url = ask.url.clone();
        let mut is_renewed = false;
        for _ in 0..=MAX_HOPS {
            self.guard.check(&url)?;
            let answer = self.send(&url, ask, access.shown_to(&url)).await?;
            if answer.status() == StatusCode::UNAUTHORIZED
                && access.is_registry
                && access.is_home(&url)
                && !is_renewed
            {
                is_renewed = true;
                let token = self.new_token(answer.headers(), &url, access).await?;
                *lock(&access.token) = Some(token);
                continue;
            }
            match redirect(&answer, &url)? {
                Some(next) => url = next,
                None => return checked(answer, ask),
            }
        }
        Err(bad_answer(&url, "too many redirects"))
    }

    /// A whole answer of at most `limit` bytes.
    pub(crate) async fn read(
        &self,
        mut answer: Response,
        limit: usize,
    ) -> Result<Vec<u8>, Failure> {
        let host = host_of(answer.url());
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(&mut answer).await? {
            if bytes.len() + chunk.len() > limit {
                let problem = format!("the answer is longer than {limit} bytes");
                return Err(Failure::Final(PullError::BadAnswer { host, problem }));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The next bytes of an answer, unless they are too long in coming.
    pub(crate) async fn chunk(
        &self,
        answer: &mut Response,
    ) -> Result<Option<bytes::Bytes>, Failure> {
        let host = host_of(answer.url());
        match tokio::time::timeout(self.stall, answer.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(broken(host, error)),
            Err(_) => {
                let problem = format!("no byte came for {} s", self.stall.as_secs_f32());
                Err(Failure::Broken { host, problem })
            }
        }
    }

    /// A client with the same checks that follows redirects itself, for libraries.
    pub(crate) fn library_client(config: &HubConfig) -> crate::Result<reqwest::Client> {
        let guard = Arc::new(Guard::new(config));
        let resolver = guard.resolver();
        let redirects = reqwest::redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > MAX_HOPS || guard.check(attempt.url()).is_err() {
                return attempt.error(hearth_reach::IsPrivate);
            }
            attempt.follow()
        });
        let builder = reqwest::Client::builder()
            .user_agent(concat!("hearth/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(Duration::from_secs(config.stall_timeout_s.into()))
            .redirect(redirects)
            .dns_resolver(resolver);
        let client = proxied(builder, config).and_then(reqwest::ClientBuilder::build);
        client.map_err(|error| crate::Error::Network(error.to_string()))
    }

    /// Whether this address may be asked at all.
    pub(crate) fn check(&self, url: &Url) -> PullResult<()> {
        self.guard.check(url).map_err(|failure| failure.into_error(1))
    }

    async fn send(
        &self,
        url: &Url,
        ask: &Ask<'_>,
        shown: Option<Shown>,
    ) -> Result<Response, Failure> {
        let mut request = self.client.get(url.clone());
        if let Some((first, last)) = ask.range {
            request = request.header(header::RANGE, format!("bytes={first}-{last}"));
        }
        if let Some(accept) = ask.accept {
            request = request.header(header::ACCEPT, accept);
        }
        self.answer(url, show(request, shown)).await
    }

    /// The answer, unless it is too long in coming.
    async fn answer(&self, url: &Url, request: RequestBuilder) -> Result<Response, Failure> {
        match tokio::time::timeout(self.stall + CONNECT_TIMEOUT, request.send()).await {
            Ok(answer) => answer.map_err(|error| broken(host_of(url), error)),
            Err(_) => {
                let problem = "it did not answer in time".to_owned();
                Err(Failure::Broken { host: host_of(url), problem })
            }
        }
    }

    /// Asks the place that a registry names for a token. It must be the registry itself: another
    /// host would learn what is asked for, and its token would be shown to the registry.
    async fn new_token(
        &self,
        headers: &HeaderMap,
        registry: &Url,
        access: &Access,
    ) -> Result<Shown, Failure> {
        let host = host_of(registry);
        let challenge = headers.get(header::WWW_AUTHENTICATE).and_then(|text| text.to_str().ok());
        if let (Some(credential), true) = (&access.credential, challenge.is_some_and(is_basic)) {
            return Ok(Shown::Basic(credential.clone()));
        }
        let Some(fields) = challenge.and_then(bearer_fields) else {
            let reason = "it wants a credential that Hearth does not have".to_owned();
            return Err(Failure::Final(PullError::Denied { host, reason }));
        };
        let field = |name: &str| fields.iter().find(|(key, _)| *key == name).map(|(_, v)| *v);
        let realm = field("realm").and_then(|realm| registry.join(realm).ok());
        let mut realm = realm.ok_or_else(|| bad_answer(registry, "a challenge without a realm"))?;
        if realm.origin() != registry.origin() {
            let realm = host_of(&realm);
            return Err(Failure::Final(PullError::ForeignRealm { realm, registry: host }));
        }
        for name in ["service", "scope"] {
            if let Some(value) = field(name) {
                realm.query_pairs_mut().append_pair(name, value);
            }
        }
        self.guard.check(&realm)?;
        let ask = Ask { url: &realm, range: None, accept: None };
        let answer = checked(self.send(&realm, &ask, access.for_token()).await?, &ask)?;
        let bytes = self.read(answer, MAX_TOKEN_BYTES).await?;
        let answer: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let token = answer["token"].as_str().or(answer["access_token"].as_str());
        token
            .map(|token| Shown::Bearer(token.to_owned()))
            .ok_or_else(|| bad_answer(&realm, "no token in the answer"))
    }
}

impl Access {
    /// For a registry: a token is asked for when one is needed.
    pub(crate) fn registry(home: &Url) -> Access {
        let token = Mutex::new(None);
        Access { home: home.clone(), token, credential: None, is_registry: true }
    }

    /// The same, with what is known of an account there.
    pub(crate) fn of_account(home: &Url, credential: Option<Credential>) -> Access {
        Access { credential, ..Access::registry(home) }
    }

    /// With a token that is known, or none.
    pub(crate) fn with(home: &Url, token: Option<String>) -> Access {
        let token = Mutex::new(token.map(Shown::Bearer));
        Access { home: home.clone(), token, credential: None, is_registry: false }
    }

    fn is_home(&self, url: &Url) -> bool {
        url.origin() == self.home.origin()
    }

    fn shown_to(&self, url: &Url) -> Option<Shown> {
        if self.is_home(url) { lock(&self.token).clone() } else { None }
    }

    /// What is shown where tokens are given out.
    fn for_token(&self) -> Option<Shown> {
        self.credential.clone().map(Shown::Basic)
    }
}

impl Failure {
    /// The error of a pull that gives up after `tries`.
    pub(crate) fn into_error(self, tries: u32) -> PullError {
        match self {
            Failure::Broken { host, problem } => PullError::Unreachable { host, problem, tries },
            Failure::Final(error) => error,
        }
    }
}

impl From<PullError> for Failure {
    fn from(error: PullError) -> Failure {
        Failure::Final(error)
    }
}

/// How long to wait after so many failures in a row.
pub(crate) fn wait_after(failures: u32, first: Duration) -> Duration {
    (first * 2_u32.saturating_pow(failures.saturating_sub(1).min(16))).min(LONGEST_WAIT)
}

/// Through the proxy of the settings, never through one of the environment by accident.
fn proxied(
    builder: reqwest::ClientBuilder,
    config: &HubConfig,
) -> reqwest::Result<reqwest::ClientBuilder> {
    if config.proxy.is_empty() {
        return Ok(builder.no_proxy());
    }
    Ok(builder.proxy(reqwest::Proxy::all(&config.proxy)?))
}

fn show(request: RequestBuilder, shown: Option<Shown>) -> RequestBuilder {
    match shown {
        None => request,
        Some(Shown::Bearer(token)) => request.bearer_auth(token),
        Some(Shown::Basic(account)) => request.basic_auth(account.user(), Some(account.password())),
    }
}

/// Host and, if it is not the scheme's own, port.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Where an answer sends us, if it does.
fn redirect(answer: &Response, url: &Url) -> Result<Option<Url>, Failure> {
    if !answer.status().is_redirection() {
        return Ok(None);
    }
    let location = answer.headers().get(header::LOCATION).and_then(|text| text.to_str().ok());
    let next = location.and_then(|location| url.join(location).ok());
    next.map(Some).ok_or_else(|| bad_answer(url, "a redirect to nowhere"))
}

/// Answers that are not what was asked for, told apart by what may help.
fn checked(answer: Response, ask: &Ask<'_>) -> Result<Response, Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let host = host_of(answer.url());
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Failure::Final(PullError::Denied { host, reason: format!("status {status}") })
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            let what = ask.url.path().trim_start_matches('/');
            Failure::Final(PullError::NotFound(format!("{}/{what}", host_of(ask.url))))
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Failure::Broken { host, problem: format!("status {status}") }
        }
        status if status.is_server_error() => {
            Failure::Broken { host, problem: format!("status {status}") }
        }
        status => bad_answer(answer.url(), &format!("status {status}")),
    })
}

pub(crate) fn bad_answer(url: &Url, problem: &str) -> Failure {
    let problem = problem.to_owned();
    Failure::Final(PullError::BadAnswer { host: host_of(url), problem })
}

/// What the network did, without the address: it may carry a signature.
fn broken(host: String, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    let mut problem = String::new();
    while let Some(current) = cause {
        if is_private(current) {
            return Failure::Final(PullError::PrivateAddress { host });
        }
        problem = current.to_string();
        cause = current.source();
    }
    Failure::Broken { host, problem }
}

fn is_basic(challenge: &str) -> bool {
    challenge.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("basic"))
}

/// The fields of `Bearer key="value",…`.
fn bearer_fields(challenge: &str) -> Option<Vec<(&str, &str)>> {
    let (scheme, rest) = challenge.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    // A scope has commas between its actions, so commas inside quotes do not divide.
    let mut is_quoted = false;
    let fields = rest.split(move |letter: char| {
        is_quoted ^= letter == '"';
        letter == ',' && !is_quoted
    });
    let field = |field| -> Option<(&str, &str)> {
        let (key, value) = str::trim(field).split_once('=')?;
        Some((key, value.trim_matches('"')))
    };
    Some(fields.filter_map(field).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_with_commas_in_its_scope() {
        let fields = bearer_fields("Bearer realm=\"https://a/t\",scope=\"repo:x:pull,push\"");
        assert_eq!(fields.unwrap(), [("realm", "https://a/t"), ("scope", "repo:x:pull,push")]);
        assert!(bearer_fields("Basic realm=\"x\"").is_none());
    }
}
