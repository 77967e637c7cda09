//! Makes a model out of one that is there, or of files that were sent, with texts of its own.

use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Map, Value};

use super::profile::{
    LICENSE_TYPE, MAX_TEXT_BYTES, MESSAGES_TYPE, PARAMETERS_TYPE, SYSTEM_TYPE, TEMPLATE_TYPE,
};
use super::{Entry, Library, ProfileMessage, lock};
use crate::digest::Digest;
use crate::error::{Doing, Error, Result};
use crate::import::{Candidate, persist, write_blob};
use crate::manifest::{Description, GGUF_TYPE, Layer, Manifest, read_json};
use crate::name::ModelName;

/// What a new model is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// A model of the library.
    Model(ModelName),
    /// Blobs that were sent, by the names of their files: one GGUF file, or a Hugging Face folder.
    Files(HashMap<String, Digest>),
}

/// What a new model changes; what is absent stays as its base has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub system: Option<String>,
    /// Laid over the base's own.
    pub parameters: Map<String, Value>,
    pub messages: Option<Vec<ProfileMessage>>,
    pub template: Option<String>,
    /// Added to the base's own.
    pub licenses: Vec<String>,
}

/// The most files of one model.
const MAX_FILES: usize = 1024;

impl Library {
    /// Makes a model; one of this name is replaced. `now`: unix seconds.
    pub fn create(&self, name: &str, base: &Base, changes: &Changes, now: i64) -> Result<Entry> {
        let name = name.parse::<ModelName>()?.to_lowercase();
        if self.builtins.contains_key(&name) {
            return Err(Error::Builtin(name));
        }
        let _changing = lock(&self.changing);
        let mut written = Vec::new();
        let made = self
            .make(base, changes, now, &mut written)
            .and_then(|manifest| self.replace(name, &manifest));
        if made.is_err() {
            // A failure here leaves them to the next start.
            let digests = written.iter().map(|layer: &Layer| layer.digest);
            if let Err(error) = self.collect_garbage(digests) {
                tracing::warn!(%error, "files of a failed creation were left behind");
            }
        }
        made
    }

    /// Whether a blob is there.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// Keeps a file that was sent, if it is what it is said to be. Nothing refers to it yet: a
    /// start an hour later sweeps it away.
    pub fn keep_blob(&self, digest: &Digest, file: tempfile::NamedTempFile) -> Result<()> {
        persist(file, &self.blob_path(digest))
    }

    /// A file for a blob that is being sent; it goes when it is dropped.
    pub fn new_blob(&self) -> Result<tempfile::NamedTempFile> {
        let doing = || "write a blob into the model store".to_owned();
        tempfile::NamedTempFile::new_in(self.root.join("blobs")).doing(doing)
    }

    fn make(
        &self,
        base: &Base,
        changes: &Changes,
        now: i64,
        written: &mut Vec<Layer>,
    ) -> Result<Manifest> {
        let (mut layers, description) = match base {
            Base::Model(name) => self.layers_of(name, now, written)?,
            Base::Files(files) => self.layers_of_files(files, now, written)?,
        };
        let mut put = |media_type: &str, text: Option<String>, replaces: bool| -> Result<()> {
            let Some(text) = text else { return Ok(()) };
            if text.len() as u64 > MAX_TEXT_BYTES {
                return Err(Error::BadManifest("a text is larger than 1 MiB".to_owned()));
            }
            if replaces {
                layers.retain(|layer| layer.media_type != media_type);
            }
            let layer = self.write_text(media_type, &text)?;
            written.push(layer.clone());
            layers.push(layer);
            Ok(())
        };
        put(SYSTEM_TYPE, changes.system.clone(), true)?;
        put(TEMPLATE_TYPE, changes.template.clone(), true)?;
        put(
            MESSAGES_TYPE,
            changes.messages.as_ref().map(|list| serde_json::json!(list).to_string()),
            true,
        )?;
        for license in &changes.licenses {
            put(LICENSE_TYPE, Some(license.clone()), false)?;
        }
        if !changes.parameters.is_empty() {
            let mut parameters = match base {
                Base::Model(name) => self.profile(name)?.parameters,
                Base::Files(_) => Map::new(),
            };
            parameters.extend(changes.parameters.clone());
            put(PARAMETERS_TYPE, Some(Value::Object(parameters).to_string()), true)?;
        }
        let description = serde_json::to_string(&description)
            .map_err(|error| Error::BadManifest(error.to_string()))?;
        let config = self.write_text("", &description)?;
        written.push(config.clone());
        Ok(Manifest::new((config.digest, config.bytes), layers))
    }

    fn layers_of(
        &self,
        name: &ModelName,
        now: i64,
        written: &mut Vec<Layer>,
    ) -> Result<(Vec<Layer>, Description)> {
        let entry = self.find(&name.to_string())?;
        let description = Description { created_at: now, ..entry.description };
        if let Some(bytes) = self.builtins.get(&entry.name) {
            let mut bytes = *bytes;
            let blobs = self.root.join("blobs");
            let (digest, bytes) =
                write_blob(&blobs, &mut bytes, &mut |_| ControlFlow::Continue(()))?;
            let layer = Layer { media_type: GGUF_TYPE.to_owned(), digest, bytes, name: None };
            written.push(layer.clone());
            return Ok((vec![layer], description));
        }
        let manifest: Manifest = read_json(&self.manifest_path(&entry.name))?;
        Ok((manifest.layers, description))
    }

    fn layers_of_files(
        &self,
        files: &HashMap<String, Digest>,
        now: i64,
        written: &mut Vec<Layer>,
    ) -> Result<(Vec<Layer>, Description)> {
        let only = files.values().next().filter(|_| files.len() == 1);
        let candidate;
        // Holds the folder until its files are copied.
        let folder;
        match only {
            Some(digest) => candidate = Candidate::check(&self.blob(digest)?, now)?,
            None => {
                folder = self.folder_of(files)?;
                candidate = Candidate::check(folder.path(), now)?;
            }
        }
        let mut layers = Vec::new();
        let mut on_progress = |_| ControlFlow::Continue(());
        let copied = candidate.copy_into(&self.root.join("blobs"), &mut layers, &mut on_progress);
        written.extend(layers.iter().cloned());
        copied.map(|()| (layers, candidate.description))
    }

    /// The files under their names, in a folder that goes when it is dropped.
    fn folder_of(&self, files: &HashMap<String, Digest>) -> Result<tempfile::TempDir> {
        let doing = || "write into the model store".to_owned();
        if files.len() > MAX_FILES {
            return Err(Error::BadManifest(format!("more than {MAX_FILES} files")));
        }
        let folder = tempfile::TempDir::new_in(&self.root).doing(doing)?;
        for (name, digest) in files {
            if name.is_empty() || Path::new(name).file_name() != Some(name.as_ref()) {
                let name = name.escape_debug();
                return Err(Error::BadManifest(format!("`{name}` as a file name")));
            }
            let (blob, link) = (self.blob(digest)?, folder.path().join(name));
            fs::hard_link(&blob, &link)
                .or_else(|_| fs::copy(&blob, &link).map(drop))
                .doing(doing)?;
        }
        Ok(folder)
    }

    fn blob(&self, digest: &Digest) -> Result<std::path::PathBuf> {
        let path = self.blob_path(digest);
        match path.is_file() {
            true => Ok(path),
            false => Err(Error::NoBlob(*digest)),
        }
    }

    fn write_text(&self, media_type: &str, text: &str) -> Result<Layer> {
        let blobs = self.root.join("blobs");
        let (digest, bytes) =
            write_blob(&blobs, &mut text.as_bytes(), &mut |_| ControlFlow::Continue(()))?;
        Ok(Layer { media_type: media_type.to_owned(), digest, bytes, name: None })
    }

    /// Lists the model under a name that may be in use; what the old one alone used goes.
    pub(super) fn replace(&self, name: ModelName, manifest: &Manifest) -> Result<Entry> {
        let Some(stored) = self.stored(&name) else { return self.publish(name, manifest) };
        let old: Manifest = read_json(&self.manifest_path(&stored))?;
        let entry = self.write_manifest(stored, &manifest.to_bytes()?)?;
        self.forget(&old)?;
        Ok(entry)
    }
}

#[cfg(test)]
mod tests;
