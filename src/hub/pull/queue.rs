//! The pulls that go on after a restart: a small file for each, in the order in which they came.
//!
//! A file is whole or absent, because it is renamed into place; it goes when its pull ends.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Doing, Result};
use crate::import::persist;
use crate::manifest::read_json;
use crate::name::ModelName;

use super::{Address, Wanted};

/// The folder of the files.
#[derive(Clone)]
pub(super) struct Queue {
    folder: PathBuf,
}

/// One waiting pull, as it stands on the disk.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    /// As it was written.
    name: ModelName,
    /// Where its file is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Address>,
    /// Grows from one to the next.
    place: u64,
}

impl Queue {
    pub(super) fn open(root: &Path) -> Result<Queue> {
        let folder = root.join("queue");
        fs::create_dir_all(&folder).doing(|| format!("create {}", folder.display()))?;
        Ok(Queue { folder })
    }

    /// Adds a pull at the end.
    pub(super) fn add(&self, wanted: &Wanted) -> Result<()> {
        let place = self.all().last().map_or(0, |last| last.place.saturating_add(1));
        let path = self.path(&wanted.name);
        let doing = || format!("write {}", path.display());
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).doing(doing)?;
        let Wanted { name, from } = wanted.clone();
        let waiting = Waiting { name, from, place };
        serde_json::to_writer(&mut file, &waiting).map_err(std::io::Error::from).doing(doing)?;
        file.flush().doing(doing)?;
        persist(file, &path)
    }

    /// Takes a pull out, if it is in.
    pub(super) fn remove(&self, name: &ModelName) {
        let path = self.path(name);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "an ended pull stays in the queue");
        }
    }

    /// What is wanted, first come first.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let wanted = |Waiting { name, from, .. }| Wanted { name, from };
        self.all().into_iter().map(wanted).collect()
    }

    fn all(&self) -> Vec<Waiting> {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut all: Vec<Waiting> = files
            .map(|file| file.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .filter_map(|path| {
                let damaged =
                    |error| tracing::warn!(path = %path.display(), %error, "a queued pull is lost");
                read_json(&path).map_err(damaged).ok()
            })
            .collect();
        all.sort_by_key(|waiting| waiting.place);
        all
    }

    /// One file per model, whatever its name is made of.
    fn path(&self, name: &ModelName) -> PathBuf {
        let key = name.to_string().to_ascii_lowercase();
        self.folder.join(format!("{}.json", Digest::of(key.as_bytes()).file_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queued_pulls_keep_their_order_over_a_restart() {
        let root = tempfile::tempdir().unwrap();
        let queue = Queue::open(root.path()).unwrap();
        let names = ["qwen3:0.6b", "hf.co/Org/Repo:Q4_K_M", "abc"];
        let wanted = |name: &str| Wanted { name: name.parse().unwrap(), from: None };
        for name in names {
            queue.add(&wanted(name)).unwrap();
        }
        fs::write(root.path().join("queue/broken.json"), "{").unwrap();
        let queue = Queue::open(root.path()).unwrap();
        assert_eq!(queue.wanted(), names.map(wanted));
        queue.remove(&"HF.co/org/repo:q4_k_m".parse().unwrap());
        let address = Address::parse("https://a.example/m.gguf?key=1", None).unwrap();
        let last = Wanted { from: Some(address), ..wanted("last") };
        queue.add(&last).unwrap();
        assert_eq!(queue.wanted(), [wanted("qwen3:0.6b"), wanted("abc"), last]);
    }
}
