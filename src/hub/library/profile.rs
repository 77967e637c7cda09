//! What a model carries besides its weights, and what its file says of itself.
//!
//! The layers are Ollama's: system text, parameters, messages, template and licences, each a blob.

use std::fs::File;
use std::io::Read;

use hearth_formats::gguf::{Array, Header, Value as GgufValue};
use hearth_formats::{ModelFile, TokenizerSource};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Library, Source};
use crate::error::{Doing, Error, Result};
use crate::import::chat_template;
use crate::manifest::{Layer, Manifest, read_json};
use crate::name::ModelName;

pub(super) const SYSTEM_TYPE: &str = "application/vnd.ollama.image.system";
pub(super) const PARAMETERS_TYPE: &str = "application/vnd.ollama.image.params";
pub(super) const MESSAGES_TYPE: &str = "application/vnd.ollama.image.messages";
pub(super) const TEMPLATE_TYPE: &str = "application/vnd.ollama.image.template";
pub(super) const LICENSE_TYPE: &str = "application/vnd.ollama.image.license";

/// Largest layer of text, in bytes.
pub(super) const MAX_TEXT_BYTES: u64 = 1 << 20;
/// Most layers of text that are read of one model.
const MAX_TEXT_LAYERS: usize = 64;
/// Longest array of a file's metadata that is told unless all is asked for.
const SHORT_ARRAY: usize = 5;

/// What a model carries besides its weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// What every chat begins with, unless it has a system message of its own.
    pub system: Option<String>,
    /// Options in Ollama's words.
    pub parameters: Map<String, Value>,
    /// Said before every chat.
    pub messages: Vec<ProfileMessage>,
    /// In Go's notation.
    pub template: Option<String>,
    /// Ollama asks the model by code of its own: the template beside it is none that was meant.
    pub is_asked_by_code: bool,
    pub licenses: Vec<String>,
}

/// One message that a model carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileMessage {
    pub role: String,
    pub content: String,
}

/// What Ollama writes of a model that has no meaning here but this.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ForeignConfig {
    renderer: String,
}

/// What a model's file says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileFacts {
    /// The metadata, in the order of the file.
    pub metadata: Map<String, Value>,
    /// Name, kind and shape (outermost dimension last, as ggml has it) of each tensor.
    pub tensors: Vec<(String, String, Vec<u64>)>,
    pub chat_template: Option<String>,
}

impl Library {
    /// What a model carries besides its weights.
    pub fn profile(&self, name: &ModelName) -> Result<Profile> {
        let mut profile = Profile::default();
        if self.builtins.contains_key(name) {
            return Ok(profile);
        }
        let stored = self.stored(name).ok_or_else(|| Error::NotFound(name.clone()))?;
        let manifest: Manifest = read_json(&self.manifest_path(&stored))?;
        let config: ForeignConfig =
            read_json(&self.blob_path(&manifest.config.digest)).unwrap_or_default();
        profile.is_asked_by_code = !config.renderer.is_empty();
        for layer in manifest.layers.iter().filter(|layer| is_text(layer)).take(MAX_TEXT_LAYERS) {
            let text = self.read_text(layer)?;
            let wrong = |error: serde_json::Error| Error::BadManifest(error.to_string());
            match layer.media_type.as_str() {
                SYSTEM_TYPE => profile.system = Some(text).filter(|text| !text.is_empty()),
                PARAMETERS_TYPE => {
                    profile.parameters = serde_json::from_str(&text).map_err(wrong)?;
                }
                MESSAGES_TYPE => profile.messages = serde_json::from_str(&text).map_err(wrong)?,
                TEMPLATE_TYPE => profile.template = Some(text),
                _ => profile.licenses.push(text),
            }
        }
        Ok(profile)
    }

    /// Reads the header of the model's file. `is_verbose`: long arrays too.
    pub fn file_facts(&self, name: &ModelName, is_verbose: bool) -> Result<FileFacts> {
        let source = self.source(name)?;
        let model = match &source {
            Source::Path(path) => ModelFile::open(path)?,
            Source::Static(bytes) => ModelFile::from_static(bytes)?,
        };
        let mut facts =
            FileFacts { chat_template: chat_template(&model.tokenizer), ..FileFacts::default() };
        match &model.tokenizer {
            TokenizerSource::Gguf(metadata) => {
                let told = metadata
                    .iter()
                    .filter(|(key, _)| !matches!(*key, "general.name" | "tokenizer.chat_template"));
                facts.metadata =
                    told.map(|(key, value)| (key.to_owned(), printed(value, is_verbose))).collect();
                facts.tensors = tensors(&source)?;
            }
            TokenizerSource::HuggingFace(_) => {
                let architecture = model.shape.architecture.name();
                facts.metadata.insert("general.architecture".to_owned(), architecture.into());
                let key = format!("{architecture}.context_length");
                facts.metadata.insert(key, model.shape.context_tokens.into());
            }
        }
        facts.metadata.insert("general.parameter_count".to_owned(), model.parameters().into());
        Ok(facts)
    }

    /// The template that comes beside a model.
    pub(super) fn template(&self, manifest: &Manifest) -> Result<Option<String>> {
        let layer = manifest.layers.iter().find(|layer| layer.media_type == TEMPLATE_TYPE);
        layer.map(|layer| self.read_text(layer)).transpose()
    }

    fn read_text(&self, layer: &Layer) -> Result<String> {
        let path = self.blob_path(&layer.digest);
        let file = File::open(&path).doing(|| format!("open {}", path.display()))?;
        let mut text = String::new();
        file.take(MAX_TEXT_BYTES + 1)
            .read_to_string(&mut text)
            .doing(|| format!("read {}", path.display()))?;
        if text.len() as u64 > MAX_TEXT_BYTES {
            return Err(Error::BadManifest(format!("{} is larger than 1 MiB", path.display())));
        }
        Ok(text)
    }
}

/// Whether a layer is one of the texts of a [`Profile`].
pub(super) fn is_text(layer: &Layer) -> bool {
    [SYSTEM_TYPE, PARAMETERS_TYPE, MESSAGES_TYPE, TEMPLATE_TYPE, LICENSE_TYPE]
        .contains(&layer.media_type.as_str())
}

fn tensors(source: &Source) -> Result<Vec<(String, String, Vec<u64>)>> {
    let header = match source {
        Source::Path(path) => {
            let doing = || format!("open {}", path.display());
            let mut file = File::open(path).doing(doing)?;
            let bytes = file.metadata().doing(doing)?.len();
            Header::read(&mut file, bytes)?
        }
        Source::Static(bytes) => {
            Header::read(&mut std::io::Cursor::new(bytes), bytes.len() as u64)?
        }
    };
    let tensors = header.tensors.into_iter().map(|tensor| {
        let shape = tensor.shape.iter().rev().copied().collect();
        (tensor.name, tensor.kind.label().to_owned(), shape)
    });
    Ok(tensors.collect())
}

fn printed(value: &GgufValue, is_verbose: bool) -> Value {
    match value {
        GgufValue::Unsigned(number) => json!(number),
        GgufValue::Signed(number) => json!(number),
        GgufValue::Float(number) => json!(number),
        GgufValue::Bool(flag) => json!(flag),
        GgufValue::String(text) => json!(text),
        GgufValue::Array(Array::Strings(texts)) if is_verbose || texts.len() <= SHORT_ARRAY => {
            json!(texts)
        }
        // Numbers of vocabularies: scores and kinds of tokens.
        GgufValue::Array(_) => json!([]),
    }
}
