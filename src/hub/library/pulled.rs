//! Models that others have put together: their manifests are kept as they came, and what a list
//! shows of them is read from the model once.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hearth_formats::ModelFile;

use super::pins::Pin;
use super::{Entry, Library, lock};
use crate::digest::Digest;
use crate::error::{Doing, Error, Result};
use crate::import::persist;
use crate::manifest::{Description, GGUF_TYPE, Manifest, read_bounded, read_json};
use crate::name::ModelName;

impl Library {
    /// The folder of the whole store.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The manifest of a model that is not built in.
    pub fn manifest(&self, name: &ModelName) -> Result<Manifest> {
        Manifest::parse(&self.manifest_bytes(name)?).map_err(Error::BadManifest)
    }

    /// The manifest as it stands on the disk.
    pub(crate) fn manifest_bytes(&self, name: &ModelName) -> Result<Vec<u8>> {
        self.check_replaceable(name)?;
        let stored = self.stored(name).ok_or_else(|| Error::NotFound(name.clone()))?;
        read_bounded(&self.manifest_path(&stored))
    }

    /// Refuses a name that a model has.
    pub(crate) fn check_free(&self, name: &ModelName) -> Result<()> {
        self.check_is_new(name)
    }

    /// Where a blob lies, whether it is there or not.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.file_name())
    }

    /// Keeps these blobs, those that will come too, until the pin is dropped.
    pub(crate) fn pin(&self, digests: impl IntoIterator<Item = Digest>) -> Pin {
        self.pins.pin(digests.into_iter().collect())
    }

    /// Refuses the names of models that are part of the program.
    pub(crate) fn check_replaceable(&self, name: &ModelName) -> Result<()> {
        match self.builtins.contains_key(name) {
            true => Err(Error::Builtin(name.clone())),
            false => Ok(()),
        }
    }

    /// Fails if the model of this manifest cannot be run; its blobs are all here.
    pub(crate) fn check_foreign(&self, bytes: &[u8]) -> Result<()> {
        let manifest = Manifest::parse(bytes).map_err(Error::BadManifest)?;
        let path = self.model_path(&manifest)?;
        ModelFile::open(&path)?;
        self.description(&Digest::of(bytes), &manifest).map(drop)
    }

    /// Lists a model whose blobs are all here, under a name that may have meant another until now.
    /// [`Library::check_foreign`] has said yes.
    pub(crate) fn publish_foreign(&self, name: &ModelName, bytes: &[u8]) -> Result<Entry> {
        self.check_replaceable(name)?;
        let _changing = lock(&self.changing);
        let stored = self.stored(name);
        if stored.is_none() {
            self.check_is_new(name)?;
        }
        let name = stored.unwrap_or_else(|| name.clone());
        let path = self.manifest_path(&name);
        let before = if path.exists() { Some(read_bounded(&path)?) } else { None };
        let entry = self.write_manifest(name, bytes)?;
        if let Some(before) = before.filter(|before| before != bytes)
            && let Ok(replaced) = Manifest::parse(&before)
        {
            self.forget(&replaced)?;
        }
        Ok(entry)
    }

    /// Deletes what a pulled model that cannot be run has left behind, if nobody else needs it.
    pub(crate) fn forget_foreign(&self, bytes: &[u8]) -> Result<()> {
        let _changing = lock(&self.changing);
        match Manifest::parse(bytes) {
            Ok(manifest) => self.forget(&manifest),
            Err(_) => Ok(()),
        }
    }

    /// Deletes those of these blobs that nobody needs.
    pub(crate) fn drop_unused(&self, digests: impl Iterator<Item = Digest>) -> Result<()> {
        let _changing = lock(&self.changing);
        self.collect_garbage(digests)
    }

    /// The file or folder that is loaded.
    pub(crate) fn model_path(&self, manifest: &Manifest) -> Result<PathBuf> {
        match manifest.layers.iter().find(|layer| layer.media_type == GGUF_TYPE) {
            Some(layer) => Ok(self.blob_path(&layer.digest)),
            None => self.linked_folder(manifest),
        }
    }

    /// What a list shows of a model: from the config blob of our own imports, else from the model
    /// itself, which is then remembered under the manifest's digest. So it is too where older
    /// versions did not write down what the model can do.
    pub(super) fn description(&self, digest: &Digest, manifest: &Manifest) -> Result<Description> {
        let own: Option<Description> = read_json(&self.blob_path(&manifest.config.digest)).ok();
        if let Some(own) = own.as_ref().filter(|own| !own.capabilities.is_empty()) {
            return Ok(own.clone());
        }
        let known = self.root.join("descriptions").join(digest.file_name());
        if let Ok(known) = read_json(&known) {
            return Ok(known);
        }
        let path = self.model_path(manifest)?;
        let model = match (ModelFile::open(&path), &own) {
            (Err(_), Some(own)) => return Ok(own.clone()),
            (model, _) => model?,
        };
        let written = path.metadata().and_then(|about| about.modified());
        let since = written.unwrap_or(SystemTime::now()).duration_since(UNIX_EPOCH);
        let written_at = i64::try_from(since.unwrap_or(Duration::ZERO).as_secs());
        let created_at = own.map_or(written_at.unwrap_or(i64::MAX), |own| own.created_at);
        let mut description = Description::of(&model, created_at);
        if let Some(template) = self.template(manifest)? {
            description.learn_from(&template);
        }
        if let Err(error) = remember(&known, &description) {
            // It is read again the next time.
            tracing::warn!(path = %known.display(), %error, "a model's description is not kept");
        }
        Ok(description)
    }
}

fn remember(path: &Path, description: &Description) -> Result<()> {
    let doing = || format!("write {}", path.display());
    let folder = path.parent().expect("a description lies in a folder");
    fs::create_dir_all(folder).doing(doing)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).doing(doing)?;
    serde_json::to_writer(&mut file, description).map_err(std::io::Error::from).doing(doing)?;
    file.flush().doing(doing)?;
    persist(file, path)
}
