//! One pull from its name to the library: ask what there is, make sure that it fits, fetch it,
//! check it, name it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::board::{Pulls, Report, Work};
use super::fetch::{Fetcher, Remote, blocking};
use super::http::{Ask, host_of};
use super::hugging_face::{self, FolderFile, Found, Source};
use super::registry;
use super::{PullError, PullProgress, PullResult, PullStage};
use crate::catalogue::Catalogue;
use crate::config::HubConfig;
use crate::digest::Digest;
use crate::disk::free_bytes;
use crate::import::{POOLING_FILE, write_blob};
use crate::library::{Entry, Library, Pin};
use crate::manifest::{FOLDER_FILE_TYPE, GGUF_TYPE, Layer, Manifest};
use crate::name::ModelName;

/// Pulls over the network.
struct Network {
    library: Arc<Library>,
    config: HubConfig,
    fetcher: Arc<Fetcher>,
    promises: Promises,
}

/// Bytes that each pull under way will still write.
type Promises = Arc<Mutex<BTreeMap<ModelName, u64>>>;

/// One pull's share of the disk; given back on drop.
struct Promise {
    name: ModelName,
    promises: Promises,
}

/// What a pull has at hand.
struct Running<'a> {
    network: &'a Network,
    name: &'a ModelName,
    report: Report,
    promise: Promise,
    /// The files that are fetched.
    _pin: Pin,
}

impl Pulls {
    /// Pulls into `library`. `config` has passed [`HubConfig::validate`].
    pub fn open(library: Arc<Library>, config: &HubConfig) -> crate::Result<Pulls> {
        let root = library.root().to_owned();
        let network = Network {
            fetcher: Arc::new(Fetcher::new(config, &root)?),
            promises: Promises::default(),
            config: config.clone(),
            library,
        };
        Pulls::with(Box::new(network), &root, config.max_pulls, config.queue_pulls)
    }
}

impl Work for Network {
    fn pull<'a>(&'a self, name: &'a ModelName, report: Report) -> BoxFuture<'a, PullResult<Entry>> {
        self.pull_model(name, report).boxed()
    }
}

impl Network {
    async fn pull_model(&self, name: &ModelName, report: Report) -> PullResult<Entry> {
        self.library.check_replaceable(name)?;
        // A model of the catalogue may come from elsewhere than its name says.
        let from = Catalogue::built_in().find(name).map_or(name, |variant| &variant.source);
        if !self.config.allows(from.host()) {
            return Err(PullError::RegistryNotAllowed(from.host().to_owned()));
        }
        report.tell(PullProgress::stage(PullStage::Manifest));
        if hugging_face::is_host(from.host()) {
            let found = hugging_face::find(&self.fetcher, &self.config, from).await?;
            return self.pull_found(name, report, found).await;
        }
        let listed = registry::list(&self.fetcher, &self.config, from).await?;
        let running = self.begin(name, report, &listed.files, 0).await?;
        running.fetch(&listed.files).await?;
        self.finish(running, listed.bytes, listed.files).await
    }

    /// A model of Hugging Face, which has no manifest: one is made that depends on nothing but the
    /// files, so that the same commit gives the same model.
    async fn pull_found(
        &self,
        name: &ModelName,
        report: Report,
        found: Found,
    ) -> PullResult<Entry> {
        let (files, layers, running) = match found {
            Found::Gguf(parts) if parts.len() == 1 => {
                let running = self.begin(name, report, &parts, 0).await?;
                running.fetch(&parts).await?;
                let file = layer(GGUF_TYPE, parts[0].digest, parts[0].bytes, None);
                (parts, vec![file], running)
            }
            Found::Gguf(parts) => {
                let whole = parts.iter().map(|part| part.bytes).fold(0, u64::saturating_add);
                let running = self.begin(name, report, &parts, whole).await?;
                running.fetch(&parts).await?;
                let (digest, bytes) = running.merge(&parts).await?;
                (parts, vec![layer(GGUF_TYPE, digest, bytes, None)], running)
            }
            Found::Folder(files) => self.pull_folder(name, report, files).await?,
        };
        let format = if layers[0].media_type == GGUF_TYPE { "gguf" } else { "safetensors" };
        let blobs = self.library.root().join("blobs");
        let config = json!({ "model_format": format, "os": "linux", "architecture": "amd64" });
        let config = blocking(move || write(&blobs, config.to_string().as_bytes())).await?;
        let _config = self.library.pin([config.0]);
        let manifest = Manifest::new(config, layers).to_bytes()?;
        self.finish(running, manifest, files).await
    }

    /// Checks the model, gives it its name, and deletes fetched files that are not part of it:
    /// parts that were merged, and all of a model that cannot be run.
    async fn finish(
        &self,
        running: Running<'_>,
        manifest: Vec<u8>,
        files: Vec<Remote>,
    ) -> PullResult<Entry> {
        let published = running.publish(manifest).await;
        drop(running);
        if matches!(published, Ok(_) | Err(PullError::BadModel(_))) {
            let library = Arc::clone(&self.library);
            blocking(move || library.drop_unused(files.iter().map(|file| file.digest))).await?;
        }
        published
    }

    async fn pull_folder<'a>(
        &'a self,
        name: &'a ModelName,
        report: Report,
        files: Vec<FolderFile>,
    ) -> PullResult<(Vec<Remote>, Vec<Layer>, Running<'a>)> {
        let remotes = files.iter().filter_map(|file| match &file.source {
            Source::Digest(remote) => Some(remote.clone()),
            Source::Small { .. } => None,
        });
        let remotes: Vec<Remote> = remotes.collect();
        let running = self.begin(name, report, &remotes, hugging_face::MAX_SMALL_BYTES).await?;
        let mut layers = Vec::new();
        for file in &files {
            // Two files of one name would be one layer: the folder's own counts, as at an import.
            let flat = if file.path == POOLING_FILE { FLAT } else { &file.path };
            let is_taken = layers.iter().any(|layer: &Layer| layer.name.as_deref() == Some(flat));
            if is_taken {
                continue;
            }
            let (digest, bytes) = match &file.source {
                Source::Digest(remote) => {
                    running.fetch(std::slice::from_ref(remote)).await?;
                    (remote.digest, remote.bytes)
                }
                Source::Small { url, access, bytes } => {
                    let limit = usize::try_from(*bytes).unwrap_or(usize::MAX);
                    let ask = Ask { url, range: None, accept: None };
                    let text = self.fetcher.fetch_small(&ask, access, limit).await?;
                    if text.len() as u64 != *bytes {
                        let problem = format!("{} of {bytes} bytes of {}", text.len(), file.path);
                        let host = host_of(url);
                        return Err(PullError::BadAnswer { host, problem });
                    }
                    let blobs = self.library.root().join("blobs");
                    blocking(move || write(&blobs, &text)).await?
                }
            };
            layers.push(layer(FOLDER_FILE_TYPE, digest, bytes, Some(flat.to_owned())));
        }
        Ok((remotes, layers, running))
    }

    /// Makes sure that the files fit on the disk, with `more_bytes` made of them, and keeps them
    /// from being swept away.
    async fn begin<'a>(
        &'a self,
        name: &'a ModelName,
        report: Report,
        files: &[Remote],
        more_bytes: u64,
    ) -> PullResult<Running<'a>> {
        let pin = self.library.pin(files.iter().map(|file| file.digest));
        let promise = Promise { name: name.clone(), promises: Arc::clone(&self.promises) };
        let (fetcher, files, root) =
            (Arc::clone(&self.fetcher), files.to_vec(), self.library.root().to_owned());
        let facts = blocking(move || Ok((fetcher.missing_bytes(files.iter()), free_bytes(&root)?)));
        let (missing_bytes, free_bytes) = facts.await?;
        let need_bytes = missing_bytes.saturating_add(more_bytes);
        // Files that are here already take nothing.
        let kept = if need_bytes == 0 { 0 } else { self.config.keep_free_bytes };
        let mut promises = lock(&self.promises);
        let promised: u64 = promises.values().fold(0, |sum, more| sum.saturating_add(*more));
        if need_bytes.saturating_add(promised).saturating_add(kept) > free_bytes {
            let free_bytes = free_bytes.saturating_sub(promised).saturating_sub(kept);
            return Err(PullError::DiskFull { need_bytes, free_bytes });
        }
        promises.insert(name.clone(), need_bytes);
        drop(promises);
        Ok(Running { network: self, name, report, promise, _pin: pin })
    }
}

impl Running<'_> {
    async fn fetch(&self, files: &[Remote]) -> PullResult<()> {
        for file in files {
            let last = Mutex::new(None);
            let report = |completed: u64| {
                let before = lock(&last).replace(completed);
                self.promise.keep_part(completed.saturating_sub(before.unwrap_or(completed)));
                let (digest, total) = (Some(file.digest), file.bytes);
                let stage = PullStage::Fetching;
                self.report.tell(PullProgress { stage, digest, total, completed });
            };
            self.network.fetcher.fetch(file, &report).await?;
        }
        Ok(())
    }

    /// Makes one file of the parts of a split one.
    async fn merge(&self, parts: &[Remote]) -> PullResult<(Digest, u64)> {
        self.report.tell(PullProgress::stage(PullStage::Verifying));
        let library = Arc::clone(&self.network.library);
        let paths: Vec<PathBuf> =
            parts.iter().map(|part| library.blob_path(&part.digest)).collect();
        blocking(move || crate::merge::merge(&paths, &library.root().join("blobs"))).await
    }

    /// Checks the model and gives it its name.
    async fn publish(&self, manifest: Vec<u8>) -> PullResult<Entry> {
        self.report.tell(PullProgress::stage(PullStage::Verifying));
        let (library, name) = (Arc::clone(&self.network.library), self.name.clone());
        let report = self.report.clone();
        blocking(move || {
            library.check_foreign(&manifest)?;
            report.tell(PullProgress::stage(PullStage::Writing));
            library.publish_foreign(&name, &manifest)
        })
        .await
    }
}

impl Promise {
    /// Bytes that have been written are no promise any more.
    fn keep_part(&self, bytes: u64) {
        if let Some(left) = lock(&self.promises).get_mut(&self.name) {
            *left = left.saturating_sub(bytes);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        lock(&self.promises).remove(&self.name);
    }
}

/// The flat name of the file that says how vectors are made.
const FLAT: &str = hearth_formats::FLAT_POOLING_FILE;

fn layer(media_type: &str, digest: Digest, bytes: u64, name: Option<String>) -> Layer {
    Layer { media_type: media_type.to_owned(), digest, bytes, name }
}

fn write(blobs: &std::path::Path, mut bytes: &[u8]) -> crate::Result<(Digest, u64)> {
    write_blob(blobs, &mut bytes, &mut |_| std::ops::ControlFlow::Continue(()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
