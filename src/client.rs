//! How a command reaches Hearth: through the server that runs on the data directory, through a
//! remote server, or, when none runs, through the same routes inside this process.
//!
//! Every command is therefore a call of the HTTP API; there is no second way to change anything.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use eventsource_stream::{Event, Eventsource};
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use serde_json::Value;
use tower::ServiceExt;

use crate::app::App;
use crate::cli::Target;
use crate::config::Config;
use crate::lock::{DataLock, LockState};

/// Largest answer that is read whole, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Bytes of a file that are read at a time.
const UPLOAD_PIECE_BYTES: usize = 1 << 20;

/// A way to call the API.
pub struct Client {
    transport: Transport,
    token: String,
}

enum Transport {
    /// The routes inside this process; the lock keeps a server from starting meanwhile.
    InProcess {
        router: Router,
        _app: Box<App>,
        _lock: DataLock,
    },
    Remote {
        http: reqwest::Client,
        base: String,
    },
}

impl Client {
    /// Finds the way for `target`.
    pub async fn connect(target: &Target, config: &Config) -> Result<Client> {
        if let (Some(server), Some(token)) = (&target.server, &target.token) {
            return Client::remote(server, token.clone());
        }
        match DataLock::acquire(&config.data.dir)? {
            LockState::Ours(lock) => {
                let app = App::open(config).await?;
                let token = app.control_token().to_owned();
                let router = app.router();
                let transport = Transport::InProcess { router, _app: Box::new(app), _lock: lock };
                Ok(Client { transport, token })
            }
            LockState::Taken(Some(control)) => Client::remote(&control.url, control.token),
            LockState::Taken(None) => bail!(
                "another Hearth command is working on {}; try again when it has ended",
                config.data.dir.display()
            ),
        }
    }

    fn remote(base: &str, token: String) -> Result<Client> {
        // A second start in one process keeps the first one's choice, which is the same.
        rustls::crypto::ring::default_provider().install_default().ok();
        // Never through a proxy by accident: the token would pass through it.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(std::time::Duration::from_secs(5))
            .build()
            .context("cannot make an HTTP client")?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Client { transport: Transport::Remote { http, base }, token })
    }

    /// The server's address, if commands go to one.
    pub fn server_url(&self) -> Option<&str> {
        match &self.transport {
            Transport::Remote { base, .. } => Some(base),
            Transport::InProcess { .. } => None,
        }
    }

    /// Whether commands go to a server, so that its loaded models can be seen.
    pub fn is_remote(&self) -> bool {
        matches!(self.transport, Transport::Remote { .. })
    }

    /// One call; the answer's JSON, or its error as a sentence.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let answer = self.whole(method, path, body).await?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).context("the server's answer is not JSON")
    }

    async fn whole(&self, method: Method, path: &str, body: Option<Value>) -> Result<Vec<u8>> {
        let mut stream = self.send(method, path, body).await?;
        let mut answer = Vec::new();
        while let Some(bytes) = stream.next().await {
            answer.extend_from_slice(&bytes?);
            if answer.len() > MAX_ANSWER_BYTES {
                bail!("the answer is longer than {MAX_ANSWER_BYTES} bytes");
            }
        }
        Ok(answer)
    }

    /// An answer that is a text.
    pub async fn text(&self, path: &str) -> Result<String> {
        let answer = self.whole(Method::GET, path, None).await?;
        String::from_utf8(answer).context("the server's answer is no text")
    }

    /// An answer that is a text of any length, whole lines at a time.
    pub(crate) async fn each_lines(
        &self,
        path: &str,
        mut show: impl FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        let mut stream = self.send(Method::GET, path, None).await?;
        let mut rest = Vec::new();
        while let Some(bytes) = stream.next().await {
            rest.extend_from_slice(&bytes?);
            if let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') {
                let lines: Vec<u8> = rest.drain(..=end).collect();
                show(std::str::from_utf8(&lines).context("the server's answer is no text")?)?;
            }
            ensure!(rest.len() <= MAX_ANSWER_BYTES, "a line is too long");
        }
        show(std::str::from_utf8(&rest).context("the server's answer is no text")?)
    }

    /// One call whose answer is a stream of server-sent events.
    pub async fn events(
        &self,
        path: &str,
        body: Value,
    ) -> Result<impl Stream<Item = Result<Event>> + Unpin + use<>> {
        let stream = self.send(Method::POST, path, Some(body)).await?;
        Ok(Box::pin(stream.eventsource().map(|event| event.map_err(|error| anyhow!("{error}")))))
    }

    /// One call whose answer is a JSON object per line.
    pub async fn lines(
        &self,
        path: &str,
        body: Value,
    ) -> Result<impl Stream<Item = Result<Value>> + Unpin + use<>> {
        let stream = self.send(Method::POST, path, Some(body)).await?;
        let lines = stream::try_unfold((stream, Vec::new()), |(mut stream, mut rest)| async move {
            loop {
                if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let line = serde_json::from_slice(&line).context("a line is not JSON")?;
                    return Ok(Some((line, (stream, rest))));
                }
                match stream.next().await {
                    Some(bytes) => rest.extend_from_slice(&bytes?),
                    None => return Ok(None),
                }
                ensure!(rest.len() <= MAX_ANSWER_BYTES, "a line is too long");
            }
        });
        Ok(Box::pin(lines))
    }

    /// Sends a request and checks the status.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let body = body.map(|body| body.to_string());
        let (status, mut stream) = match &self.transport {
            Transport::InProcess { router, .. } => {
                let mut request = Request::builder()
                    .method(method)
                    .uri(path)
                    .header(header::HOST, "localhost")
                    .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
                if body.is_some() {
                    request = request.header(header::CONTENT_TYPE, "application/json");
                }
                let request = request.body(Body::from(body.unwrap_or_default()))?;
                let answer = router.clone().oneshot(request).await?;
                let status = answer.status();
                let stream = answer.into_body().into_data_stream();
                (status, stream.map(|bytes| bytes.map_err(anyhow::Error::from)).boxed())
            }
            Transport::Remote { http, base } => {
                let mut request =
                    http.request(method, format!("{base}{path}")).bearer_auth(&self.token);
                if let Some(body) = body {
                    request = request.header(header::CONTENT_TYPE, "application/json").body(body);
                }
                let answer =
                    request.send().await.with_context(|| format!("cannot reach {base}"))?;
                let status = answer.status();
                (status, answer.bytes_stream().map(|b| b.map_err(anyhow::Error::from)).boxed())
            }
        };
        if status.is_success() {
            return Ok(stream);
        }
        let mut answer = Vec::new();
        while let Some(Ok(bytes)) = stream.next().await {
            answer.extend_from_slice(&bytes);
            if answer.len() > MAX_ANSWER_BYTES {
                break;
            }
        }
        Err(refusal(status, &answer))
    }
}

impl Client {
    /// Sends a file as the body of a `POST`, a piece at a time.
    pub async fn send_file(&self, path: &str, file: &Path) -> Result<()> {
        let file = tokio::fs::File::open(file).await.context("cannot open the file")?;
        let bytes = file.metadata().await.context("cannot read the file")?.len();
        let pieces = stream::try_unfold(file, async |mut file| {
            let mut piece = vec![0; UPLOAD_PIECE_BYTES];
            let read = tokio::io::AsyncReadExt::read(&mut file, &mut piece).await?;
            piece.truncate(read);
            Ok::<_, std::io::Error>((read > 0).then_some((Bytes::from(piece), file)))
        });
        let kind = "application/octet-stream";
        let (status, answer) = match &self.transport {
            Transport::InProcess { router, .. } => {
                let request = Request::post(path)
                    .header(header::HOST, "localhost")
                    .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
                    .header(header::CONTENT_TYPE, kind);
                let request = request.body(Body::from_stream(pieces))?;
                let answer = router.clone().oneshot(request).await?;
                let status = answer.status();
                (status, axum::body::to_bytes(answer.into_body(), MAX_ANSWER_BYTES).await?)
            }
            Transport::Remote { http, base } => {
                let request = http.post(format!("{base}{path}")).bearer_auth(&self.token);
                let request = request
                    .header(header::CONTENT_TYPE, kind)
                    .header(header::CONTENT_LENGTH, bytes)
                    .body(reqwest::Body::wrap_stream(pieces));
                let answer =
                    request.send().await.with_context(|| format!("cannot reach {base}"))?;
                (answer.status(), answer.bytes().await?)
            }
        };
        if status.is_success() { Ok(()) } else { Err(refusal(status, &answer)) }
    }
}

/// The server's own words, if it said any.
fn refusal(status: StatusCode, answer: &[u8]) -> anyhow::Error {
    let parsed: Option<Value> = serde_json::from_slice(answer).ok();
    let said = |answer: &'_ Value| {
        let error = &answer["error"];
        // Ollama's routes have a plain text there.
        error["message"].as_str().or(error.as_str()).map(str::to_owned)
    };
    match parsed.as_ref().and_then(said) {
        Some(message) => anyhow!("{message}"),
        None => anyhow!("the server answered {status}"),
    }
}
