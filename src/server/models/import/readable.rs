//! Whether the files of an import can be read: if not, the operator can mend it, not the server.

use std::fs::{self, File, FileType};
use std::io;
use std::path::Path;

use axum::http::StatusCode;

use crate::error::{Failure, Result};

/// Endings of the files in a folder that an import reads.
const READ_ENDINGS: [&str; 3] = ["json", "jinja", "safetensors"];

/// Refuses, by path and reason, what cannot be opened and what is neither a plain file nor a
/// folder of such: opening a pipe would wait for its other end.
pub(in crate::models) fn check(path: &Path) -> Result<()> {
    if !kind(path)?.is_dir() {
        return open(path);
    }
    for entry in fs::read_dir(path).map_err(|error| failed(path, &error))? {
        let file = entry.map_err(|error| failed(path, &error))?.path();
        let ending = file.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| READ_ENDINGS.contains(&ending)) && !kind(&file)?.is_dir() {
            open(&file)?;
        }
    }
    Ok(())
}

fn kind(path: &Path) -> Result<FileType> {
    let kind = fs::metadata(path).map_err(|error| failed(path, &error))?.file_type();
    if kind.is_file() || kind.is_dir() {
        return Ok(kind);
    }
    Err(not_readable(path, "it is neither a plain file nor a folder"))
}

fn open(path: &Path) -> Result<()> {
    File::open(path).map(drop).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    not_readable(path, &error.to_string())
}

fn not_readable(path: &Path, reason: &str) -> Failure {
    Failure::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "not_readable",
        format!("{} cannot be read: {reason}.", path.display()),
    )
}
