//! The checked whole: one model, from a GGUF file, a Hugging Face folder or the binary itself.

mod folder;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use crate::architecture::{self, ModelShape};
use crate::error::{Error, Result};
use crate::expected::{self, Naming, TensorRole};
use crate::gguf::{Header, Metadata};
use crate::tensor::TensorKind;

pub use folder::{FLAT_POOLING_FILE, HuggingFaceTexts, QUANTIZED_FILE};

/// A model whose header has been checked against its architecture.
#[derive(Clone, Debug)]
pub struct ModelFile {
    pub format: ModelFormat,
    pub shape: ModelShape,
    /// Every tensor that the model runs with; present or absent as `shape` says.
    pub tensors: BTreeMap<TensorRole, TensorLocation>,
    pub weights: Weights,
    pub tokenizer: TokenizerSource,
    /// All weight files together.
    pub size_bytes: u64,
}

/// How a model is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelFormat {
    Gguf,
    Safetensors,
}

/// Where the tensors' data is.
#[derive(Clone, Debug)]
pub enum Weights {
    /// [`TensorLocation::file`] counts these.
    Files(Vec<PathBuf>),
    /// One GGUF file inside the binary.
    Static(&'static [u8]),
}

/// What a tokenizer and chat template are built from.
#[derive(Clone, Debug)]
pub enum TokenizerSource {
    Gguf(Metadata),
    HuggingFace(HuggingFaceTexts),
}

/// Where one tensor's data is, and its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorLocation {
    /// Index into [`Weights::Files`]; 0 for [`Weights::Static`].
    pub file: usize,
    /// From the start of that file.
    pub offset: u64,
    pub bytes: u64,
    pub kind: TensorKind,
    /// Outermost dimension first.
    pub shape: Vec<u64>,
}

impl ModelFormat {
    /// The name used in answers of the API.
    pub fn label(self) -> &'static str {
        match self {
            ModelFormat::Gguf => "gguf",
            ModelFormat::Safetensors => "safetensors",
        }
    }
}

impl TensorLocation {
    /// This tensor's bytes in its file's content; `None` if the file has shrunk since the check.
    pub fn data<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        let start = usize::try_from(self.offset).ok()?;
        let end = start.checked_add(usize::try_from(self.bytes).ok()?)?;
        file.get(start..end)
    }

    /// Numbers in the tensor.
    pub fn elements(&self) -> u64 {
        // Checked when the header was read.
        self.shape.iter().product()
    }
}

impl ModelFile {
    /// Checks a GGUF file, or a folder with `config.json`, safetensors and tokenizer.
    pub fn open(path: &Path) -> Result<ModelFile> {
        let about = std::fs::metadata(path).map_err(|source| Error::io(path, source))?;
        if about.is_dir() {
            return folder::open(path);
        }
        // A pipe or device would block the reader or never end.
        if !about.is_file() {
            return Err(Error::Unsupported("a model is a regular file or a folder".into()));
        }
        let mut file = File::open(path).map_err(|source| Error::io(path, source))?;
        let weights = Weights::Files(vec![path.to_path_buf()]);
        ModelFile::from_gguf(&mut file, about.len(), weights)
    }

    /// Checks a GGUF file that is part of the binary.
    pub fn from_static(bytes: &'static [u8]) -> Result<ModelFile> {
        let size_bytes = bytes.len() as u64;
        ModelFile::from_gguf(&mut Cursor::new(bytes), size_bytes, Weights::Static(bytes))
    }

    fn from_gguf(
        reader: &mut (impl Read + Seek),
        size_bytes: u64,
        weights: Weights,
    ) -> Result<ModelFile> {
        let header = Header::read(reader, size_bytes)?;
        if header.metadata.u64("split.count")?.unwrap_or(1) > 1 {
            let problem = "the model is split over several files; merge them first";
            return Err(Error::key("split.count", problem));
        }
        let has = |name: &str| header.tensors.iter().any(|tensor| tensor.name == name);
        let facts = architecture::TensorFacts {
            has_output: has("output.weight"),
            has_qkv_bias: has("blk.0.attn_q.bias"),
            has_long_factors: has("rope_factors_long.weight"),
            has_score: has("cls.output.weight"),
        };
        let shape = architecture::from_metadata(&header.metadata, &facts)?;
        let mut found: HashMap<String, TensorLocation> = header
            .tensors
            .into_iter()
            .map(|tensor| {
                let (offset, bytes) = (tensor.offset, tensor.bytes);
                let (kind, shape) = (tensor.kind, tensor.shape);
                (tensor.name, TensorLocation { file: 0, offset, bytes, kind, shape })
            })
            .collect();
        expected::unstack(&shape, &mut found)?;
        Ok(ModelFile {
            format: ModelFormat::Gguf,
            tensors: expected::check(&shape, Naming::Gguf, found)?,
            shape,
            weights,
            tokenizer: TokenizerSource::Gguf(header.metadata),
            size_bytes,
        })
    }

    /// The place of a tensor, if the model has it.
    pub fn tensor(&self, role: TensorRole) -> Option<&TensorLocation> {
        self.tensors.get(&role)
    }

    /// Numbers in all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors.values().map(TensorLocation::elements).sum()
    }

    /// Bytes of all tensors.
    pub fn weights_bytes(&self) -> u64 {
        self.tensors.values().map(|tensor| tensor.bytes).sum()
    }

    /// The kind that most bytes are stored as, such as `Q8_0`.
    pub fn quantization(&self) -> &'static str {
        let mut bytes: BTreeMap<TensorKind, u64> = BTreeMap::new();
        for tensor in self.tensors.values() {
            *bytes.entry(tensor.kind).or_default() += tensor.bytes;
        }
        bytes.into_iter().max_by_key(|&(_, bytes)| bytes).map_or("", |(kind, _)| kind.label())
    }
}

#[cfg(test)]
mod tests;
