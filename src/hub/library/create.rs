//! Makes a model out of one that is there, or of files that were sent, with texts of its own.

mod smaller;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;

use hearth_formats::ModelFile;
use serde_json::{Map, Value};

use super::profile::{
    LICENSE_TYPE, MAX_TEXT_BYTES, MESSAGES_TYPE, PARAMETERS_TYPE, PROMPT_TYPE, SYSTEM_TYPE,
    TEMPLATE_TYPE,
};
use super::{Entry, Library, Pin, ProfileMessage, lock};
use crate::digest::Digest;
use crate::error::{Doing, Error, Result};
use crate::import::{Candidate, FoundTemplate, Progress, persist, write_blob};
use crate::manifest::{Description, GGUF_TYPE, Layer, Manifest, is_file_name, read_json};
use crate::merge::merge;
use crate::name::ModelName;
use crate::quantize::Quantization;

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
    /// What its weights, floats until now, are made.
    pub quantization: Option<Quantization>,
}

/// How a new model is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    pub base: Base,
    pub changes: Changes,
}

/// How far the making of a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateStep {
    /// The base is sound.
    Checked { is_gguf: bool },
    /// The base was sent without a template of its own: the family whose template is used, if its
    /// vocabulary tells one.
    NoTemplate(Option<&'static str>),
    /// The weights, `from` a kind, are made smaller.
    Quantizing { from: String, to: Quantization, progress: Progress },
    /// A text has become a file, or was one already.
    Layer { digest: Digest, is_new: bool },
    /// Everything is there but the name.
    Naming,
}

/// Called at every step; it may end the work with `Break`.
pub type OnStep<'a> = &'a mut dyn FnMut(CreateStep) -> ControlFlow<()>;

/// The most files of one model.
const MAX_FILES: usize = 1024;

/// A model that is being made.
struct Making<'a> {
    changes: &'a Changes,
    /// Unix seconds.
    now: i64,
    layers: Vec<Layer>,
    /// Blobs that were written, and the base's: they go if nobody refers to them in the end.
    written: Vec<Digest>,
    /// Keep all of them, and the base's, while no manifest refers to them: others may change the
    /// library meanwhile, because this takes minutes where weights are quantised.
    pins: Vec<Pin>,
    /// What the files that were sent have of it; nothing is told of a model of the library.
    template: Option<FoundTemplate>,
    on_step: OnStep<'a>,
}

impl Library {
    /// Makes a model; one of this name is replaced. `now`: unix seconds.
    pub fn create(
        &self,
        name: &str,
        recipe: &Recipe,
        now: i64,
        on_step: OnStep<'_>,
    ) -> Result<Entry> {
        let Recipe { base, changes } = recipe;
        let name = name.parse::<ModelName>()?.to_lowercase();
        if self.builtins.contains_key(&name) {
            return Err(Error::Builtin(name));
        }
        let texts = [&changes.system, &changes.template].into_iter().flatten();
        if texts.chain(&changes.licenses).any(|text| text.len() as u64 > MAX_TEXT_BYTES) {
            return Err(Error::CannotMake("a text of the model is larger than 1 MiB".to_owned()));
        }
        if let (Some(template), Some(workbench)) = (&changes.template, self.workbench.get()) {
            workbench
                .check_template(template)
                .map_err(|problem| Error::CannotMake(format!("template error: {problem}")))?;
        }
        let (layers, written, pins) = (Vec::new(), Vec::new(), Vec::new());
        let template = None;
        let mut making = Making { changes, now, layers, written, pins, template, on_step };
        let made = self.make(base, &mut making).and_then(|manifest| {
            making.tell(CreateStep::Naming)?;
            let _changing = lock(&self.changing);
            self.replace(name, &manifest)
        });
        drop(making.pins);
        let _changing = lock(&self.changing);
        // What cannot be deleted is left to the next start.
        if let Err(error) = self.collect_garbage(making.written.into_iter()) {
            tracing::warn!(%error, "files of a model that was made were left behind");
        }
        made
    }

    /// Gives what the making of models needs; only the first one counts.
    pub fn set_workbench(&self, workbench: Arc<dyn crate::Workbench>) {
        self.workbench.set(workbench).ok();
    }

    /// The template that a model is asked by, of the one in its file and the one beside it.
    pub fn chosen_template(&self, own: Option<String>, beside: Option<String>) -> Option<String> {
        let prefers_own = match (&own, &beside, self.workbench.get()) {
            (Some(own), Some(beside), Some(workbench)) => workbench.prefers_own(own, beside),
            (_, beside, _) => beside.is_none(),
        };
        if prefers_own { own } else { beside }
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

    fn make(&self, base: &Base, making: &mut Making) -> Result<Manifest> {
        let mut description = match base {
            Base::Model(name) => self.take_model(name, making)?,
            Base::Files(files) => self.take_files(files, making)?,
        };
        let is_gguf = description.model_format == "gguf";
        let wanted = making.changes.quantization;
        let plan = wanted.map(|wanted| self.plan_smaller(wanted, making)).transpose()?;
        making.tell(CreateStep::Checked { is_gguf })?;
        if let (Some(found), None) = (making.template, &making.changes.template) {
            match found {
                FoundTemplate::Own => {}
                FoundTemplate::Family(name) => making.tell(CreateStep::NoTemplate(Some(name)))?,
                FoundTemplate::Nowhere => making.tell(CreateStep::NoTemplate(None))?,
            }
        }
        if let (Some(wanted), Some(plan)) = (wanted, plan) {
            description = self.make_smaller(plan, wanted, description, making)?;
        }
        let changes = making.changes;
        let messages = changes.messages.as_ref();
        let parameters = self.parameters(base, changes)?;
        let texts = [
            (SYSTEM_TYPE, changes.system.clone()),
            (TEMPLATE_TYPE, changes.template.clone()),
            (MESSAGES_TYPE, messages.map(|list| serde_json::json!(list).to_string())),
            (PARAMETERS_TYPE, parameters),
        ];
        for (media_type, text) in texts {
            let Some(text) = text else { continue };
            let is_old = |layer: &Layer| {
                layer.media_type == media_type
                    || (media_type == TEMPLATE_TYPE && layer.media_type == PROMPT_TYPE)
            };
            making.layers.retain(|layer| !is_old(layer));
            // An empty text takes the base's own away.
            if !text.is_empty() {
                self.add_text(media_type, &text, making)?;
            }
        }
        for license in &changes.licenses {
            self.add_text(LICENSE_TYPE, license, making)?;
        }
        if let Some(template) = &changes.template {
            self.ask_anew(template, &mut description, making)?;
        }
        let description = serde_json::to_string(&description)
            .map_err(|error| Error::BadManifest(error.to_string()))?;
        let config = self.write_text("", &description, making)?;
        Ok(Manifest::new((config.digest, config.bytes), std::mem::take(&mut making.layers)))
    }

    /// What a model can do whose template is another one now: what its file says, and that.
    fn ask_anew(
        &self,
        template: &str,
        description: &mut Description,
        making: &Making,
    ) -> Result<()> {
        // A folder's own is not read again: it may lack the links that it is read by.
        let weights = making.layers.iter().find(|layer| layer.media_type == GGUF_TYPE);
        if let Some(weights) = weights {
            let file = ModelFile::open(&self.blob_path(&weights.digest))?;
            let own = Description::of(&file, making.now);
            description.capabilities = own.capabilities;
            description.has_chat_template = own.has_chat_template;
        }
        description.learn_from(template);
        Ok(())
    }

    /// The base's parameters with the new ones over them, if there are any.
    fn parameters(&self, base: &Base, changes: &Changes) -> Result<Option<String>> {
        if changes.parameters.is_empty() {
            return Ok(None);
        }
        let mut parameters = match base {
            Base::Model(name) => self.profile(name)?.parameters,
            Base::Files(_) => Map::new(),
        };
        parameters.extend(changes.parameters.clone());
        Ok(Some(Value::Object(parameters).to_string()))
    }

    fn take_model(&self, name: &ModelName, making: &mut Making) -> Result<Description> {
        let entry = self.find(&name.to_string())?;
        let description = Description { created_at: making.now, ..entry.description };
        if let Some(bytes) = self.builtins.get(&entry.name) {
            let mut bytes = *bytes;
            let blobs = self.root.join("blobs");
            let (digest, bytes) =
                write_blob(&blobs, &mut bytes, &mut |_| ControlFlow::Continue(()))?;
            self.keep_written(digest, making)?;
            let layer = Layer { media_type: GGUF_TYPE.to_owned(), digest, bytes, name: None };
            making.layers.push(layer);
            return Ok(description);
        }
        // Until its files are pinned, nobody may remove the model.
        let _changing = lock(&self.changing);
        let manifest: Manifest = read_json(&self.manifest_path(&entry.name))?;
        making.pins.push(self.pin(manifest.digests()));
        making.written.extend(manifest.digests());
        making.layers = manifest.layers;
        Ok(description)
    }

    fn take_files(
        &self,
        files: &HashMap<String, Digest>,
        making: &mut Making,
    ) -> Result<Description> {
        making.pins.push(self.pin(files.values().copied()));
        // They were hashed as they came, and are blobs already.
        if let (Some(digest), 1) = (files.values().next(), files.len()) {
            let path = self.blob(digest)?;
            let candidate = Candidate::check(&path, making.now)?;
            let bytes = path.metadata().doing(|| format!("open {}", path.display()))?.len();
            let (media_type, name) = (GGUF_TYPE.to_owned(), None);
            making.layers.push(Layer { media_type, digest: *digest, bytes, name });
            making.template = Some(candidate.template);
            return Ok(candidate.description);
        }
        if files.keys().all(|name| name.ends_with(".gguf")) {
            return self.take_parts(files, making);
        }
        let folder = self.folder_of(files)?;
        let candidate = Candidate::check(folder.path(), making.now)?;
        making.template = Some(candidate.template);
        let mut on_progress = |_| ControlFlow::Continue(());
        let blobs = self.root.join("blobs");
        let copied = candidate.copy_into(&blobs, &mut making.layers, &mut on_progress);
        let digests: Vec<Digest> = making.layers.iter().map(|layer| layer.digest).collect();
        digests.into_iter().try_for_each(|digest| self.keep_written(digest, making))?;
        copied.map(|()| candidate.description)
    }

    /// The parts of a split GGUF file, by the order of their names, become one file.
    fn take_parts(
        &self,
        files: &HashMap<String, Digest>,
        making: &mut Making,
    ) -> Result<Description> {
        let parts: BTreeMap<&String, &Digest> = files.iter().collect();
        let parts = parts.values().map(|digest| self.blob(digest)).collect::<Result<Vec<_>>>()?;
        let (digest, bytes) = merge(&parts, &self.root.join("blobs"))?;
        self.keep_written(digest, making)?;
        let candidate = Candidate::check(&self.blob_path(&digest), making.now)?;
        making.template = Some(candidate.template);
        let media_type = GGUF_TYPE.to_owned();
        making.layers.push(Layer { media_type, digest, bytes, name: None });
        Ok(candidate.description)
    }

    /// Keeps a blob that was just written; fails if somebody was quicker to delete it, because it
    /// was the file of a model that went.
    fn keep_written(&self, digest: Digest, making: &mut Making) -> Result<()> {
        making.pins.push(self.pin([digest]));
        making.written.push(digest);
        self.blob(&digest).map(drop)
    }

    /// Adds a text to the model, once.
    fn add_text(&self, media_type: &str, text: &str, making: &mut Making) -> Result<()> {
        if text.len() as u64 > MAX_TEXT_BYTES {
            return Err(Error::CannotMake("a text of the model is larger than 1 MiB".to_owned()));
        }
        let is_new = !self.has_blob(&Digest::of(text.as_bytes()));
        let layer = self.write_text(media_type, text, making)?;
        let is_there =
            |other: &Layer| other.media_type == media_type && other.digest == layer.digest;
        making.tell(CreateStep::Layer { digest: layer.digest, is_new })?;
        if !making.layers.iter().any(is_there) {
            making.layers.push(layer);
        }
        Ok(())
    }

    /// The files under their names, in a folder that goes when it is dropped.
    fn folder_of(&self, files: &HashMap<String, Digest>) -> Result<tempfile::TempDir> {
        let doing = || "write into the model store".to_owned();
        if files.len() > MAX_FILES {
            return Err(Error::BadManifest(format!("more than {MAX_FILES} files")));
        }
        let folder = tempfile::TempDir::new_in(&self.root).doing(doing)?;
        for (name, digest) in files {
            if !is_file_name(name) {
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

    fn write_text(&self, media_type: &str, text: &str, making: &mut Making) -> Result<Layer> {
        let blobs = self.root.join("blobs");
        making.pins.push(self.pin([Digest::of(text.as_bytes())]));
        let (digest, bytes) =
            write_blob(&blobs, &mut text.as_bytes(), &mut |_| ControlFlow::Continue(()))?;
        self.keep_written(digest, making)?;
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

impl Making<'_> {
    fn tell(&mut self, step: CreateStep) -> Result<()> {
        match (self.on_step)(step) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }
}

#[cfg(test)]
mod tests;
