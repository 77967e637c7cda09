//! One model on its way to a registry, by the OCI distribution protocol: each file in pieces that
//! can be gone on with, then the manifest.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};

use crate::config::HubConfig;
use crate::digest::Digest;
use crate::error::Doing;
use crate::name::ModelName;
use crate::pull::fetch::blocking;
use crate::pull::http::{Access, Call, FIRST_WAIT, Failure, Http, bad_answer, host_of, wait_after};
use crate::pull::registry::base_of;
use crate::pull::{PullError, PullResult};

/// Bytes of a piece, and the most that a registry may ask for instead.
const PIECE_BYTES: u64 = 8 << 20;
const MAX_PIECE_BYTES: u64 = 64 << 20;
/// A registry says by it how small a piece may be.
const LEAST_BYTES: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// What a manifest is if it does not say so itself.
const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const BYTES_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// One model on its way.
pub(super) struct Upload<'a> {
    http: &'a Http,
    access: Access,
    base: Url,
    retries: u32,
    /// First wait before another try.
    backoff: Duration,
}

/// A file that the registry is taking.
struct Session {
    /// Where the next bytes go.
    location: Url,
    /// Bytes that it has.
    at: u64,
    piece_bytes: u64,
}

/// The file that is sent.
struct Sending<'a> {
    file: Arc<File>,
    digest: &'a Digest,
    bytes: u64,
    report: &'a (dyn Fn(u64) + Sync),
}

impl<'a> Upload<'a> {
    pub(super) fn new(
        http: &'a Http,
        config: &HubConfig,
        name: &ModelName,
    ) -> PullResult<Upload<'a>> {
        let base = base_of(config, name)?;
        let access = Access::of_account(&base, config.account_at(name.host()));
        Ok(Upload { http, access, base, retries: config.retries, backoff: FIRST_WAIT })
    }

    /// Whether the registry has this file already.
    pub(super) async fn has(&self, digest: &Digest) -> PullResult<bool> {
        let call = Call::new(Method::HEAD, self.url(&format!("blobs/{digest}"))?);
        let mut tries = 0;
        loop {
            let failure = match self.http.call(&call, &self.access).await {
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => return Ok(false),
                Ok(answer) if answer.status().is_success() => return Ok(true),
                Ok(answer) if answer.status().is_redirection() => return Ok(true),
                Ok(answer) => wrong(&answer),
                Err(failure) => failure,
            };
            tries += 1;
            self.wait_or_fail(failure, tries).await?;
        }
    }

    /// Sends a file; goes on where the registry says, if the connection breaks.
    pub(super) async fn send(
        &self,
        path: &Path,
        digest: &Digest,
        bytes: u64,
        report: &(dyn Fn(u64) + Sync),
    ) -> PullResult<()> {
        let opened = path.to_owned();
        let file =
            blocking(move || File::open(&opened).doing(|| format!("open {}", opened.display())));
        let sending = Sending { file: Arc::new(file.await?), digest, bytes, report };
        let mut session = None;
        let (mut failures, mut before) = (0, 0);
        loop {
            let Err(failure) = self.go_on(&mut session, &sending).await else { return Ok(()) };
            let at = session.as_ref().map_or(0, |session| session.at);
            failures = if at > before { 1 } else { failures + 1 };
            before = before.max(at);
            self.wait_or_fail(failure, failures).await?;
            session = match session {
                Some(session) => self.ask_again(session).await,
                None => None,
            };
            // The last word may have been heard although its answer was not.
            if session.is_none() && self.has(digest).await? {
                return Ok(());
            }
        }
    }

    /// Gives the model its name.
    pub(super) async fn name(
        &self,
        tag: &str,
        media_type: &str,
        manifest: Vec<u8>,
    ) -> PullResult<()> {
        let media_type = if media_type.is_empty() { MANIFEST_TYPE } else { media_type };
        let media_type = HeaderValue::from_str(media_type)
            .map_err(|_| PullError::BadModel("its manifest has a type that is none".to_owned()))?;
        let digest = Digest::of(&manifest);
        let mut call = Call::new(Method::PUT, self.url(&format!("manifests/{tag}"))?);
        call.headers.push((header::CONTENT_TYPE, media_type));
        call.body = Bytes::from(manifest);
        let mut tries = 0;
        loop {
            let failure = match self.http.call(&call, &self.access).await {
                Ok(answer) if answer.status().is_success() => return named(&answer, &digest),
                Ok(answer) => wrong(&answer),
                Err(failure) => failure,
            };
            tries += 1;
            self.wait_or_fail(failure, tries).await?;
        }
    }

    /// Sends what is missing, from where the session is.
    async fn go_on(
        &self,
        session: &mut Option<Session>,
        sending: &Sending<'_>,
    ) -> Result<(), Failure> {
        if session.is_none() {
            *session = Some(self.begin().await?);
        }
        let Some(session) = session else { return Ok(()) };
        while session.at < sending.bytes {
            let end = sending.bytes.min(session.at + session.piece_bytes);
            let piece = read(&sending.file, session.at, end).await?;
            let range = HeaderValue::from_str(&format!("{}-{}", session.at, end - 1));
            let range = range.map_err(|error| PullError::Local(format!("range: {error}")))?;
            let mut call = Call::new(Method::PATCH, session.location.clone());
            call.headers = vec![(header::CONTENT_TYPE, BYTES_TYPE), (header::CONTENT_RANGE, range)];
            call.body = piece;
            let answer = self.http.call(&call, &self.access).await?;
            match answer.status() {
                StatusCode::ACCEPTED | StatusCode::NO_CONTENT | StatusCode::CREATED => {}
                // It has more or less than it said, or has forgotten all.
                StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND => {
                    let problem = format!("status {} to a piece", answer.status());
                    return Err(Failure::Broken { host: host_of(&self.base), problem });
                }
                _ => return Err(wrong(&answer)),
            }
            session.location = self.location(&answer)?;
            let at = received(answer.headers()).map_or(end, |at| at.min(end));
            if at <= session.at {
                let problem = "it keeps nothing of what it is sent".to_owned();
                return Err(Failure::Broken { host: host_of(&self.base), problem });
            }
            session.at = at;
            (sending.report)(session.at);
        }
        let mut url = session.location.clone();
        url.query_pairs_mut().append_pair("digest", &sending.digest.to_string());
        let mut call = Call::new(Method::PUT, url);
        call.headers.push((header::CONTENT_TYPE, BYTES_TYPE));
        let answer = self.http.call(&call, &self.access).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND => {
                let problem = format!("status {} to the end of a file", answer.status());
                Err(Failure::Broken { host: host_of(&self.base), problem })
            }
            _ => Err(wrong(&answer)),
        }
    }

    async fn begin(&self) -> Result<Session, Failure> {
        let call = Call::new(Method::POST, self.url("blobs/uploads/")?);
        let answer = self.http.call(&call, &self.access).await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(wrong(&answer));
        }
        let least = answer.headers().get(LEAST_BYTES).and_then(|least| least.to_str().ok());
        let least = least.and_then(|least| least.parse().ok()).unwrap_or(0);
        if least > MAX_PIECE_BYTES {
            return Err(bad_answer(&self.base, "it wants larger pieces than Hearth sends"));
        }
        let location = self.location(&answer)?;
        Ok(Session { location, at: 0, piece_bytes: PIECE_BYTES.max(least) })
    }

    /// Where the session is, by the registry's own word; `None` if it has forgotten it.
    async fn ask_again(&self, session: Session) -> Option<Session> {
        let call = Call::new(Method::GET, session.location.clone());
        let answer = self.http.call(&call, &self.access).await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        // One that has nothing yet says `0-0`, as one that has a byte does.
        let at = received(answer.headers()).filter(|at| *at > 1).unwrap_or(0);
        let location = self.location(&answer).unwrap_or(session.location);
        Some(Session { location, at, piece_bytes: session.piece_bytes })
    }

    /// Where the next bytes go: never to another host.
    fn location(&self, answer: &Response) -> Result<Url, Failure> {
        let location = answer.headers().get(header::LOCATION).and_then(|text| text.to_str().ok());
        let next = location.and_then(|location| answer.url().join(location).ok());
        let next = next.ok_or_else(|| bad_answer(&self.base, "it does not say where to send"))?;
        if next.origin() != self.base.origin() {
            let (host, registry) = (host_of(&next), host_of(&self.base));
            return Err(Failure::Final(PullError::ForeignUpload { host, registry }));
        }
        Ok(next)
    }

    fn url(&self, path: &str) -> PullResult<Url> {
        self.base.join(path).map_err(|error| PullError::BadName(error.to_string()))
    }

    /// Waits before another try, unless none will help.
    async fn wait_or_fail(&self, failure: Failure, failures: u32) -> PullResult<()> {
        if matches!(failure, Failure::Final(_)) || failures > self.retries {
            return Err(failure.into_error(failures));
        }
        tokio::time::sleep(wait_after(failures, self.backoff)).await;
        Ok(())
    }
}

async fn read(file: &Arc<File>, start: u64, end: u64) -> PullResult<Bytes> {
    let file = Arc::clone(file);
    blocking(move || {
        let mut piece = vec![0; usize::try_from(end - start).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut piece, start).doing(|| "read a blob".to_owned())?;
        Ok(Bytes::from(piece))
    })
    .await
}

/// Bytes that the registry has, from `0-1023` or `bytes=0-1023`.
fn received(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::RANGE)?.to_str().ok()?;
    let (_, last) = range.rsplit_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    last.checked_add(1)
}

/// Whether the registry named what it was sent.
fn named(answer: &Response, digest: &Digest) -> PullResult<()> {
    let said = answer.headers().get("docker-content-digest").and_then(|text| text.to_str().ok());
    match said {
        Some(said) if said != digest.to_string() => {
            let problem = format!("it has kept the manifest {digest} as another");
            Err(bad_answer(answer.url(), &problem).into_error(1))
        }
        _ => Ok(()),
    }
}

fn wrong(answer: &Response) -> Failure {
    bad_answer(answer.url(), &format!("status {} to an upload", answer.status()))
}
