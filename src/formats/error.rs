//! What can be wrong with a model file, said so that the owner of the file can act on it.

use std::path::Path;

/// Why a model file was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system could not give us the bytes.
    #[error("cannot read {path}: {source}")]
    Io { path: String, source: std::io::Error },
    /// The file's structure is broken or lies about itself.
    #[error("the file is damaged or was made to mislead: {0}")]
    Damaged(String),
    /// A tensor is missing, misplaced, misshapen or of a kind that is not supported.
    #[error("tensor `{name}`: {problem}")]
    Tensor { name: String, problem: String },
    /// A metadata key or configuration field is missing or out of range.
    #[error("key `{key}`: {problem}")]
    Key { key: String, problem: String },
    /// The file is sound, but this program cannot run it.
    #[error("{0}")]
    Unsupported(String),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Error {
        Error::Io { path: path.display().to_string(), source }
    }

    pub(crate) fn tensor(name: &str, problem: impl Into<String>) -> Error {
        Error::Tensor { name: shown(name), problem: problem.into() }
    }

    pub(crate) fn key(key: &str, problem: impl Into<String>) -> Error {
        Error::Key { key: shown(key), problem: problem.into() }
    }
}

/// Longest part of a name from a file that an error repeats, in characters.
const SHOWN_CHARS: usize = 96;

/// A name from an untrusted file, made fit for a log line: escaped, and cut when very long.
pub(crate) fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN_CHARS).is_some() {
        text.push('…');
    }
    text
}
