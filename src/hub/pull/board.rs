//! Who waits for which pull: one job per model, a few of them at work, any number of watchers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::queue::Queue;
use super::{Address, PullError, PullEvent, PullProgress, PullRequest, PullResult, PullStage};
use crate::catalogue::Catalogue;
use crate::library::Entry;
use crate::name::ModelName;

/// Reports that a watcher may lag behind; older ones are left out.
const WAITING_REPORTS: usize = 256;

/// Runs pulls. Cheap to clone; every method needs the runtime that it was made in.
#[derive(Clone)]
pub struct Pulls {
    inner: Arc<Inner>,
}

/// What is known of a pull that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PullStatus {
    pub name: ModelName,
    pub progress: PullProgress,
    /// Whether it goes on without watchers.
    pub is_detached: bool,
}

/// What a job does once its turn has come: the network, or in tests a script.
pub trait Work: Send + Sync + 'static {
    /// Gets the model into the library. Dropped at any await when the pull is cancelled.
    fn pull<'a>(&'a self, wanted: &'a Wanted, report: Report) -> BoxFuture<'a, PullResult<Entry>>;
}

/// A model that is wanted, and where its file is if its name does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub name: ModelName,
    pub from: Option<Address>,
}

/// How a job tells its watchers how far it is.
#[derive(Clone)]
pub struct Report {
    job: Arc<Job>,
}

/// A place from which one pull is seen. Yields what happens from now on, the present state first.
pub struct PullWatch {
    job: Arc<Job>,
    events: broadcast::Receiver<PullEvent>,
    /// What was so when the watch began.
    first: Option<PullProgress>,
    is_over: bool,
}

struct Inner {
    work: Box<dyn Work>,
    queue: Queue,
    jobs: Mutex<BTreeMap<ModelName, Arc<Job>>>,
    /// Places for jobs at work.
    places: Arc<Semaphore>,
    most_jobs: usize,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

struct Job {
    wanted: Wanted,
    is_detached: AtomicBool,
    watchers: AtomicUsize,
    latest: Mutex<PullProgress>,
    events: broadcast::Sender<PullEvent>,
    cancelled: CancellationToken,
}

impl Pulls {
    /// Pulls done by `work`, with their queue in the store at `root`. `at_once`: pulls that run
    /// together; `waiting`: pulls that may wait besides.
    pub fn with(
        work: Box<dyn Work>,
        root: &Path,
        at_once: u32,
        waiting: u32,
    ) -> crate::Result<Pulls> {
        let queue = Queue::open(root)?;
        let inner = Inner {
            work,
            queue,
            jobs: Mutex::default(),
            places: Arc::new(Semaphore::new(at_once as usize)),
            most_jobs: at_once as usize + waiting as usize,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        };
        Ok(Pulls { inner: Arc::new(inner) })
    }

    /// Begins a pull, or joins the one that runs for this model. A model that is in the library
    /// is compared with the registry and brought up to date.
    pub async fn start(&self, request: PullRequest) -> PullResult<PullWatch> {
        // An address is a choice; only where there is none the catalogue may know better.
        let name = match request.from {
            Some(_) => request.name.parse()?,
            None => named(&request.name)?,
        };
        let wanted = Wanted { name, from: request.from };
        let watch = self.join_or_begin(&wanted, request.is_detached)?;
        if request.is_detached {
            let (queue, inner) = (self.inner.queue.clone(), Arc::clone(&self.inner));
            let added = tokio::task::spawn_blocking(move || {
                // Under the lock: the pull may be over before it is in the queue.
                let jobs = lock(&inner.jobs);
                if jobs.contains_key(&wanted.name) { queue.add(&wanted) } else { Ok(()) }
            });
            added.await.map_err(|error| PullError::Local(format!("queue: {error}")))??;
        }
        Ok(watch)
    }

    /// A watch on the pull of this model, if one runs or waits.
    pub fn subscribe(&self, name: &str) -> Option<PullWatch> {
        find(&lock(&self.inner.jobs), name).map(PullWatch::of)
    }

    /// Ends a pull for everybody who watches it; `false` if there is none. What was fetched is
    /// kept for the next time.
    pub fn cancel(&self, name: &str) -> bool {
        let jobs = lock(&self.inner.jobs);
        find(&jobs, name).inspect(|job| job.cancelled.cancel()).is_some()
    }

    /// Every pull that has not ended, by name.
    pub fn list(&self) -> Vec<PullStatus> {
        lock(&self.inner.jobs).values().map(|job| job.status()).collect()
    }

    /// Begins the detached pulls again that had not ended when the last process did.
    pub async fn resume(&self) {
        let queue = self.inner.queue.clone();
        let all = tokio::task::spawn_blocking(move || queue.wanted()).await.unwrap_or_default();
        for wanted in all {
            let name = &wanted.name;
            match self.join_or_begin(&wanted, true) {
                Ok(_) => tracing::info!(model.name = %name, "a queued pull goes on"),
                Err(error) => tracing::warn!(model.name = %name, %error, "a queued pull waits on"),
            }
        }
    }

    /// Stops all pulls and waits until they have; detached ones stay queued.
    pub async fn close(&self) {
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    fn join_or_begin(&self, wanted: &Wanted, is_detached: bool) -> PullResult<PullWatch> {
        let mut jobs = lock(&self.inner.jobs);
        if self.inner.stopping.is_cancelled() {
            return Err(PullError::Stopping);
        }
        // A cancelled one is about to go; who asks now wants a new one.
        if let Some(job) = jobs.get(&wanted.name).filter(|job| !job.cancelled.is_cancelled()) {
            if job.wanted.from != wanted.from {
                return Err(PullError::NameTaken(wanted.name.clone()));
            }
            job.is_detached.fetch_or(is_detached, Ordering::Relaxed);
            return Ok(PullWatch::of(job));
        }
        if jobs.len() >= self.inner.most_jobs {
            return Err(PullError::QueueFull);
        }
        let job = Arc::new(Job {
            wanted: wanted.clone(),
            is_detached: AtomicBool::new(is_detached),
            watchers: AtomicUsize::new(0),
            latest: Mutex::new(PullProgress::stage(PullStage::Waiting)),
            events: broadcast::channel(WAITING_REPORTS).0,
            cancelled: CancellationToken::new(),
        });
        let watch = PullWatch::of(&job);
        jobs.insert(wanted.name.clone(), Arc::clone(&job));
        self.inner.tasks.spawn(run(Arc::clone(&self.inner), job));
        Ok(watch)
    }
}

/// The model that is asked for: an alias of the catalogue means the model that has it.
fn named(text: &str) -> crate::Result<ModelName> {
    let name: ModelName = text.parse()?;
    Ok(Catalogue::built_in().find(&name).map_or(name, |variant| variant.name.clone()))
}

/// The job of a model: by its own name, or by the catalogue's other name for it.
fn find<'a>(jobs: &'a BTreeMap<ModelName, Arc<Job>>, text: &str) -> Option<&'a Arc<Job>> {
    let own = text.parse().ok().and_then(|name: ModelName| jobs.get(&name));
    own.or_else(|| jobs.get(&named(text).ok()?))
}

/// A job from its place in the queue to its end.
async fn run(inner: Arc<Inner>, job: Arc<Job>) {
    let work = async {
        let place = inner.places.acquire().await;
        let _place = place.map_err(|error| PullError::Local(error.to_string()))?;
        inner.work.pull(&job.wanted, Report { job: Arc::clone(&job) }).await
    };
    let end = tokio::select! {
        biased;
        () = inner.stopping.cancelled() => Err(PullError::Stopping),
        () = job.cancelled.cancelled() => Err(PullError::Cancelled),
        end = work => end,
    };
    let name = &job.wanted.name;
    match &end {
        Ok(entry) => tracing::info!(model.name = %name, size_bytes = entry.size_bytes, "pulled"),
        Err(error) => tracing::warn!(model.name = %name, %error, "a pull ended without a model"),
    }
    let is_kept = matches!(end, Err(PullError::Stopping));
    let closing = Arc::clone(&inner);
    let ending = Arc::clone(&job);
    let ended = tokio::task::spawn_blocking(move || {
        let mut jobs = lock(&closing.jobs);
        // After a cancelled one another may have begun.
        let name = &ending.wanted.name;
        if jobs.get(name).is_some_and(|job| Arc::ptr_eq(job, &ending)) {
            if !is_kept {
                closing.queue.remove(name);
            }
            jobs.remove(name);
        }
    });
    // Only a panic inside makes it fail, and it holds no state that could be half changed.
    drop(ended.await);
    // Whoever asks from here on begins anew; who watches hears the end. Nobody may watch.
    let _ = job.events.send(match end {
        Ok(entry) => PullEvent::Done(Box::new(entry)),
        Err(error) => PullEvent::Failed(error),
    });
}

impl Job {
    fn status(&self) -> PullStatus {
        PullStatus {
            name: self.wanted.name.clone(),
            progress: *lock(&self.latest),
            is_detached: self.is_detached.load(Ordering::Relaxed),
        }
    }
}

impl Report {
    /// Tells the watchers.
    pub fn tell(&self, progress: PullProgress) {
        let mut latest = lock(&self.job.latest);
        *latest = progress;
        // Nobody may watch.
        let _ = self.job.events.send(PullEvent::Progress(progress));
    }
}

impl PullWatch {
    fn of(job: &Arc<Job>) -> PullWatch {
        // Both under the lock under which reports are made: none is missed and none comes twice.
        let latest = lock(&job.latest);
        let events = job.events.subscribe();
        job.watchers.fetch_add(1, Ordering::SeqCst);
        PullWatch { job: Arc::clone(job), events, first: Some(*latest), is_over: false }
    }

    /// The model that is pulled.
    pub fn name(&self) -> &ModelName {
        &self.job.wanted.name
    }

    /// The next thing that happens; `None` after the end. Who is slow misses progress, never the
    /// end. May be dropped at the await and called again.
    pub async fn next(&mut self) -> Option<PullEvent> {
        if let Some(first) = self.first.take() {
            return Some(PullEvent::Progress(first));
        }
        while !self.is_over {
            match self.events.recv().await {
                Ok(event) => {
                    self.is_over = !matches!(event, PullEvent::Progress(_));
                    return Some(event);
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => self.is_over = true,
            }
        }
        None
    }

    /// The end, however long it takes.
    pub async fn end(mut self) -> PullResult<Entry> {
        loop {
            match self.next().await {
                Some(PullEvent::Progress(_)) => {}
                Some(PullEvent::Done(entry)) => return Ok(*entry),
                Some(PullEvent::Failed(error)) => return Err(error),
                None => return Err(PullError::Cancelled),
            }
        }
    }
}

/// A pull that nobody watches any more is for nobody, unless it was asked to go on.
impl Drop for PullWatch {
    fn drop(&mut self) {
        let is_last = self.job.watchers.fetch_sub(1, Ordering::SeqCst) == 1;
        if is_last && !self.is_over && !self.job.is_detached.load(Ordering::Relaxed) {
            self.job.cancelled.cancel();
        }
    }
}

/// What these locks guard is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
