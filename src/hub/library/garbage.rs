//! Which files of the store nobody refers to, and their end.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Library, lock};
use crate::digest::Digest;
use crate::error::{Doing, Result};
use crate::manifest::{Manifest, read_json};
use crate::sweep::{BrokenManifest, Removed, Used, sweep};

impl Library {
    /// Deletes what a pull, an import or another program has left in the store and no model
    /// needs: blobs, unfinished files and folders, but nothing that is young or that a pull under
    /// way counts on. Tells too which manifests cannot be read: while there are any, no blob goes.
    pub fn collect_unused(&self) -> Result<(Removed, Vec<BrokenManifest>)> {
        let _changing = lock(&self.changing);
        let _linking = lock(&self.linking);
        let used = self.used()?;
        let broken = used.broken.clone();
        let removed = self.pins.while_unpinned(|pinned| {
            let pinned = pinned.map(|digest| self.blob_path(&digest));
            sweep(&self.root, &used.with(pinned))
        });
        Ok((removed, broken))
    }

    /// The manifests that cannot be read; their models are left out of the list.
    pub fn broken_manifests(&self) -> Result<Vec<BrokenManifest>> {
        Ok(self.used()?.broken)
    }

    /// Deletes what a removed manifest referred to, if no other does.
    pub(super) fn forget(&self, manifest: &Manifest) -> Result<()> {
        let folder = self.folder_path(manifest);
        let _linking = lock(&self.linking);
        let used = self.used()?;
        if used.broken.is_empty() && !used.folders.contains(&folder) && folder.exists() {
            fs::remove_dir_all(&folder).doing(|| format!("remove {}", folder.display()))?;
        }
        self.collect_garbage(manifest.digests())
    }

    /// Deletes those of these blobs that no manifest refers to and no pull counts on.
    pub(super) fn collect_garbage(&self, removed: impl Iterator<Item = Digest>) -> Result<()> {
        let used = self.used()?;
        if let Some(broken) = used.broken.first() {
            tracing::warn!(path = %broken.path.display(), problem = %broken.problem,
                "blobs are kept, because a manifest cannot be read");
            return Ok(());
        }
        for digest in removed {
            let path = self.blob_path(&digest);
            if used.blobs.contains(&path) {
                continue;
            }
            self.pins.unless_pinned(&digest, || {
                if !path.exists() {
                    return Ok(());
                }
                fs::remove_file(&path).doing(|| format!("remove {}", path.display()))
            })?;
        }
        Ok(())
    }

    /// What the manifests refer to, those too that stand under a name that we would not give.
    pub(super) fn used(&self) -> Result<Used> {
        let mut used = Used::default();
        for path in files_below(&self.root.join("manifests"))? {
            let manifest: Manifest = match read_json(&path) {
                Ok(manifest) => manifest,
                Err(error) => {
                    let problem = error.to_string();
                    used.broken.push(BrokenManifest { path, problem });
                    continue;
                }
            };
            used.folders.insert(self.folder_path(&manifest));
            used.blobs.extend(manifest.digests().map(|digest| self.blob_path(&digest)));
        }
        Ok(used)
    }
}

/// Every file below a folder, however deep.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let doing = || format!("list {}", folder.display());
        for entry in fs::read_dir(&folder).doing(doing)? {
            let path = entry.doing(doing)?.path();
            // Not followed: a link may lead in a circle.
            let about = path.symlink_metadata().doing(doing)?;
            if about.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}
