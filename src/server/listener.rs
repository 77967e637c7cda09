//! Accepts connections: a header timer, caps on connections, and a drain at the end.
//!
//! `axum::serve` sets no header timer, so a client that sends one byte a minute would hold a
//! connection for ever; this loop sets one.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::config::ServerConfig;
use crate::state::AppState;

/// Most streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// Pause after the system refused a connection, most likely for want of file descriptors.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// Time for the last bytes of answers that were cut off.
const CUT_OFF_GRACE: Duration = Duration::from_millis(500);

/// Serves until `stopped` ends, then drains: no new connections, running answers may end within
/// `drain_s`, and what is left is closed.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    stopped: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = crate::routes::router(state.clone());
    let doorman = Doorman::new(state.config());
    let graceful = GracefulShutdown::new();
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => doorman.admit(stream, peer, &router, &graceful),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
    drop(listener);
    state.start_draining();
    drain(&state, graceful).await;
    // Cut off first: a task may be waiting for a client that does not read.
    doorman.cut_off.cancel();
    end_tasks(&state).await;
    Ok(())
}

async fn drain(state: &AppState, graceful: GracefulShutdown) {
    let limit = Duration::from_secs(state.config().drain_s.into());
    let connections = async {
        let limit = limit + CUT_OFF_GRACE;
        if tokio::time::timeout(limit, graceful.shutdown()).await.is_err() {
            tracing::warn!("connections still open were closed");
        }
    };
    let (all_ended, ()) = tokio::join!(state.gateway().drain(limit), connections);
    if !all_ended {
        tracing::warn!(drain_s = limit.as_secs(), "requests still running were cut off");
    }
}

async fn end_tasks(state: &AppState) {
    state.tasks().close();
    // The turns' streams have ended; what is left is one write each.
    if tokio::time::timeout(CUT_OFF_GRACE * 4, state.tasks().wait()).await.is_err() {
        tracing::error!("some answers were not stored before the end");
    }
}

/// Lets connections in and keeps their limits.
struct Doorman {
    builder: Builder<TokioExecutor>,
    header_timeout: Duration,
    cut_off: CancellationToken,
    all: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, u32>>>,
    max_per_address: u32,
}

/// A place among the open connections; given back on drop.
struct Place {
    _all: OwnedSemaphorePermit,
    by_address: Arc<Mutex<HashMap<IpAddr, u32>>>,
    address: IpAddr,
}

impl Doorman {
    fn new(config: &ServerConfig) -> Doorman {
        Doorman {
            builder: builder(config),
            header_timeout: Duration::from_secs(config.header_timeout_s.into()),
            cut_off: CancellationToken::new(),
            all: Arc::new(Semaphore::new(config.max_connections as usize)),
            by_address: Arc::default(),
            max_per_address: config.max_connections_per_address,
        }
    }

    /// Serves the connection in a task, or closes it at once if there are too many.
    fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        router: &Router,
        graceful: &GracefulShutdown,
    ) {
        let Some(place) = self.place(peer.ip()) else {
            tracing::debug!("a connection over the limit was closed");
            return;
        };
        // Small frames of a stream must not wait for each other.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let has_asked = Arc::new(AtomicBool::new(false));
        let (router, asked) = (router.clone(), Arc::clone(&has_asked));
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        let (header_timeout, cut_off) = (self.header_timeout, self.cut_off.clone());
        tokio::spawn(async move {
            tokio::pin!(connection);
            let served = async {
                // hyper's own timer starts only when it knows the HTTP version; until then a
                // client that sends a byte or none would be waited for without end.
                match tokio::time::timeout(header_timeout, &mut connection).await {
                    Ok(ended) => ended,
                    Err(_) if has_asked.load(Ordering::Relaxed) => connection.await,
                    Err(_) => Ok(()),
                }
            };
            tokio::select! {
                ended = served => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection broke");
                    }
                }
                () = cut_off.cancelled() => {}
            }
            drop(place);
        });
    }

    fn place(&self, address: IpAddr) -> Option<Place> {
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        if *count >= self.max_per_address {
            return None;
        }
        *count += 1;
        drop(by_address);
        Some(Place { _all: all, by_address: Arc::clone(&self.by_address), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

fn builder(config: &ServerConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.header_timeout_s.into()))
        .max_buf_size(config.max_header_bytes as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(config.max_header_bytes)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
