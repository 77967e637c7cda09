//! What can go wrong with kept model files, named by what the caller can do about it.

use crate::name::ModelName;

/// Result of this room.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of the model library.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{name}` is not a model name: {reason}")]
    BadName { name: String, reason: &'static str },
    #[error("model `{0}` is not in the library")]
    NotFound(ModelName),
    #[error("model `{0}` exists already; remove it first or choose another name")]
    Exists(ModelName),
    #[error("model `{0}` is built into Hearth and cannot be changed")]
    Builtin(ModelName),
    /// The file is damaged, hostile or unsupported; the reason names the tensor or key.
    #[error("this model cannot be used: {0}")]
    BadModel(#[from] hearth_formats::Error),
    #[error("`{path}` is neither a GGUF file nor a folder with config.json and .safetensors files")]
    NotAModel { path: String },
    #[error("a manifest or digest is damaged: {0}")]
    BadManifest(String),
    /// A file that was to be sent before it is used.
    #[error("blob \"{0}\" not found")]
    NoBlob(crate::digest::Digest),
    /// What a new model is to be made of does not go together.
    #[error("{0}")]
    CannotMake(String),
    /// Known before the first byte is written.
    #[error(
        "this needs {need_bytes} bytes of disk, {free_bytes} are free; make room and try again"
    )]
    NoRoom { need_bytes: u64, free_bytes: u64 },
    #[error("the import was cancelled")]
    Cancelled,
    #[error("the archive cannot be used: {0}")]
    BadArchive(String),
    #[error("the network cannot be used: {0}")]
    Network(String),
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
}

/// Adds what was being done to an I/O error.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { doing: what(), source })
    }
}
