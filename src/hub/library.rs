//! The list of models on this machine, and where each one's files are.

mod create;
mod garbage;
mod pins;
mod profile;
mod pulled;
mod upkeep;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use hearth_formats::ModelFile;

use crate::digest::Digest;
use crate::error::{Doing, Error, Result};
use crate::import::{Candidate, OnProgress, persist, write_blob};
use crate::manifest::{Description, Layer, Manifest, is_file_name, read_bounded, read_json};
use crate::name::ModelName;
use crate::sweep::sweep;
use crate::workbench::Workbench;
use pins::Pins;

pub(crate) use pins::Pin;
pub use upkeep::{Damage, Shared};

pub use create::{Base, Changes, CreateStep, OnStep, Recipe};
pub use profile::{FileFacts, Profile, ProfileMessage};

/// Every model that this machine can load by itself.
///
/// Invariant: an entry is in `entries` only while its manifest is on the disk, and a manifest is
/// on the disk only after all of its blobs are.
pub struct Library {
    root: PathBuf,
    builtins: BTreeMap<ModelName, &'static [u8]>,
    entries: RwLock<BTreeMap<ModelName, Entry>>,
    /// Held by whoever adds or removes blobs and manifests; an import holds it for minutes.
    changing: Mutex<()>,
    /// Held by whoever makes weights smaller, for minutes.
    quantizing: Mutex<()>,
    /// Held for moments by whoever adds or removes something in `folders`.
    linking: Mutex<()>,
    /// Blobs that pulls under way count on.
    pins: Pins,
    /// What making models needs of other rooms.
    workbench: OnceLock<Arc<dyn Workbench>>,
}

/// One model of the library.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub name: ModelName,
    pub origin: Origin,
    pub description: Description,
    /// Bytes of the model's files.
    pub size_bytes: u64,
    /// Of the manifest; of the file, if the model is built in.
    pub digest: Digest,
}

/// Where a model came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Embedded in the program.
    Builtin,
    /// In the data directory.
    Imported,
}

/// Where a model's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A GGUF file or a Hugging Face folder.
    Path(PathBuf),
    /// A GGUF file embedded in the program.
    Static(&'static [u8]),
}

/// Most models in one library.
const MAX_MODELS: usize = 10_000;

impl Library {
    /// Opens or creates the store at `root`. `builtins`: name and GGUF bytes.
    ///
    /// A damaged manifest is logged and left out; it never keeps the others from loading.
    pub fn open(root: &Path, builtins: &[(&str, &'static [u8])]) -> Result<Library> {
        for folder in ["blobs", "manifests", "folders"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).doing(|| format!("create {}", path.display()))?;
        }
        let mut library = Library {
            root: root.to_owned(),
            builtins: BTreeMap::new(),
            entries: RwLock::default(),
            changing: Mutex::default(),
            quantizing: Mutex::default(),
            linking: Mutex::default(),
            pins: Pins::default(),
            workbench: OnceLock::new(),
        };
        let mut entries = BTreeMap::new();
        for name in library.manifest_names()?.into_iter().take(MAX_MODELS) {
            match library.read_entry(&name) {
                Ok(entry) => drop(entries.insert(name, entry)),
                Err(error) => tracing::warn!(model.name = %name, %error, "model left out"),
            }
        }
        match library.used() {
            Ok(used) => drop(sweep(root, &used)),
            Err(error) => tracing::warn!(%error, "the model store is not swept"),
        }
        for (name, bytes) in builtins {
            let entry = builtin_entry(name.parse()?, bytes)?;
            library.builtins.insert(entry.name.clone(), bytes);
            entries.insert(entry.name.clone(), entry);
        }
        library.entries = RwLock::new(entries);
        Ok(library)
    }

    /// All models, by name.
    pub fn list(&self) -> Vec<Entry> {
        self.entries().values().cloned().collect()
    }

    /// One model, by any spelling of its name.
    pub fn find(&self, name: &str) -> Result<Entry> {
        let name: ModelName = name.parse()?;
        self.entries().get(&name).cloned().ok_or(Error::NotFound(name))
    }

    /// Where the model's bytes are.
    pub fn source(&self, name: &ModelName) -> Result<Source> {
        if let Some(bytes) = self.builtins.get(name) {
            return Ok(Source::Static(bytes));
        }
        let stored = self.stored(name).ok_or_else(|| Error::NotFound(name.clone()))?;
        let manifest: Manifest = read_json(&self.manifest_path(&stored))?;
        self.model_path(&manifest).map(Source::Path)
    }

    /// Brings a GGUF file or a Hugging Face folder in. `now`: unix seconds.
    pub fn import(
        &self,
        path: &Path,
        name: &str,
        now: i64,
        on_progress: OnProgress<'_>,
    ) -> Result<Entry> {
        let name = name.parse::<ModelName>()?.to_lowercase();
        self.check_is_new(&name)?;
        let candidate = Candidate::check(path, now)?;
        let _changing = lock(&self.changing);
        let mut layers = Vec::new();
        self.take_in(&candidate, name, &mut layers, on_progress).inspect_err(|_| {
            // The blobs belong to nobody now; a failure here leaves them to the next start.
            if let Err(error) = self.collect_garbage(layers.iter().map(|layer| layer.digest)) {
                tracing::warn!(%error, "files of a failed import were left behind");
            }
        })
    }

    /// Gives a model a second name; no bytes are copied.
    pub fn copy(&self, source: &str, destination: &str) -> Result<Entry> {
        let source = self.find(source)?.name;
        if self.builtins.contains_key(&source) {
            return Err(Error::Builtin(source));
        }
        let destination = destination.parse::<ModelName>()?.to_lowercase();
        let _changing = lock(&self.changing);
        self.publish(destination, &read_json(&self.manifest_path(&source))?)
    }

    /// The same for a name that may mean another model until now; what that alone used goes.
    pub fn copy_over(&self, source: &str, destination: &str) -> Result<Entry> {
        let source = self.find(source)?.name;
        let destination = destination.parse::<ModelName>()?.to_lowercase();
        for name in [&source, &destination] {
            self.check_replaceable(name)?;
        }
        let _changing = lock(&self.changing);
        self.replace(destination, &read_json(&self.manifest_path(&source))?)
    }

    /// Forgets the name, and deletes the blobs that no other name uses.
    pub fn remove(&self, name: &str) -> Result<()> {
        let name = self.find(name)?.name;
        if self.builtins.contains_key(&name) {
            return Err(Error::Builtin(name));
        }
        let _changing = lock(&self.changing);
        let path = self.manifest_path(&name);
        let manifest: Manifest = read_json(&path)?;
        fs::remove_file(&path).doing(|| format!("remove {}", path.display()))?;
        self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(&name);
        self.forget(&manifest)
    }

    /// Copies a checked model and lists it. What was copied is in `layers`, also if it fails.
    fn take_in(
        &self,
        candidate: &Candidate,
        name: ModelName,
        layers: &mut Vec<Layer>,
        on_progress: OnProgress<'_>,
    ) -> Result<Entry> {
        let blobs = self.root.join("blobs");
        candidate.copy_into(&blobs, layers, on_progress)?;
        let description = serde_json::to_vec(&candidate.description)
            .map_err(|error| Error::BadManifest(error.to_string()))?;
        let config = write_blob(&blobs, &mut &description[..], &mut |_| ControlFlow::Continue(()))?;
        let manifest = Manifest::new(config, layers.clone());
        layers.push(manifest.config.clone());
        self.publish(name, &manifest)
    }

    /// Writes the manifest and lists the model.
    fn publish(&self, name: ModelName, manifest: &Manifest) -> Result<Entry> {
        self.check_is_new(&name)?;
        self.write_manifest(name, &manifest.to_bytes()?)
    }

    /// Puts a manifest in its place at once, and the model in the list.
    fn write_manifest(&self, name: ModelName, bytes: &[u8]) -> Result<Entry> {
        let path = self.manifest_path(&name);
        let folder = path.parent().expect("a manifest path has four parts");
        let doing = || format!("write {}", path.display());
        fs::create_dir_all(folder).doing(doing)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.root).doing(doing)?;
        file.write_all(bytes).and_then(|()| file.flush()).doing(doing)?;
        persist(file, &path)?;
        let entry = self.read_entry(&name)?;
        self.entries.write().unwrap_or_else(PoisonError::into_inner).insert(name, entry.clone());
        Ok(entry)
    }

    /// The name as it is spelled in the store.
    fn stored(&self, name: &ModelName) -> Option<ModelName> {
        self.entries().get_key_value(name).map(|(stored, _)| stored.clone())
    }

    fn check_is_new(&self, name: &ModelName) -> Result<()> {
        let entries = self.entries();
        if entries.contains_key(name) {
            return Err(Error::Exists(name.clone()));
        }
        if entries.len() >= MAX_MODELS {
            return Err(Error::BadManifest(format!("the library is full ({MAX_MODELS} models)")));
        }
        Ok(())
    }

    /// A folder of hard links to the blobs, under the names that the files had.
    fn linked_folder(&self, manifest: &Manifest) -> Result<PathBuf> {
        let _linking = lock(&self.linking);
        let folder = self.folder_path(manifest);
        fs::create_dir_all(&folder).doing(|| format!("create {}", folder.display()))?;
        for layer in manifest.layers.iter().filter(|layer| !profile::is_text(layer)) {
            let name = layer.name.as_deref().unwrap_or_default();
            // The manifest may come from elsewhere: only a plain file name may be linked.
            if !is_file_name(name) {
                return Err(Error::BadManifest(format!(
                    "`{}` as a file name",
                    name.escape_debug()
                )));
            }
            let link = folder.join(name);
            if !link.exists() {
                let blob = self.blob_path(&layer.digest);
                fs::hard_link(&blob, &link)
                    .or_else(|_| fs::copy(&blob, &link).map(drop))
                    .doing(|| format!("link {}", link.display()))?;
            }
        }
        Ok(folder)
    }

    /// The names of all manifests; files that are not where a manifest belongs are passed over.
    fn manifest_names(&self) -> Result<Vec<ModelName>> {
        let mut names = Vec::new();
        let root = self.root.join("manifests");
        for host in children(&root)? {
            for namespace in children(&root.join(&host))? {
                for model in children(&root.join(&host).join(&namespace))? {
                    for tag in children(&root.join(&host).join(&namespace).join(&model))? {
                        names.extend(ModelName::from_parts([&host, &namespace, &model, &tag]));
                    }
                }
            }
        }
        Ok(names)
    }

    fn read_entry(&self, name: &ModelName) -> Result<Entry> {
        let path = self.manifest_path(name);
        let bytes = read_bounded(&path)?;
        let manifest = Manifest::parse(&bytes)
            .map_err(|problem| Error::BadManifest(format!("{}: {problem}", path.display())))?;
        for digest in manifest.digests() {
            let path = self.blob_path(&digest);
            path.metadata().doing(|| format!("open {}", path.display()))?;
        }
        let digest = Digest::of(&bytes);
        let mut description = self.description(&digest, &manifest)?;
        if description.capabilities.is_empty() {
            description.capabilities.push("completion".to_owned());
        }
        let size_bytes = manifest.model_bytes();
        let (name, origin) = (name.clone(), Origin::Imported);
        Ok(Entry { name, origin, description, size_bytes, digest })
    }

    fn manifest_path(&self, name: &ModelName) -> PathBuf {
        self.root.join("manifests").join(name.manifest_path())
    }

    fn folder_path(&self, manifest: &Manifest) -> PathBuf {
        let all: String = manifest.layers.iter().map(|layer| layer.digest.to_string()).collect();
        self.root.join("folders").join(Digest::of(all.as_bytes()).file_name())
    }

    fn entries(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<ModelName, Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A poisoned lock guards no data here, only an order.
fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn builtin_entry(name: ModelName, bytes: &'static [u8]) -> Result<Entry> {
    let model = ModelFile::from_static(bytes)?;
    let description = Description::of(&model, 0);
    let (size_bytes, digest) = (bytes.len() as u64, Digest::of(bytes));
    Ok(Entry { name, origin: Origin::Builtin, description, size_bytes, digest })
}

/// Names in a directory; an absent directory has none.
fn children(path: &Path) -> Result<Vec<String>> {
    let doing = || format!("list {}", path.display());
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(path).doing(doing)? {
        names.extend(entry.doing(doing)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
pub(crate) mod tests;
