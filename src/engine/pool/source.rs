//! Where a model comes from.

use std::path::PathBuf;

use hearth_formats::ModelFile;

use crate::error::Result;

/// Where a model's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A GGUF file or a Hugging Face folder.
    Path(PathBuf),
    /// A GGUF file that is part of the binary.
    Static(&'static [u8]),
}

impl Source {
    /// Checks the files.
    pub(super) fn open(&self) -> Result<ModelFile> {
        Ok(match self {
            Source::Path(path) => ModelFile::open(path)?,
            Source::Static(bytes) => ModelFile::from_static(bytes)?,
        })
    }
}

/// A model's files, and those of the one that guesses for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sources {
    pub(super) model: Source,
    pub(super) draft: Option<Source>,
}
