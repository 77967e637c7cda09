//! Brings a local model into the store: check, copy while hashing, make durable, then name it.
//!
//! A model is listed only after every byte of it is on the disk: blobs are written to a temporary
//! file, synced and renamed, and the manifest comes last.

use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use hearth_formats::{
    ChatFamily, FLAT_POOLING_FILE, ModelFile, TokenizerSource, Weights, fills_gaps,
};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::error::{Doing, Error, Result};
use crate::manifest::{Description, FOLDER_FILE_TYPE, GGUF_TYPE, Layer};

/// How far an import is; the callback may stop it with `Break`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub done_bytes: u64,
    pub total_bytes: u64,
}

/// Called after every copied megabyte.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// A checked model and the files that make it up.
pub(crate) struct Candidate {
    pub(crate) description: Description,
    pub(crate) template: FoundTemplate,
    /// Path, name in the folder (for a folder), media type.
    files: Vec<(PathBuf, Option<String>, &'static str)>,
    total_bytes: u64,
}

/// Where the words come from in which a model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoundTemplate {
    /// From the model itself, or it makes vectors and is asked nothing.
    Own,
    /// It has none; its vocabulary is that of this family.
    Family(&'static str),
    /// Nothing tells: lines of `role: text` are written.
    Nowhere,
}

impl FoundTemplate {
    fn of(model: &ModelFile) -> FoundTemplate {
        if model.shape.encoder.is_some() || own_template(&model.tokenizer).is_some() {
            return FoundTemplate::Own;
        }
        match ChatFamily::of(&model.tokenizer) {
            Some(family) => FoundTemplate::Family(family.name),
            None => FoundTemplate::Nowhere,
        }
    }
}

/// Files of a Hugging Face folder that are kept if they are there, besides the weights.
pub const FOLDER_FILES: [&str; 9] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "modules.json",
    "sentence_bert_config.json",
    FLAT_POOLING_FILE,
];
/// The file in a folder of its own that is kept flat, as [`FLAT_POOLING_FILE`].
pub const POOLING_FILE: &str = "1_Pooling/config.json";

impl Candidate {
    /// Checks the file or folder without loading it.
    pub(crate) fn check(path: &Path, now: i64) -> Result<Candidate> {
        let metadata = path.metadata().doing(|| format!("open {}", path.display()))?;
        let is_folder = metadata.is_dir();
        if is_folder && !path.join("config.json").is_file() {
            return Err(Error::NotAModel { path: path.display().to_string() });
        }
        let model = ModelFile::open(path)?;
        let files = if is_folder {
            let Weights::Files(weights) = &model.weights else {
                return Err(Error::NotAModel { path: path.display().to_string() });
            };
            let weights = weights.iter().filter_map(|weights| {
                let name = weights.file_name()?.to_str()?;
                Some((weights.clone(), Some(name.to_owned()), FOLDER_FILE_TYPE))
            });
            let others = FOLDER_FILES.iter().filter_map(|name| {
                let file = path.join(name);
                file.is_file().then(|| (file, Some((*name).to_owned()), FOLDER_FILE_TYPE))
            });
            let pooling = path.join(POOLING_FILE);
            let pooling = pooling
                .is_file()
                .then(|| (pooling, Some(FLAT_POOLING_FILE.to_owned()), FOLDER_FILE_TYPE));
            // Of two files of one name the folder's own counts, as it did in the check.
            others
                .filter(|(_, name, _)| {
                    pooling.is_none() || name.as_deref() != Some(FLAT_POOLING_FILE)
                })
                .chain(pooling.clone())
                .chain(weights)
                .collect()
        } else {
            vec![(path.to_owned(), None, GGUF_TYPE)]
        };
        let mut total_bytes = 0;
        for (file, ..) in &files {
            total_bytes += file.metadata().doing(|| format!("open {}", file.display()))?.len();
        }
        let (description, template) = (Description::of(&model, now), FoundTemplate::of(&model));
        Ok(Candidate { description, template, files, total_bytes })
    }

    /// Copies every file into `blobs`. Each one that is there is in `layers`, also if it fails.
    pub(crate) fn copy_into(
        &self,
        blobs: &Path,
        layers: &mut Vec<Layer>,
        on_progress: OnProgress<'_>,
    ) -> Result<()> {
        let mut copied = Progress { done_bytes: 0, total_bytes: self.total_bytes };
        for (path, name, media_type) in &self.files {
            let mut source = File::open(path).doing(|| format!("open {}", path.display()))?;
            let (digest, bytes) = write_blob(blobs, &mut source, &mut |chunk_bytes| {
                copied.done_bytes += chunk_bytes;
                on_progress(copied)
            })?;
            layers.push(Layer {
                media_type: (*media_type).to_owned(),
                digest,
                bytes,
                name: name.clone(),
            });
        }
        Ok(())
    }
}

impl Description {
    /// What a list shows of a checked model.
    pub(crate) fn of(model: &ModelFile, now: i64) -> Description {
        let template = chat_template(&model.tokenizer);
        Description {
            model_format: model.format.label().to_owned(),
            model_family: model.shape.architecture.name().to_owned(),
            file_type: model.quantization().to_owned(),
            parameters: model.parameters(),
            context_length: model.shape.context_tokens as u64,
            has_chat_template: template.is_some(),
            capabilities: capabilities(model, template.as_deref()),
            created_at: now,
        }
    }

    /// Adds what a template in Go's notation that comes beside the model has a place for.
    pub(crate) fn learn_from(&mut self, template: &str) {
        self.has_chat_template = true;
        let places = [("tools", ".Tools"), ("thinking", ".Thinking"), ("insert", ".Suffix")];
        let is_encoder = self.capabilities.iter().any(|known| known == "embedding");
        for (name, _) in places.into_iter().filter(|(_, field)| template.contains(field)) {
            if !is_encoder && !self.capabilities.iter().any(|known| known == name) {
                self.capabilities.push(name.to_owned());
            }
        }
    }
}

/// Writes `source` as a blob: temporary file beside it, sync, rename. Returns digest and size.
pub(crate) fn write_blob(
    blobs: &Path,
    source: &mut dyn Read,
    on_chunk: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<(Digest, u64)> {
    let doing = || "write a blob into the model store".to_owned();
    let mut file = tempfile::NamedTempFile::new_in(blobs).doing(doing)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = source.read(&mut chunk).doing(|| "read the model".to_owned())?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
        file.write_all(&chunk[..read]).doing(doing)?;
        bytes += read as u64;
        if on_chunk(read as u64).is_break() {
            return Err(Error::Cancelled);
        }
    }
    let digest = Digest::finish(hasher);
    persist(file, &blobs.join(digest.file_name()))?;
    Ok((digest, bytes))
}

/// Makes a temporary file durable under its final name.
pub(crate) fn persist(file: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    let doing = || format!("write {}", path.display());
    file.as_file().sync_all().doing(doing)?;
    file.persist(path).map_err(|error| error.error).doing(doing)?;
    // The rename itself is durable only once the directory is.
    let parent = path.parent().expect("a file in the store has a parent");
    File::open(parent).and_then(|directory| directory.sync_all()).doing(doing)
}

/// How a chat is written down for the model: as it says itself, or as its family does.
pub(crate) fn chat_template(source: &TokenizerSource) -> Option<String> {
    let family = || ChatFamily::of(source).map(|family| family.template.to_owned());
    own_template(source).or_else(family)
}

/// The same, as the model says itself.
fn own_template(source: &TokenizerSource) -> Option<String> {
    match source {
        TokenizerSource::Gguf(metadata) => match metadata.get("tokenizer.chat_template")? {
            hearth_formats::gguf::Value::String(text) => Some(text.clone()),
            _ => Some(String::new()),
        },
        TokenizerSource::HuggingFace(texts) => {
            let listed = || texts.tokenizer_config.get("chat_template");
            texts.chat_template.clone().or_else(|| {
                // A list of templates is searched as the text that it is.
                listed()
                    .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            })
        }
    }
}

/// What a model can do, as far as its shape and template tell.
fn capabilities(model: &ModelFile, template: Option<&str>) -> Vec<String> {
    if model.shape.encoder.is_some() {
        return vec!["embedding".to_owned()];
    }
    let template = template.unwrap_or_default();
    let thinks = ["</think>", "[/THINK]", "</seed:think>", "<|END_THINKING|>"];
    let all = [
        ("completion", true),
        ("tools", template.contains("tools")),
        ("thinking", thinks.iter().any(|mark| template.contains(mark))),
        ("insert", fills_gaps(&model.tokenizer)),
    ];
    all.into_iter().filter(|(_, can)| *can).map(|(name, _)| name.to_owned()).collect()
}
