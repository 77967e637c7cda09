//! What every handler can reach: the rooms, the limits and what the server itself keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hearth_gateway::Gateway;
use hearth_gateway::accounts::Accounts;
use hearth_gateway::alerts::Alerts;
use hearth_gateway::channels::Channels;
use hearth_gateway::clock::Clock;

use hearth_hub::{Library, Pulls, Pushes};
use hearth_store::Store;
use ipnet::IpNet;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use utoipa::ToSchema;

use crate::chats::Live;
use crate::config::ServerConfig;
use crate::metrics::Metrics;
use crate::models::Judge;

/// Large bodies that are parsed at once: each takes a thread and several times its own memory.
pub(crate) const LARGE_BODIES: usize = 4;

/// The rooms that the server opens doors to.
pub struct Rooms {
    /// Who may come in.
    pub accounts: Accounts,
    /// Who answers.
    pub gateway: Gateway,
    /// Who hears of what is unusual.
    pub alerts: Alerts,
    /// Who answers elsewhere.
    pub channels: Channels,
    /// Which models there are.
    pub library: Arc<Library>,
    /// What brings more of them in.
    pub pulls: Pulls,
    /// What brings them out.
    pub pushes: Pushes,
    /// Chats and messages.
    pub store: Store,
    /// The time of new rows.
    pub clock: Clock,
    /// Measures the machine; may block for some milliseconds.
    pub machine: Arc<dyn Fn() -> MachineFacts + Send + Sync>,
    /// Tells how models of the catalogue would run here.
    pub judge: Arc<Judge>,
}

/// How a model would fit on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Fit {
    /// In a word.
    pub verdict: Verdict,
    /// `cpu`, `gpu0`, `metal`: where it would run, or where most memory is free.
    pub device: String,
    /// Weights, workspace and the keys and values of one text of that context.
    pub need_bytes: u64,
    /// What models may take there.
    pub free_bytes: u64,
    /// The longest text; 0 if the model is too large.
    pub context_tokens: u32,
}

/// Whether a model fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As on an empty machine.
    Fits,
    /// With a shorter context.
    FitsShorter,
    /// Not at all.
    TooLarge,
}

/// What the machine has and what of it is free.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct MachineFacts {
    /// Logical processors.
    pub cores: u32,
    /// Main memory.
    pub memory_bytes: u64,
    /// Main memory that programs may still take.
    pub memory_free_bytes: u64,
    /// Main memory that Hearth holds.
    pub process_memory_bytes: u64,
    /// Graphics processors.
    pub gpus: Vec<Gpu>,
}

/// One graphics processor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Gpu {
    /// As the driver calls it.
    pub name: String,
    /// Its memory.
    pub memory_bytes: u64,
    /// Its memory that is free.
    pub memory_free_bytes: u64,
}

/// The state behind every route. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    inner: Arc<Inner>,
}

struct Inner {
    rooms: Rooms,
    config: ServerConfig,
    proxies: Vec<IpNet>,
    metrics: Metrics,
    is_draining: AtomicBool,
    requests: Arc<Semaphore>,
    large_bodies: Arc<Semaphore>,
    live: Arc<Live>,
    tasks: TaskTracker,
}

impl AppState {
    /// The state over these rooms. `config` has passed [`ServerConfig::validate`].
    pub fn new(rooms: Rooms, config: ServerConfig) -> AppState {
        let inner = Inner {
            rooms,
            proxies: config.proxies(),
            metrics: Metrics::default(),
            is_draining: AtomicBool::new(false),
            requests: Arc::new(Semaphore::new(config.max_requests as usize)),
            large_bodies: Arc::new(Semaphore::new(LARGE_BODIES)),
            live: Arc::default(),
            tasks: TaskTracker::new(),
            config,
        };
        AppState { inner: Arc::new(inner) }
    }

    pub(crate) fn accounts(&self) -> &Accounts {
        &self.inner.rooms.accounts
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.inner.rooms.gateway
    }

    pub(crate) fn alerts(&self) -> &Alerts {
        &self.inner.rooms.alerts
    }

    pub(crate) fn channels(&self) -> &Channels {
        &self.inner.rooms.channels
    }

    pub(crate) fn library(&self) -> &Arc<Library> {
        &self.inner.rooms.library
    }

    pub(crate) fn pulls(&self) -> &Pulls {
        &self.inner.rooms.pulls
    }

    pub(crate) fn pushes(&self) -> &Pushes {
        &self.inner.rooms.pushes
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.rooms.store
    }

    pub(crate) fn now(&self) -> i64 {
        self.inner.rooms.clock.now()
    }

    pub(crate) fn machine(&self) -> Arc<dyn Fn() -> MachineFacts + Send + Sync> {
        Arc::clone(&self.inner.rooms.machine)
    }

    pub(crate) fn judge(&self) -> Arc<Judge> {
        Arc::clone(&self.inner.rooms.judge)
    }

    pub(crate) fn config(&self) -> &ServerConfig {
        &self.inner.config
    }

    pub(crate) fn proxies(&self) -> &[IpNet] {
        &self.inner.proxies
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Places for requests whose answer has not begun.
    pub(crate) fn requests(&self) -> &Arc<Semaphore> {
        &self.inner.requests
    }

    /// Places for large bodies that are being parsed.
    pub(crate) fn large_bodies(&self) -> &Arc<Semaphore> {
        &self.inner.large_bodies
    }

    /// Work that outlives its request and must end before the process does.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.inner.tasks
    }

    /// From now on `/readyz` says that no new work should come.
    pub(crate) fn start_draining(&self) {
        self.inner.is_draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.inner.is_draining.load(Ordering::SeqCst)
    }

    /// Answers of chats that are being written.
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.inner.live
    }
}
