//! What only a real socket shows.

use std::time::Duration;

use hearth_store::UserRole;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Fixture;
use super::scripted::{Script, started, text};
use crate::ServerConfig;

const LIMIT: Duration = Duration::from_secs(20);

/// A server on a port of its own.
struct Running {
    fixture: Fixture,
    address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Running {
    async fn new(config: ServerConfig) -> Running {
        let fixture = Fixture::with(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let state = fixture.state.clone();
        let server = tokio::spawn(async move {
            crate::serve(listener, state, async { drop(stopped.await) }).await
        });
        Running { fixture, address, stop: Some(stop), server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Begins a stream and reads until its first words.
    async fn begin_stream(&self, token: &str) -> TcpStream {
        let body = json!({
            "model": "m", "stream": true, "messages": [{ "role": "user", "content": "x" }],
        })
        .to_string();
        let mut socket = self.connect().await;
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n\
             authorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains("Once") {
            let mut buffer = [0; 4096];
            let read = socket.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&buffer[..read]);
        }
        socket
    }
}

/// Reads until the other side closes.
async fn read_to_end(socket: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A reset after the answer is an end too.
    let _ = tokio::time::timeout(LIMIT, socket.read_to_end(&mut all)).await.expect("it closes");
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn heads_that_do_not_arrive_close_the_connection() {
    let config = ServerConfig { header_timeout_s: 1, ..ServerConfig::default() };
    let running = Running::new(config).await;
    for start in ["", "P", "GET /healthz HTTP/1.1\r\nhost: loc"] {
        let mut socket = running.connect().await;
        socket.write_all(start.as_bytes()).await.unwrap();
        let heard = read_to_end(&mut socket).await;
        assert!(!heard.contains("200"), "{start:?}: {heard}");
    }
    let mut socket = running.connect().await;
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut socket).await.ends_with("ok"));
}

#[tokio::test]
async fn an_announced_gigabyte_is_refused_before_it_is_sent() {
    let running = Running::new(ServerConfig::default()).await;
    let token = running.fixture.token("ann", UserRole::User).await;
    let mut socket = running.connect().await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 1000000000\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    assert!(read_to_end(&mut socket).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn http_2_is_spoken_to_clients_that_begin_with_it() {
    let running = Running::new(ServerConfig::default()).await;
    let mut socket = running.connect().await;
    // The preface and an empty SETTINGS frame (type 4).
    let start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    socket.write_all(start).await.unwrap();
    let mut frame = [0; 9];
    socket.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the server's own SETTINGS come first");
}

#[tokio::test]
async fn connections_over_the_limit_of_one_address_are_closed() {
    let config = ServerConfig { max_connections_per_address: 1, ..ServerConfig::default() };
    let running = Running::new(config).await;
    let mut first = running.connect().await;
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = running.connect().await;
    assert_eq!(read_to_end(&mut second).await, "");
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_its_generation() {
    let running = Running::new(ServerConfig::default()).await;
    let token = running.fixture.token("ann", UserRole::User).await;
    running.fixture.backend.then(Script::SayAndHang(vec![started(), text("Once")]));
    drop(running.begin_stream(&token).await);
    let cancelled = running.fixture.backend.wait_for_cancelled(1);
    tokio::time::timeout(LIMIT, cancelled).await.expect("the generation is cancelled");
}

#[tokio::test]
async fn draining_closes_connections_before_it_waits_for_tasks() {
    let config = ServerConfig { drain_s: 0, ..ServerConfig::default() };
    let mut running = Running::new(config).await;
    let mut socket = running.connect().await;
    let head = "POST /hearth/session HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/json\r\ncontent-length: 9\r\n\
                expect: 100-continue\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut asked_on = [0; 12];
    socket.read_exact(&mut asked_on).await.unwrap();
    assert_eq!(&asked_on, b"HTTP/1.1 100");
    // The body never comes, and this task ends with the connection, as one that sends does.
    running.fixture.state.tasks().spawn(async move { read_to_end(&mut socket).await });
    running.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(LIMIT, running.server).await.expect("it ends").unwrap().unwrap();
    assert!(running.fixture.state.tasks().is_empty());
}

#[tokio::test]
async fn draining_ends_what_does_not_end_by_itself() {
    let config = ServerConfig { drain_s: 1, ..ServerConfig::default() };
    let mut running = Running::new(config).await;
    let token = running.fixture.token("ann", UserRole::User).await;
    running.fixture.backend.then(Script::SayAndHang(vec![started(), text("Once")]));
    let mut socket = running.begin_stream(&token).await;
    running.stop.take().unwrap().send(()).unwrap();
    let rest = read_to_end(&mut socket).await;
    assert!(rest.contains("\"error\"") && rest.contains("[DONE]"), "{rest}");
    tokio::time::timeout(LIMIT, running.server).await.expect("it ends").unwrap().unwrap();
    let answer = running.fixture.call("", "GET", "/readyz", None).await;
    assert_eq!(answer.status, 503);
    assert!(TcpStream::connect(running.address).await.is_err());
}
