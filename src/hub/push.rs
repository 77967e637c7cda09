//! Brings models of this library to registries, if an admin allows it.
//!
//! Only what the manifest of a checked model names is sent, and each file only after it has been
//! hashed anew: a damaged one, or one that somebody has changed, stays here.

mod upload;

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::config::HubConfig;
use crate::digest::Digest;
use crate::error::Doing;
use crate::library::Library;
use crate::manifest::Manifest;
use crate::name::ModelName;
use crate::pull::fetch::blocking;
use crate::pull::http::Http;
use crate::pull::{PullError, PullResult};
use upload::Upload;

/// Pushes that run at once.
const MAX_PUSHES: usize = 4;
/// Reports that may wait for who watches; further ones are left out.
const WAITING_REPORTS: usize = 16;

/// The door out. Cheap to clone.
#[derive(Clone)]
pub struct Pushes {
    inner: Arc<Inner>,
}

struct Inner {
    library: Arc<Library>,
    config: HubConfig,
    http: Http,
    places: Arc<Semaphore>,
}

/// How far a push is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushProgress {
    /// The model is read and checked.
    Manifest,
    /// Bytes of one of its files that are there; at the end of each, all.
    Sending { digest: Digest, total: u64, completed: u64 },
    /// The model gets its name there.
    Naming,
}

/// What a watcher hears: progress, and at last one of the two ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushEvent {
    Progress(PushProgress),
    /// The registry has the model.
    Done,
    Failed(PullError),
}

/// One push. It is cancelled when this is dropped; what came is kept by the registry for a while.
pub struct PushWatch {
    name: ModelName,
    events: mpsc::Receiver<PushEvent>,
    _task: AbortOnDropHandle<()>,
}

/// How a push tells what it does.
#[derive(Clone)]
struct Report(mpsc::Sender<PushEvent>);

impl Pushes {
    /// Pushes from `library`. `config` has passed [`HubConfig::validate`].
    pub fn open(library: Arc<Library>, config: &HubConfig) -> crate::Result<Pushes> {
        let http = Http::new(config)?;
        let places = Arc::new(Semaphore::new(MAX_PUSHES));
        let inner = Inner { library, config: config.clone(), http, places };
        Ok(Pushes { inner: Arc::new(inner) })
    }

    /// Begins to push the model of this name, to the registry that its name begins with.
    pub fn start(&self, name: &ModelName) -> PullResult<PushWatch> {
        let inner = Arc::clone(&self.inner);
        inner.library.check_replaceable(name)?;
        if !inner.config.allows_push(name.host()) {
            return Err(PullError::PushNotAllowed(name.host().to_owned()));
        }
        let place = Arc::clone(&inner.places).try_acquire_owned();
        let place = place.map_err(|_| PullError::QueueFull)?;
        let (sender, events) = mpsc::channel(WAITING_REPORTS);
        let pushed = name.clone();
        let task = tokio::spawn(async move {
            let report = Report(sender);
            let end = match inner.push(&pushed, &report).await {
                Ok(()) => {
                    tracing::info!(model.name = %pushed, "pushed");
                    PushEvent::Done
                }
                Err(error) => {
                    tracing::warn!(model.name = %pushed, %error, "a push failed");
                    PushEvent::Failed(error)
                }
            };
            drop(place);
            // Nobody may watch any more.
            let _ = report.0.send(end).await;
        });
        Ok(PushWatch { name: name.clone(), events, _task: AbortOnDropHandle::new(task) })
    }
}

impl Inner {
    async fn push(&self, name: &ModelName, report: &Report) -> PullResult<()> {
        report.tell(PushProgress::Manifest);
        let (library, asked) = (Arc::clone(&self.library), name.clone());
        let (bytes, manifest, _pin) = blocking(move || {
            let bytes = library.manifest_bytes(&asked)?;
            let manifest = Manifest::parse(&bytes).map_err(crate::Error::BadManifest)?;
            let pin = library.pin(manifest.digests());
            library.check_foreign(&bytes)?;
            Ok((bytes, manifest, pin))
        })
        .await?;
        let upload = Upload::new(&self.http, &self.config, name)?;
        let mut sent: Vec<Digest> = Vec::new();
        for file in manifest.layers.iter().chain([&manifest.config]) {
            if sent.contains(&file.digest) {
                continue;
            }
            let (digest, total) = (file.digest, file.bytes);
            let tell = |completed| report.tell(PushProgress::Sending { digest, total, completed });
            tell(0);
            if !upload.has(&digest).await? {
                let path = self.library.blob_path(&digest);
                self.check_blob(digest, total).await?;
                upload.send(&path, &digest, total, &tell).await?;
            }
            tell(total);
            sent.push(digest);
        }
        report.tell(PushProgress::Naming);
        upload.name(name.tag(), &manifest.media_type, bytes).await
    }

    /// Whether a file is what it is kept as.
    async fn check_blob(&self, digest: Digest, bytes: u64) -> PullResult<()> {
        let path = self.library.blob_path(&digest);
        let is_whole = blocking(move || {
            let doing = || format!("read {}", path.display());
            let mut file = std::fs::File::open(&path).doing(doing)?;
            let length = file.metadata().doing(doing)?.len();
            Ok(length == bytes && Digest::of_reader(&mut file).doing(doing)? == digest)
        });
        if is_whole.await? { Ok(()) } else { Err(PullError::DamagedBlob(digest)) }
    }
}

impl Report {
    fn tell(&self, progress: PushProgress) {
        // Who is slow, or gone, misses it.
        let _ = self.0.try_send(PushEvent::Progress(progress));
    }
}

impl PushWatch {
    /// The model that is pushed.
    pub fn name(&self) -> &ModelName {
        &self.name
    }

    /// The next thing that happens; `None` after the end.
    pub async fn next(&mut self) -> Option<PushEvent> {
        self.events.recv().await
    }
}

#[cfg(test)]
mod tests;
