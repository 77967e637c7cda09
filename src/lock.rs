//! One process per data directory: a lock on `hearth.lock`, and beside it how to reach the server
//! that holds it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The lock on a data directory; released on drop, also when the process dies.
pub struct DataLock {
    directory: PathBuf,
    _file: File,
}

/// Who has the data directory.
pub enum LockState {
    Ours(DataLock),
    /// Another process; `Some` if it is a server that takes commands.
    Taken(Option<Control>),
}

/// How commands on this machine reach the server. The file can be read by its owner alone.
#[derive(Clone, Serialize, Deserialize)]
pub struct Control {
    pub url: String,
    pub token: String,
}

impl DataLock {
    /// Creates the directory if need be, and takes the lock without waiting.
    pub fn acquire(directory: &Path) -> Result<LockState> {
        create_private_directory(directory)?;
        let path = directory.join("hearth.lock");
        let file = private_file()
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {
                // A server that died leaves its address behind; nobody may follow it.
                fs::remove_file(control_path(directory)).ok();
                Ok(LockState::Ours(DataLock { directory: directory.to_owned(), _file: file }))
            }
            Err(TryLockError::WouldBlock) => {
                let control = fs::read(control_path(directory)).ok();
                let control = control.and_then(|text| serde_json::from_slice(&text).ok());
                Ok(LockState::Taken(control))
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// Says where commands reach this server.
    pub fn announce(&self, control: &Control) -> Result<()> {
        let path = control_path(&self.directory);
        let doing = || format!("cannot write {}", path.display());
        // Renamed into place, so that nobody reads half of it.
        let unfinished = path.with_extension("unfinished");
        let mut file = private_file().open(&unfinished).with_context(doing)?;
        file.set_len(0).with_context(doing)?;
        file.write_all(&serde_json::to_vec(control)?).with_context(doing)?;
        fs::rename(&unfinished, &path).with_context(doing)
    }
}

impl Drop for DataLock {
    fn drop(&mut self) {
        fs::remove_file(control_path(&self.directory)).ok();
    }
}

fn control_path(directory: &Path) -> PathBuf {
    directory.join("control.json")
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Creates the data directory for its owner alone.
fn create_private_directory(directory: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(directory)
        .with_context(|| format!("cannot create the data directory {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_how_to_reach_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let LockState::Ours(lock) = DataLock::acquire(folder.path()).unwrap() else {
            panic!("the first takes it")
        };
        assert!(matches!(DataLock::acquire(folder.path()).unwrap(), LockState::Taken(None)));
        let control = Control { url: "http://127.0.0.1:1".into(), token: "secret".into() };
        lock.announce(&control).unwrap();
        let LockState::Taken(Some(found)) = DataLock::acquire(folder.path()).unwrap() else {
            panic!("the second finds the first")
        };
        assert_eq!((found.url, found.token), (control.url, control.token));
        drop(lock);
        assert!(matches!(DataLock::acquire(folder.path()).unwrap(), LockState::Ours(_)));
        assert!(!folder.path().join("control.json").exists());
    }
}
