//! Takes a caller's request to the backend that serves its model and keeps the books.
//!
//! The server asks it for models and answers. It does not know how a model runs, nor in which
//! dialect the request came.

mod accepting;
mod books;
mod cache;
mod config;
mod embed;
mod guards;
mod held;
mod merge;
mod pacer;
mod passage;
mod pump;
mod rulebook;
mod running;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use hearth_store::Store;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::{Activity, Backend, KeepAlive, ServedModel};
use crate::call::MAX_HEARTHS;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::event::EventStream;
use crate::quota::{Quota, TermsCache};
use crate::request::GenerateRequest;

use books::{Account, Books};
use cache::Cache;
use guards::{Guards, Watcher};
use merge::Merge;
use pacer::Pacer;
use pump::Pump;
use running::{Running, Slot};

pub use books::Stats;
pub use cache::{CacheRule, CacheStats};
pub use config::{GatewayConfig, WhenUsedUp};
pub use guards::{Action, Find, GuardRule, GuardStats, Known, Side};
pub use pacer::RateLimits;
pub use rulebook::Audience;

/// Events that may wait for a client that reads slowly; then the backend waits.
const WAITING_EVENTS: usize = 64;
/// How long requests that were cut off may take to be recorded.
const CUT_OFF_LIMIT: Duration = Duration::from_secs(5);

/// The way from a caller to a backend. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    backends: Vec<Arc<dyn Backend>>,
    config: GatewayConfig,
    clock: Clock,
    /// Names this process among Hearths that ask each other.
    name: String,
    books: Arc<Books>,
    cache: Arc<Cache>,
    guards: Arc<Guards>,
    quota: Quota,
    pacer: Arc<Pacer>,
    running: Arc<Running>,
    tasks: TaskTracker,
    cut_off: CancellationToken,
}

impl Gateway {
    /// A gateway to these backends; where two offer a model of one name, the first serves it.
    pub fn new(
        store: Store,
        backends: Vec<Arc<dyn Backend>>,
        config: GatewayConfig,
        clock: Clock,
    ) -> Gateway {
        let tasks = TaskTracker::new();
        let terms = Arc::new(TermsCache::new(store.clone()));
        let longest_s = config.request_timeout_s;
        let books =
            Books::new(store.clone(), clock.clone(), Arc::clone(&terms), longest_s, tasks.clone());
        let guards = Guards::new(store.clone(), clock.clone(), tasks.clone());
        let cache = Arc::new(Cache::new(store.clone(), config.response_cache_bytes));
        let inner = Inner {
            backends,
            clock: clock.clone(),
            name: format!("{:016x}", rand::random::<u64>()),
            books: Arc::new(books),
            cache,
            guards: Arc::new(guards),
            quota: Quota::new(store.clone(), clock, terms),
            pacer: Arc::new(Pacer::new(store)),
            running: Running::new(config.max_running_per_caller),
            config,
            tasks,
            cut_off: CancellationToken::new(),
        };
        Gateway { inner: Arc::new(inner) }
    }

    /// The models that this caller may use.
    pub fn models(&self, caller: &Caller) -> Vec<ServedModel> {
        let mut models: Vec<ServedModel> = Vec::new();
        let mut known: HashSet<String> = HashSet::new();
        let group = caller.scope.group.as_deref();
        for backend in &self.inner.backends {
            for model in backend.models() {
                if caller.may_use_model(&model.name)
                    && backend.is_offered(group, &model.name)
                    && known.insert(model.name.clone())
                {
                    models.push(model);
                }
            }
        }
        models
    }

    /// One model, or [`Error::NoModel`] if there is none or the caller may not use it.
    pub fn model(&self, caller: &Caller, name: &str) -> Result<ServedModel> {
        self.find(caller, name).map(|(_, model)| model)
    }

    /// Starts a request. The stream ends with `Done` or an error; dropping it cancels the
    /// request. Either way what was used is recorded before the end is told.
    pub async fn generate(&self, caller: &Caller, request: GenerateRequest) -> Result<EventStream> {
        let slot = self.admit_all(caller, std::slice::from_ref(&request)).await?;
        self.start(caller, request, slot).await
    }

    /// Starts the requests of one call and merges their streams: choice `c` of request `i` is
    /// choice `i × choices + c`, the counts are sums, the first error ends all. The call is
    /// admitted as a whole, by the answers that it asks for; each request is recorded by itself.
    pub async fn generate_all(
        &self,
        caller: &Caller,
        requests: Vec<GenerateRequest>,
    ) -> Result<EventStream> {
        let slot = self.admit_all(caller, &requests).await?;
        let mut streams = Vec::with_capacity(requests.len());
        let choices = requests.first().map_or(1, |request| request.choices);
        for request in requests {
            streams.push(self.start(caller, request, Arc::clone(&slot)).await?);
        }
        match streams.len() {
            0 => Err(Error::Internal("a call without requests".to_owned())),
            1 => streams.pop().ok_or(Error::Draining),
            _ => {
                let (outer, stream) = mpsc::channel(WAITING_EVENTS);
                let cut_off = self.inner.cut_off.clone();
                let merge = Merge::new(streams, choices).run(outer);
                self.inner.tasks.spawn(async move {
                    tokio::select! {
                        () = merge => {}
                        () = async {
                            cut_off.cancelled().await;
                            // Time to tell a client that reads; one that does not is left.
                            tokio::time::sleep(CUT_OFF_LIMIT / 2).await;
                        } => {}
                    }
                });
                Ok(stream)
            }
        }
    }

    /// Makes a model ready; returns when it is. For admins.
    pub async fn load(&self, caller: &Caller, model: &str) -> Result<()> {
        caller.require_admin()?;
        let (backend, model) = self.find(caller, model)?;
        backend.load(&model.name).await
    }

    /// Tokens of a request's prompt; nothing is generated.
    pub async fn count_tokens(&self, caller: &Caller, mut request: GenerateRequest) -> Result<u32> {
        let _slot = self.admit(caller, 1)?;
        let limit = Duration::from_secs(u64::from(self.inner.config.request_timeout_s));
        let (backend, model) = self.find(caller, &request.model)?;
        request.model = model.name;
        request.rules.delivery.path = self.path(caller)?;
        tokio::time::timeout(limit, backend.count_tokens(request))
            .await
            .map_err(|_| Error::TimedOut { limit })?
    }

    /// A request's prompt as text; nothing is generated.
    pub async fn render(&self, caller: &Caller, mut request: GenerateRequest) -> Result<String> {
        let _slot = self.admit(caller, 1)?;
        let limit = Duration::from_secs(u64::from(self.inner.config.request_timeout_s));
        let (backend, model) = self.find(caller, &request.model)?;
        request.model = model.name;
        tokio::time::timeout(limit, backend.render(request))
            .await
            .map_err(|_| Error::TimedOut { limit })?
    }

    /// Makes a model ready as a request would, for everyone who may use it.
    pub async fn prepare(&self, caller: &Caller, model: &str) -> Result<()> {
        let _slot = self.admit(caller, 1)?;
        let limit = Duration::from_secs(u64::from(self.inner.config.request_timeout_s));
        let (backend, model) = self.find(caller, model)?;
        tokio::time::timeout(limit, backend.load(&model.name))
            .await
            .map_err(|_| Error::TimedOut { limit })?
    }

    /// How long a model stays loaded when nothing uses it. For admins.
    pub async fn keep(&self, caller: &Caller, model: &str, time: KeepAlive) -> Result<()> {
        caller.require_admin()?;
        let (backend, model) = self.find(caller, model)?;
        backend.keep(&model.name, time).await
    }

    /// Frees a model's memory once its running requests have ended. For admins.
    pub async fn unload(&self, caller: &Caller, model: &str) -> Result<()> {
        caller.require_admin()?;
        let (backend, model) = self.find(caller, model)?;
        backend.unload(&model.name).await
    }

    /// What each loaded model does now.
    pub fn activity(&self) -> Vec<Activity> {
        self.inner.backends.iter().flat_map(|backend| backend.activity()).collect()
    }

    /// Prices, wallets, budgets and rate limits.
    pub fn quota(&self) -> &Quota {
        &self.inner.quota
    }

    /// What is left to a caller of their own rate limits.
    pub async fn rate_limits(&self, caller: &Caller) -> RateLimits {
        match self.inner.books.terms.get().await {
            Ok(terms) if !terms.rules.is_empty() => self.inner.pacer.left(&terms, caller),
            // Who cannot be told their limits is not refused what they ask for.
            _ => RateLimits::default(),
        }
    }

    /// Gives back what requests have held for too long; to be called every minute or so.
    pub async fn keep_books(&self) -> Result<()> {
        self.inner.books.keep_up().await
    }

    /// Calls that run now.
    pub fn running(&self) -> usize {
        self.inner.running.count()
    }

    /// What was done since the start.
    pub fn stats(&self) -> Stats {
        self.inner.books.stats()
    }

    /// Whether new requests are refused because the process is ending.
    pub fn is_draining(&self) -> bool {
        self.inner.running.is_draining()
    }

    /// Refuses new requests, lets those that run end, and cuts off what is left after `limit`;
    /// says whether all ended by themselves.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.inner.running.drain();
        self.inner.tasks.close();
        let all_ended = async {
            self.inner.running.wait_until_idle().await;
            self.inner.tasks.wait().await;
        };
        if tokio::time::timeout(limit, all_ended).await.is_ok() {
            return true;
        }
        self.inner.cut_off.cancel();
        if tokio::time::timeout(CUT_OFF_LIMIT, self.inner.tasks.wait()).await.is_err() {
            tracing::error!("some requests were not recorded before the end");
        }
        false
    }

    fn admit(&self, caller: &Caller, answers: u32) -> Result<Slot> {
        let admitted = self.inner.running.admit(caller.user_id, answers);
        if admitted.is_err() {
            self.inner.books.count_refusal();
        }
        admitted
    }

    /// The Hearths that a call has come through and this one; a call that comes round again, or has
    /// come through too many, is refused.
    fn path(&self, caller: &Caller) -> Result<Vec<String>> {
        let mut path = caller.scope.notes.path.clone();
        if path.contains(&self.inner.name) || path.len() >= MAX_HEARTHS {
            self.inner.books.count_refusal();
            return Err(Error::Loop);
        }
        path.push(self.inner.name.clone());
        Ok(path)
    }

    /// Admits the requests of one call, which are for one model, by all limits.
    async fn admit_all(&self, caller: &Caller, requests: &[GenerateRequest]) -> Result<Arc<Slot>> {
        let answers = requests.iter().map(|request| u32::from(request.choices)).sum();
        let slot = self.admit(caller, answers)?;
        let tokens = || requests.iter().map(pacer::estimate).fold(0, u32::saturating_add);
        let model = requests.first().map_or("", |request| &request.model);
        self.pace(caller, slot, model, tokens).await
    }

    /// Counts a call against the rate limits.
    async fn pace(
        &self,
        caller: &Caller,
        mut slot: Slot,
        model: &str,
        tokens: impl FnOnce() -> u32,
    ) -> Result<Arc<Slot>> {
        let paced = async {
            let terms = self.inner.books.terms.get().await?;
            if terms.rules.is_empty() {
                return Ok(None);
            }
            let (_, model) = self.find(caller, model)?;
            self.inner.pacer.begin(terms, caller, &model.name, tokens()).await
        };
        slot.pace = paced.await.inspect_err(|_| self.inner.books.count_refusal())?;
        Ok(Arc::new(slot))
    }

    async fn start(
        &self,
        caller: &Caller,
        mut request: GenerateRequest,
        slot: Arc<Slot>,
    ) -> Result<EventStream> {
        let started = Instant::now();
        let limit = Duration::from_secs(u64::from(self.inner.config.request_timeout_s));
        let accepted = async {
            let (backend, model) = self.find(caller, &request.model)?;
            request.model = model.name;
            request.rules.delivery.path = self.path(caller)?;
            let rules = self.inner.guards.of(caller, &request.model).await?;
            let verdict = rules.on(Side::Request).check(&mut request);
            self.inner.guards.allow(verdict, caller, &request.model)?;
            let mut account = Account::new(caller, &request.id, &request.model);
            account.choices = request.choices;
            account.echoes = if request.echo { request.choices } else { 0 };
            // A model that loads for long is part of the request's time.
            let accepting = self.accept(&mut account, caller, backend, request);
            let (inner, recording) = tokio::time::timeout(limit, accepting)
                .await
                .map_err(|_| Error::TimedOut { limit })??;
            Ok::<_, Error>((inner, recording, Watcher::new(rules), account))
        };
        let (inner, recording, watcher, account) =
            accepted.await.inspect_err(|_| self.inner.books.count_refusal())?;
        slot.begin();
        let (outer, stream) = mpsc::channel(WAITING_EVENTS);
        let pump = Pump {
            inner,
            outer,
            recording,
            watcher,
            guards: Arc::clone(&self.inner.guards),
            account,
            books: Arc::clone(&self.inner.books),
            slot,
            started,
            limit,
            when_used_up: self.inner.config.when_used_up,
            cut_off: self.inner.cut_off.clone(),
        };
        self.inner.tasks.spawn(pump.run());
        Ok(stream)
    }

    /// The backend that serves a model and the model under its full name. Rights are checked on
    /// the full name, so that no other spelling goes around them.
    fn find(&self, caller: &Caller, name: &str) -> Result<(&Arc<dyn Backend>, ServedModel)> {
        for backend in &self.inner.backends {
            if let Some(model) = backend.model(name) {
                let group = caller.scope.group.as_deref();
                if !caller.may_use_model(&model.name) || !backend.is_offered(group, &model.name) {
                    break;
                }
                return Ok((backend, model));
            }
        }
        Err(Error::NoModel(name.to_owned()))
    }
}
