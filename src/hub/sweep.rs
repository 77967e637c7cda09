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
/// Unfinished files of pulls are kept for as long: the next try goes on with them.
const PARTIAL_GRACE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How the names of temporary files begin (`tempfile`'s default).
const TEMPORARY: &str = ".tmp";

/// Paths that manifests refer to.
#[derive(Default)]
pub(crate) struct Used {
    pub(crate) blobs: BTreeSet<PathBuf>,
    pub(crate) folders: BTreeSet<PathBuf>,
    /// What cannot be read may refer to anything: then only what no manifest ever names is swept.
    pub(crate) broken: Vec<BrokenManifest>,
}

/// A manifest that cannot be read, or one under a name that no model has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenManifest {
    pub path: PathBuf,
    pub problem: String,
}

/// What a sweep has deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub files: u64,
    pub bytes: u64,
}

impl Used {
    /// With these blobs as well.
    pub(crate) fn with(mut self, blobs: impl Iterator<Item = PathBuf>) -> Used {
        self.blobs.extend(blobs);
        self
    }
}

/// Deletes what is left over in the store at `root`. A failure only leaves it lying.
pub(crate) fn sweep(root: &Path, used: &Used) -> Removed {
    let mut removed = Removed::default();
    for path in old_paths(root, GRACE).filter(|path| is_temporary(path)) {
        removed.remove_file(&path);
    }
    let blobs = root.join("blobs");
    let is_known = used.broken.is_empty();
    for path in old_paths(&blobs, GRACE) {
        let is_unused = is_known && is_of_digest(&path) && !used.blobs.contains(&path);
        if is_temporary(&path) || is_unused {
            removed.remove_file(&path);
        }
    }
    for path in old_paths(&root.join("partial"), PARTIAL_GRACE) {
        // One that a pull under way writes to is young, unless it has hung for a week.
        let is_used = path.file_stem().is_some_and(|name| used.blobs.contains(&blobs.join(name)));
        if !is_used {
            removed.remove_file(&path);
        }
    }
    for path in old_paths(&root.join("folders"), GRACE) {
        if is_known && is_of_digest(&path) && !used.folders.contains(&path) {
            note(&path, fs::remove_dir_all(&path));
        }
    }
    removed
}

impl Removed {
    fn remove_file(&mut self, path: &Path) {
        let bytes = path.metadata().map_or(0, |about| about.len());
        let removed = fs::remove_file(path);
        if removed.is_ok() {
            self.files += 1;
            self.bytes += bytes;
        }
        note(path, removed);
    }
}

/// What is in a folder and has not been written to for a while.
fn old_paths(folder: &Path, grace: Duration) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().filter_map(move |entry| {
        let age = entry.metadata().ok()?.modified().ok()?.elapsed().ok()?;
        (age > grace).then(|| entry.path())
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
