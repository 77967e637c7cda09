//! A provider on this machine that answers byte for byte what it is told, on a bare socket: no
//! library would write what broken providers write.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a provider does with one request.
#[derive(Clone)]
pub(super) enum Reply {
    /// This status with this body; further headers as they are written, each with its end of line.
    Whole(u16, &'static str, String),
    /// A stream of these pieces, each written by itself, and its end.
    Stream(Vec<Vec<u8>>),
    /// These pieces, and then the connection is reset.
    Reset(Vec<Vec<u8>>),
    /// These pieces, and then nothing more.
    Hang(Vec<Vec<u8>>),
    /// These bytes, head and all, and then the end of the connection.
    Raw(Vec<u8>),
    /// Not even a head.
    Silence,
    /// Text until nobody takes it any more.
    Flood,
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) head: String,
    pub(super) body: Value,
    /// The body as it came.
    pub(super) text: String,
}

/// What a provider has seen and done.
#[derive(Default)]
struct State {
    replies: Mutex<VecDeque<Reply>>,
    seen: Mutex<Vec<Seen>>,
    connections: watch::Sender<usize>,
    gone: watch::Sender<usize>,
    written: watch::Sender<usize>,
}

/// A provider.
pub(super) struct Upstream {
    pub(super) base_url: String,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    /// One that says its name to every request, unless it is told otherwise.
    pub(super) async fn new(name: &'static str) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                shared.connections.send_modify(|count| *count += 1);
                tokio::spawn(serve(socket, Arc::clone(&shared), name));
            }
        });
        Upstream { base_url, state, task }
    }

    /// An address where nobody listens.
    pub(super) async fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/v1", listener.local_addr().unwrap())
    }

    pub(super) fn then(&self, reply: Reply) {
        self.state.replies.lock().unwrap().push_back(reply);
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        *self.state.connections.borrow()
    }

    /// Bytes of a flood that were taken.
    pub(super) fn written(&self) -> usize {
        *self.state.written.borrow()
    }

    /// Returns when this many clients have gone before the end of their answer.
    pub(super) async fn wait_for_gone(&self, count: usize) {
        let mut gone = self.state.gone.subscribe();
        let wait = gone.wait_for(|gone| *gone >= count);
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, wait).await.expect("the client goes").unwrap();
    }

    /// Returns when a flood has come so far.
    pub(super) async fn wait_for_written(&self, bytes: usize) {
        self.state.written.subscribe().wait_for(|written| *written >= bytes).await.unwrap();
    }
}

/// One connection, request after request.
async fn serve(mut socket: TcpStream, state: Arc<State>, name: &'static str) {
    while let Some(seen) = read_request(&mut socket).await {
        state.seen.lock().unwrap().push(seen);
        let reply = state.replies.lock().unwrap().pop_front();
        let reply = reply.unwrap_or_else(|| Reply::Stream(answer(&[name], true)));
        if !respond(&mut socket, &state, reply).await {
            return;
        }
    }
}

/// Whether the connection can go on.
async fn respond(socket: &mut TcpStream, state: &State, reply: Reply) -> bool {
    match reply {
        Reply::Whole(status, headers, body) => {
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 {headers}\r\n{body}",
                body.len()
            );
            socket.write_all(head.as_bytes()).await.is_ok()
        }
        Reply::Stream(pieces) => {
            write_pieces(socket, pieces).await && socket.write_all(b"0\r\n\r\n").await.is_ok()
        }
        Reply::Reset(pieces) => {
            write_pieces(socket, pieces).await;
            false
        }
        Reply::Hang(pieces) => {
            write_pieces(socket, pieces).await;
            wait_until_gone(socket, state).await;
            false
        }
        Reply::Raw(bytes) => {
            socket.write_all(&bytes).await.unwrap();
            false
        }
        Reply::Silence => {
            wait_until_gone(socket, state).await;
            false
        }
        Reply::Flood => {
            // Without a length: the end of the connection is the end of the body.
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            let piece = chunk(&"x".repeat(1000));
            let mut is_well = socket.write_all(head).await.is_ok();
            while is_well {
                is_well = socket.write_all(&piece).await.is_ok();
                state.written.send_modify(|written| *written += piece.len());
            }
            state.gone.send_modify(|gone| *gone += 1);
            false
        }
    }
}

async fn wait_until_gone(socket: &mut TcpStream, state: &State) {
    let mut rest = [0; 64];
    while matches!(socket.read(&mut rest).await, Ok(count) if count > 0) {}
    state.gone.send_modify(|gone| *gone += 1);
}

const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

async fn write_pieces(socket: &mut TcpStream, pieces: Vec<Vec<u8>>) -> bool {
    socket.set_nodelay(true).unwrap();
    let mut is_well = socket.write_all(STREAM_HEAD).await.is_ok();
    for piece in pieces {
        let framed = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
        is_well = is_well && socket.write_all(&framed).await.is_ok();
    }
    is_well
}

async fn read_request(socket: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        read_some(socket, &mut bytes).await?;
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let length = |line: &str| {
        line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()
    };
    let body_end = head_end + head.lines().find_map(length).unwrap_or(0);
    while bytes.len() < body_end {
        read_some(socket, &mut bytes).await?;
    }
    let body = serde_json::from_slice(&bytes[head_end..]).unwrap_or(Value::Null);
    let text = String::from_utf8_lossy(&bytes[head_end..]).into_owned();
    Some(Seen { head, body, text })
}

async fn read_some(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 4096];
    let count = socket.read(&mut piece).await.ok().filter(|count| *count > 0)?;
    bytes.extend_from_slice(&piece[..count]);
    Some(())
}

/// A piece of text, as OpenAI streams it.
pub(super) fn chunk(text: &str) -> Vec<u8> {
    event(&json!({
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }],
    }))
}

/// One server-sent event.
pub(super) fn event(data: &Value) -> Vec<u8> {
    format!("data: {data}\n\n").into_bytes()
}

/// A whole answer as a stream, with or without its usage.
pub(super) fn answer(texts: &[&str], with_usage: bool) -> Vec<Vec<u8>> {
    let mut pieces: Vec<Vec<u8>> = texts.iter().map(|text| chunk(text)).collect();
    pieces.push(event(&json!({
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }],
    })));
    if with_usage {
        pieces.push(event(&json!({
            "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
            "usage": { "prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18 },
        })));
    }
    pieces.push(b"data: [DONE]\n\n".to_vec());
    pieces
}

/// A refusal, as OpenAI writes it.
pub(super) fn refusal(message: &str, code: &str) -> String {
    json!({ "error": { "message": message, "type": "error", "param": null, "code": code } })
        .to_string()
}
