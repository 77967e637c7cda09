//! The parts of the gateway's benchmark, in one program so that each can be pinned to a core:
//! `mock` is a provider that costs nothing, `bare` the least that a proxy can be (axum and
//! reqwest), `load` asks and measures. `benches/peer/gateway.py` puts them together.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measures")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Pieces of text in a streamed answer.
const CHUNKS: usize = 100;
/// Models that take their time, and how long between two pieces.
const PACED: [(&[u8], Duration); 2] =
    [(b"\"paced\"", Duration::from_millis(50)), (b"\"brisk\"", Duration::from_millis(10))];
/// Memory that a connection keeps for what it reads.
const BUFFER_BYTES: usize = 64 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["mock", address] => mock(address).await,
        ["bare", address, upstream] => bare(address, upstream).await,
        ["load", address, rest @ ..] => load(address, &Plan::parse(rest)?).await,
        _ => Err("bench-gateway mock ADDR | bare ADDR URL | load ADDR [--key=K] [--model=M] \
                  [--connections=N] [--seconds=S] [--rate=R] [--stream] [--header=NAME:VALUE]"
            .into()),
    }
}

/// A provider: answers every request on bare sockets with what it has made before. Pieces of a
/// stream are written one by one, as they come from a model; see [`PACED`].
async fn mock(address: &str) -> Fallible<()> {
    let listener = TcpListener::bind(address).await?;
    let answers = Arc::new((whole(), stream()));
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(serve(socket, Arc::clone(&answers)));
    }
}

async fn serve(mut socket: TcpStream, answers: Arc<(Vec<u8>, Vec<Vec<u8>>)>) -> Fallible<()> {
    let mut bytes = Vec::new();
    while let Some(length) = read_message(&mut socket, &mut bytes).await? {
        let message = &bytes[..length];
        let wants_stream = has(message, b"\"stream\":true") || has(message, b"\"stream\": true");
        let pace = PACED.iter().find(|(model, _)| has(message, model)).map(|(_, pace)| *pace);
        bytes.drain(..length);
        if !wants_stream {
            socket.write_all(&answers.0).await?;
            continue;
        }
        let mut due = tokio::time::Instant::now();
        for piece in &answers.1 {
            socket.write_all(piece).await?;
            match pace {
                Some(pace) => {
                    due += pace;
                    tokio::time::sleep_until(due).await;
                }
                // The others' turn: otherwise a whole stream goes out as one piece.
                None => tokio::task::yield_now().await,
            }
        }
    }
    Ok(())
}

/// Reads until a whole message (its length is told in its head) is in `bytes`; its length.
async fn read_message(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Fallible<Option<usize>> {
    loop {
        if let Some(end) = find(bytes, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
            if bytes.len() >= end + 4 + length {
                return Ok(Some(end + 4 + length));
            }
        }
        if socket.read_buf(bytes).await? == 0 {
            return Ok(None);
        }
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, part)
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    find(bytes, part).is_some()
}

fn whole() -> Vec<u8> {
    let body = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"The quick brown fox jumps over the lazy dog."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":10,"total_tokens":19}}"#;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
    format!("{head} {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// The pieces of a stream, the first one with the head of the answer.
fn stream() -> Vec<Vec<u8>> {
    let start = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":"#;
    let mut events =
        vec![format!(r#"{start}[{{"index":0,"delta":{{"content":"word "}}}}]}}"#); CHUNKS];
    events.push(format!(r#"{start}[{{"index":0,"delta":{{}},"finish_reason":"stop"}}]}}"#));
    events.push(format!(r#"{start}[],"usage":{{"prompt_tokens":9,"completion_tokens":100}}}}"#));
    events.push("[DONE]".to_owned());
    let framed = |data: &String| {
        let event = format!("data: {data}\n\n");
        format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
    };
    let mut pieces: Vec<Vec<u8>> = events.iter().map(framed).collect();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
    pieces[0].splice(..0, format!("{head}\r\n\r\n").into_bytes());
    if let Some(last) = pieces.last_mut() {
        last.extend_from_slice(b"0\r\n\r\n");
    }
    pieces
}

/// The least that a proxy can be: bytes in, bytes out.
async fn bare(address: &str, upstream: &str) -> Fallible<()> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
    let router = Router::new()
        .route("/v1/chat/completions", post(forward))
        .with_state((client, format!("{upstream}/chat/completions")));
    let listener = TcpListener::bind(address).await?;
    Ok(axum::serve(listener, router).await?)
}

async fn forward(
    State((client, url)): State<(reqwest::Client, String)>,
    body: axum::body::Bytes,
) -> Response {
    let request = client.post(url).header(header::CONTENT_TYPE, "application/json").body(body);
    match request.send().await {
        Ok(answer) => {
            let mut headers = HeaderMap::new();
            if let Some(kind) = answer.headers().get(header::CONTENT_TYPE) {
                headers.insert(header::CONTENT_TYPE, kind.clone());
            }
            (headers, Body::from_stream(answer.bytes_stream())).into_response()
        }
        Err(error) => (axum::http::StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// What is asked, and how much.
struct Plan {
    key: String,
    model: String,
    connections: usize,
    seconds: f64,
    /// Requests a second in all; 0 is as many as come back.
    rate: f64,
    stream: bool,
    /// Further headers, each with its end of line.
    headers: String,
}

impl Plan {
    fn parse(words: &[&str]) -> Fallible<Plan> {
        let mut plan = Plan {
            key: String::new(),
            model: "m".to_owned(),
            connections: 16,
            seconds: 5.0,
            rate: 0.0,
            stream: false,
            headers: String::new(),
        };
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("--key", value) => plan.key = value.to_owned(),
                ("--model", value) => plan.model = value.to_owned(),
                ("--connections", value) => plan.connections = value.parse()?,
                ("--seconds", value) => plan.seconds = value.parse()?,
                ("--rate", value) => plan.rate = value.parse()?,
                ("--stream", _) => plan.stream = true,
                ("--header", value) => plan.headers.push_str(&format!("{value}\r\n")),
                (other, _) => return Err(format!("unknown: {other}").into()),
            }
        }
        Ok(plan)
    }

    fn request(&self, address: &str) -> Vec<u8> {
        let body = format!(
            r#"{{"model":"{}","messages":[{{"role":"user","content":"Say something."}}],"stream":{}}}"#,
            self.model, self.stream
        );
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\n{}content-length: {}\r\n\r\n{body}",
            self.key,
            self.headers,
            body.len()
        )
        .into_bytes()
    }
}

#[derive(Default)]
struct Counts {
    failures: AtomicU64,
    chunks: AtomicU64,
}

/// Asks over some connections for some time; prints a line of figures.
async fn load(address: &str, plan: &Plan) -> Fallible<()> {
    let (counts, until) = (Arc::new(Counts::default()), Duration::from_secs_f64(plan.seconds));
    let request: Arc<[u8]> = plan.request(address).into();
    let pause = match plan.rate > 0.0 {
        true => Duration::from_secs_f64(plan.connections as f64 / plan.rate),
        false => Duration::ZERO,
    };
    let mut sockets = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        sockets.push(socket);
    }
    let started = Instant::now();
    let mut tasks = Vec::with_capacity(plan.connections);
    for (index, socket) in sockets.into_iter().enumerate() {
        let first = pause.mul_f64(index as f64 / plan.connections as f64);
        let answer = Answer::default();
        let run =
            Run { socket, answer, bytes: Vec::with_capacity(BUFFER_BYTES), is_stream: plan.stream };
        let (counts, request) = (Arc::clone(&counts), Arc::clone(&request));
        tasks.push(tokio::spawn(run.ask(request, counts, Pace { started, until, first, pause })));
    }
    let (mut whole, mut first) = (Vec::new(), Vec::new());
    for task in tasks {
        for (to_first, to_end) in task.await? {
            first.push(to_first);
            whole.push(to_end);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    whole.sort_unstable();
    first.sort_unstable();
    println!(
        "{{\"requests\":{},\"failures\":{},\"per_s\":{:.1},\"chunks\":{},\"chunks_per_s\":{:.1},\
         \"p50_us\":{},\"p99_us\":{},\"first_p50_us\":{},\"first_p99_us\":{}}}",
        whole.len(),
        counts.failures.load(Ordering::Relaxed),
        whole.len() as f64 / seconds,
        counts.chunks.load(Ordering::Relaxed),
        counts.chunks.load(Ordering::Relaxed) as f64 / seconds,
        percentile(&whole, 50),
        percentile(&whole, 99),
        percentile(&first, 50),
        percentile(&first, 99),
    );
    Ok(())
}

fn percentile(sorted: &[u128], percent: usize) -> u128 {
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0)
}

/// When to ask.
#[derive(Clone, Copy)]
struct Pace {
    started: Instant,
    until: Duration,
    first: Duration,
    pause: Duration,
}

/// One connection.
struct Run {
    socket: TcpStream,
    answer: Answer,
    bytes: Vec<u8>,
    is_stream: bool,
}

/// What has come of one answer; its bytes are looked at once and not kept, for the generator shares
/// its core with the provider.
#[derive(Default)]
struct Answer {
    is_well: bool,
    /// Bytes that are still to come; `None` if only the end of the chunks will tell.
    left: Option<usize>,
    has_head: bool,
    chunks: usize,
    has_last: bool,
    is_whole: bool,
}

impl Run {
    /// Times until the first byte of the body and until the last, in microseconds. At a rate, a
    /// request counts from when it was due, so that a server that stalls cannot hide it.
    async fn ask(
        mut self,
        request: Arc<[u8]>,
        counts: Arc<Counts>,
        pace: Pace,
    ) -> Vec<(u128, u128)> {
        let (mut times, mut due) = (Vec::new(), pace.started + pace.first);
        loop {
            tokio::time::sleep_until(due.into()).await;
            if pace.started.elapsed() >= pace.until {
                return times;
            }
            let since = if pace.pause.is_zero() { Instant::now() } else { due };
            match self.exchange(&request, since, &counts).await {
                Ok(Some(took)) => times.push(took),
                Ok(None) => drop(counts.failures.fetch_add(1, Ordering::Relaxed)),
                Err(_) => {
                    counts.failures.fetch_add(1, Ordering::Relaxed);
                    return times;
                }
            }
            due = if pace.pause.is_zero() { Instant::now() } else { due + pace.pause };
        }
    }

    async fn exchange(
        &mut self,
        request: &[u8],
        since: Instant,
        counts: &Counts,
    ) -> Fallible<Option<(u128, u128)>> {
        self.socket.write_all(request).await?;
        self.bytes.clear();
        self.answer = Answer::default();
        let mut first = None;
        while !self.answer.is_whole {
            if self.socket.read_buf(&mut self.bytes).await? == 0 {
                return Err("closed".into());
            }
            self.answer.take(&mut self.bytes)?;
            let has_begun = if self.is_stream { self.answer.chunks > 0 } else { true };
            if has_begun {
                first.get_or_insert_with(|| since.elapsed().as_micros());
            }
        }
        let Answer { is_well, chunks, has_last, .. } = self.answer;
        counts.chunks.fetch_add(chunks as u64, Ordering::Relaxed);
        // A stream that lost a piece, or its end, has failed.
        let is_well = is_well && (!self.is_stream || (chunks >= CHUNKS && has_last));
        Ok(is_well.then(|| (first.unwrap_or(0), since.elapsed().as_micros())))
    }
}

impl Answer {
    /// Looks at what has come; what a later look needs stays in `bytes`.
    fn take(&mut self, bytes: &mut Vec<u8>) -> Fallible<()> {
        if !self.has_head {
            let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(()) };
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            self.has_head = true;
            self.is_well = head.starts_with("http/1.1 200");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            self.left = length.map(|length| length.trim().parse()).transpose()?;
            bytes.drain(..end + 4);
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(bytes.len());
            self.is_whole = *left == 0;
            bytes.clear();
            return Ok(());
        }
        self.is_whole = bytes.ends_with(b"0\r\n\r\n");
        // Whole events alone: the rest is looked at with what comes next.
        let end = match self.is_whole {
            true => bytes.len(),
            false => memchr::memmem::rfind(bytes, b"\n\n").map_or(0, |at| at + 2),
        };
        let events = &bytes[..end];
        self.chunks += memchr::memmem::find_iter(events, b"\"word \"").count();
        self.has_last |= has(events, b"[DONE]");
        bytes.drain(..end);
        Ok(())
    }
}
