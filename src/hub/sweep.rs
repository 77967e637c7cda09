//! Clears away what a process that died left in the store: half-written files, and blobs and
//! folders of links that no manifest refers to.
//!
//! It touches only names that the library gives, and nothing young: another program may be
//! bringing a model into the same store.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::Digest;

/// What was written later than this is left alone.
const GRACE: Duration = Duration::from_secs(60 * 60);
/// How the names of temporary files begin (`tempfile`'s default).
const TEMPORARY: &str = ".tmp";

/// Paths that manifests refer to.
#[derive(Default)]
pub(crate) struct Used {
    pub(crate) blobs: BTreeSet<PathBuf>,
    pub(crate) folders: BTreeSet<PathBuf>,
}

/// Deletes what is left over in the store at `root`. A failure only leaves it lying.
pub(crate) fn sweep(root: &Path, used: &Used) {
    for path in old_paths(root).filter(|path| is_temporary(path)) {
        note(&path, fs::remove_file(&path));
    }
    for path in old_paths(&root.join("blobs")) {
        if is_temporary(&path) || (is_of_digest(&path) && !used.blobs.contains(&path)) {
            note(&path, fs::remove_file(&path));
        }
    }
    for path in old_paths(&root.join("folders")) {
        if is_of_digest(&path) && !used.folders.contains(&path) {
            note(&path, fs::remove_dir_all(&path));
        }
    }
}

/// What is in a folder and has not been written to for a while.
fn old_paths(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| {
        let age = entry.metadata().ok()?.modified().ok()?.elapsed().ok()?;
        (age > GRACE).then(|| entry.path())
    })
}

fn is_temporary(path: &Path) -> bool {
    name_of(path).starts_with(TEMPORARY)
}

/// Whether the name is `sha256-` and 64 digits: others are not the library's.
fn is_of_digest(path: &Path) -> bool {
    Digest::parse(&name_of(path).replacen('-', ":", 1)).is_ok()
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn note(path: &Path, removed: std::io::Result<()>) {
    let path = path.display();
    match removed {
        Ok(()) => tracing::info!(%path, "removed what an ended import left in the model store"),
        Err(error) => tracing::warn!(%path, %error, "a leftover of an import stays"),
    }
}
