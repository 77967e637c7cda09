//! Opens a Hugging Face folder: `config.json`, one or many safetensors files, tokenizer texts.
//!
//! A folder may have one file of quantised weights in place of the safetensors files. It is a GGUF
//! file in form, because safetensors knows no such blocks, with the folder's own names of tensors.
//!
//! Every file must be a regular file that lies in the folder itself: a name or a link that leads
//! out of it is refused, so that importing a folder never reads what its maker does not own.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::architecture::{self, EncoderFiles};
use crate::error::{Error, Result, shown};
use crate::expected::{self, Naming};
use crate::gguf::{Header, MAX_TENSORS};
use crate::model_file::{ModelFile, ModelFormat, TensorLocation, TokenizerSource, Weights};
use crate::safetensors;

/// Most files the weights may be spread over.
const MAX_SHARDS: usize = 1024;

// The largest texts of each kind that are read; real ones have about a quarter of this.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
const MAX_INDEX_BYTES: u64 = 16 << 20;
const MAX_TOKENIZER_BYTES: u64 = 64 << 20;
const MAX_TOKENIZER_CONFIG_BYTES: u64 = 4 << 20;
const MAX_TEMPLATE_BYTES: u64 = 1 << 20;

/// Where sentence-transformers say how vectors are pooled: in `config.json` of this folder.
const POOLING_FOLDER: &str = "1_Pooling";
/// The same file where folders have no folders in them.
pub const FLAT_POOLING_FILE: &str = "1_Pooling_config.json";

/// Quantised weights, which stand in for all others.
pub const QUANTIZED_FILE: &str = "model.quantized.gguf";

const SINGLE_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";

/// The texts of a folder that the tokenizer and chat template are built from.
#[derive(Clone, Debug, Default)]
pub struct HuggingFaceTexts {
    /// `tokenizer.json`, not yet parsed.
    pub tokenizer: String,
    /// `tokenizer_config.json`; empty when there is none.
    pub tokenizer_config: Map<String, Value>,
    /// `chat_template.jinja`.
    pub chat_template: Option<String>,
    /// Ids that end an answer, from `config.json` and `generation_config.json`.
    pub eos_ids: Vec<u32>,
}

/// A folder whose true place is known, so that escapes from it can be seen.
struct Folder {
    root: PathBuf,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

pub(super) fn open(path: &Path) -> Result<ModelFile> {
    let root = path.canonicalize().map_err(|source| Error::io(path, source))?;
    let folder = Folder { root };
    let config = folder.json("config.json", MAX_CONFIG_BYTES)?;
    let mut shape = architecture::from_config(&config)?;
    let (files, mut found, size_bytes) = folder.weights()?;
    let mut naming = Naming::HuggingFace;
    if shape.encoder.is_some() {
        folder.encoder_files()?.apply(&mut shape)?;
        (naming, found) = expected::plain_names(&shape, found)?;
    } else if architecture::sees_images(&config) {
        found = decoder_tensors(found)?;
    }
    let mut tensors = expected::check(&shape, naming, found)?;
    if shape.tied_embeddings {
        tensors.remove(&expected::TensorRole::Output);
    }
    Ok(ModelFile {
        format: ModelFormat::Safetensors,
        tensors,
        shape,
        weights: Weights::Files(files),
        tokenizer: TokenizerSource::HuggingFace(folder.texts(&config)?),
        size_bytes,
    })
}

/// The tensors of a decoder that stands beside an encoder of images, under the names that it has
/// alone, without those of the other parts.
fn decoder_tensors(
    found: HashMap<String, TensorLocation>,
) -> Result<HashMap<String, TensorLocation>> {
    let mut own = HashMap::new();
    for (name, location) in found {
        // Since transformers 5 the parts stand below `model.`; before, it was the other way round.
        let whole = name.strip_prefix("model.").unwrap_or(&name);
        if whole.starts_with("vision_tower.") || whole.starts_with("multi_modal_projector.") {
            continue;
        }
        let short = match name.strip_prefix("model.language_model.") {
            Some(part) => format!("model.{part}"),
            None => name.strip_prefix("language_model.").unwrap_or(&name).to_owned(),
        };
        if own.insert(short, location).is_some() {
            return Err(Error::tensor(&name, "appears under two names"));
        }
    }
    Ok(own)
}

/// Paths of the weight files, their tensors by name, and their bytes together.
type FoundWeights = (Vec<PathBuf>, HashMap<String, TensorLocation>, u64);

impl Folder {
    fn weights(&self) -> Result<FoundWeights> {
        if self.root.join(QUANTIZED_FILE).symlink_metadata().is_ok() {
            return self.quantized();
        }
        let index = self.optional_text(INDEX_FILE, MAX_INDEX_BYTES)?;
        let Some(index) = index else {
            let mut found = HashMap::new();
            let (path, size_bytes) = self.shard(0, SINGLE_FILE, &mut found, None)?;
            return Ok((vec![path], found, size_bytes));
        };
        let index: Index = serde_json::from_str(&index)
            .map_err(|problem| Error::Damaged(format!("{INDEX_FILE}: {problem}")))?;
        let mut shards: Vec<&str> = index.weight_map.values().map(String::as_str).collect();
        shards.sort_unstable();
        shards.dedup();
        if shards.len() > MAX_SHARDS {
            return Err(Error::Damaged(format!("{INDEX_FILE} names over {MAX_SHARDS} files")));
        }
        let (mut paths, mut found, mut size_bytes) = (Vec::new(), HashMap::new(), 0u64);
        for (file, name) in shards.into_iter().enumerate() {
            let (path, bytes) = self.shard(file, name, &mut found, Some(&index))?;
            paths.push(path);
            size_bytes = size_bytes.saturating_add(bytes);
        }
        if let Some(missing) = index.weight_map.keys().find(|name| !found.contains_key(*name)) {
            return Err(Error::tensor(missing, "is in the index but not in its file"));
        }
        Ok((paths, found, size_bytes))
    }

    fn quantized(&self) -> Result<FoundWeights> {
        let path = self.member(QUANTIZED_FILE)?;
        let mut reader = File::open(&path).map_err(|source| Error::io(&path, source))?;
        let size_bytes = reader.metadata().map_err(|source| Error::io(&path, source))?.len();
        let tensors = Header::read(&mut reader, size_bytes)?.tensors.into_iter();
        let found = tensors.map(|tensor| {
            let (offset, bytes) = (tensor.offset, tensor.bytes);
            let (kind, shape) = (tensor.kind, tensor.shape);
            (tensor.name, TensorLocation { file: 0, offset, bytes, kind, shape })
        });
        Ok((vec![path], found.collect(), size_bytes))
    }

    /// Adds the tensors of one weight file to `found`.
    fn shard(
        &self,
        file: usize,
        name: &str,
        found: &mut HashMap<String, TensorLocation>,
        index: Option<&Index>,
    ) -> Result<(PathBuf, u64)> {
        let path = self.member(name)?;
        let mut reader = File::open(&path).map_err(|source| Error::io(&path, source))?;
        let size_bytes = reader.metadata().map_err(|source| Error::io(&path, source))?.len();
        for tensor in safetensors::read_header(&mut reader, size_bytes)? {
            let planned = index.map(|index| index.weight_map.get(&tensor.name).map(String::as_str));
            if planned.is_some_and(|planned| planned != Some(name)) {
                let problem = format!("lies in {} against the index", shown(name));
                return Err(Error::tensor(&tensor.name, problem));
            }
            let (offset, bytes) = (tensor.offset, tensor.bytes);
            let location =
                TensorLocation { file, offset, bytes, kind: tensor.kind, shape: tensor.shape };
            if found.insert(tensor.name.clone(), location).is_some() {
                return Err(Error::tensor(&tensor.name, "appears in two files"));
            }
        }
        if found.len() as u64 > MAX_TENSORS {
            return Err(Error::Damaged(format!("more than {MAX_TENSORS} tensors")));
        }
        Ok((path, size_bytes))
    }

    fn texts(&self, config: &Map<String, Value>) -> Result<HuggingFaceTexts> {
        let mut eos_ids = architecture::eos_ids(config)?;
        if let Some(generation) = self.optional_json("generation_config.json", MAX_CONFIG_BYTES)? {
            eos_ids.extend(architecture::eos_ids(&generation)?);
        }
        eos_ids.sort_unstable();
        eos_ids.dedup();
        Ok(HuggingFaceTexts {
            tokenizer: self.text("tokenizer.json", MAX_TOKENIZER_BYTES)?,
            tokenizer_config: self
                .optional_json("tokenizer_config.json", MAX_TOKENIZER_CONFIG_BYTES)?
                .unwrap_or_default(),
            chat_template: self.optional_text("chat_template.jinja", MAX_TEMPLATE_BYTES)?,
            eos_ids,
        })
    }

    fn encoder_files(&self) -> Result<EncoderFiles> {
        // The library keeps folders flat, under the second name.
        let inner = self.inner(POOLING_FOLDER)?;
        let pooling = match inner {
            Some(inner) => inner.optional_json("config.json", MAX_CONFIG_BYTES)?,
            None => self.optional_json(FLAT_POOLING_FILE, MAX_CONFIG_BYTES)?,
        };
        let modules = self.optional_text("modules.json", MAX_CONFIG_BYTES)?;
        let modules = modules.map(|text| serde_json::from_str(&text)).transpose();
        Ok(EncoderFiles {
            modules: modules
                .map_err(|problem| Error::Damaged(format!("modules.json: {problem}")))?,
            pooling,
            sentences: self.optional_json("sentence_bert_config.json", MAX_CONFIG_BYTES)?,
        })
    }

    /// A folder that lies in this one, if it is there.
    fn inner(&self, name: &str) -> Result<Option<Folder>> {
        let path = self.root.join(name);
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let root = path.canonicalize().map_err(|source| Error::io(&path, source))?;
        if root != path {
            return Err(Error::Damaged(format!("`{name}` is a link that leads out of the folder")));
        }
        Ok(Some(Folder { root }))
    }

    /// The path of a file that lies in this folder, by its plain name.
    fn member(&self, name: &str) -> Result<PathBuf> {
        let plain =
            !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0']);
        if !plain {
            let problem = format!("`{}` is not the name of a file in the folder", shown(name));
            return Err(Error::Damaged(problem));
        }
        let path = self.root.join(name);
        let true_path = path.canonicalize().map_err(|source| Error::io(&path, source))?;
        if true_path.parent() != Some(&self.root) {
            let problem = format!("`{}` is a link that leads out of the folder", shown(name));
            return Err(Error::Damaged(problem));
        }
        let about = true_path.metadata().map_err(|source| Error::io(&path, source))?;
        if !about.is_file() {
            return Err(Error::Damaged(format!("`{}` is not a regular file", shown(name))));
        }
        Ok(true_path)
    }

    fn text(&self, name: &str, limit_bytes: u64) -> Result<String> {
        let path = self.member(name)?;
        let file = File::open(&path).map_err(|source| Error::io(&path, source))?;
        let mut bytes = Vec::new();
        // One byte more than allowed tells a file at the limit from one beyond it.
        file.take(limit_bytes + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| Error::io(&path, source))?;
        if bytes.len() as u64 > limit_bytes {
            return Err(Error::Damaged(format!("{name} is larger than {limit_bytes} bytes")));
        }
        String::from_utf8(bytes).map_err(|_| Error::Damaged(format!("{name} is not UTF-8")))
    }

    fn optional_text(&self, name: &str, limit_bytes: u64) -> Result<Option<String>> {
        // A dangling link is present, and an error.
        if self.root.join(name).symlink_metadata().is_err() {
            return Ok(None);
        }
        self.text(name, limit_bytes).map(Some)
    }

    fn json(&self, name: &str, limit_bytes: u64) -> Result<Map<String, Value>> {
        serde_json::from_str(&self.text(name, limit_bytes)?)
            .map_err(|problem| Error::Damaged(format!("{name}: {problem}")))
    }

    fn optional_json(&self, name: &str, limit_bytes: u64) -> Result<Option<Map<String, Value>>> {
        let Some(text) = self.optional_text(name, limit_bytes)? else { return Ok(None) };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|problem| Error::Damaged(format!("{name}: {problem}")))
    }
}
