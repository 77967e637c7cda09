//! A model as one file, for machines without a network: a tar archive with the manifest first and
//! then every blob, each under its digest.
//!
//! Nothing in an archive is believed: a blob is kept only if it is one that the manifest names and
//! has the right digest, and the model is checked like a pulled one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

use tar::{Archive, Builder, EntryType, Header};

use crate::digest::Digest;
use crate::error::{Doing, Error, Result};
use crate::import::{OnProgress, Progress, write_blob};
use crate::library::{Entry, Library};
use crate::manifest::{MAX_JSON_BYTES, Manifest};
use crate::name::ModelName;

/// The archive's first file.
const MANIFEST: &str = "manifest.json";
/// The folder of all others.
const BLOBS: &str = "blobs/";

impl Library {
    /// Writes a model to a new file, which appears once it is whole.
    pub fn export(&self, name: &str, file: &Path, on_progress: OnProgress<'_>) -> Result<()> {
        let name = self.find(name)?.name;
        // Said before the work; whoever makes it meanwhile keeps it too.
        if file.symlink_metadata().is_ok() {
            return Err(Error::CannotMake(format!("{} exists already", file.display())));
        }
        let manifest = self.manifest_bytes(&name)?;
        let parsed = Manifest::parse(&manifest).map_err(Error::BadManifest)?;
        let _pin = self.pin(parsed.digests());
        let doing = || format!("write {}", file.display());
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let out = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).doing(doing)?;
        let mut archive = Builder::new(BufWriter::with_capacity(1 << 20, out));
        put(&mut archive, MANIFEST, manifest.len() as u64, &mut &manifest[..]).doing(doing)?;
        let mut digests: Vec<Digest> = parsed.digests().collect();
        digests.sort();
        digests.dedup();
        let mut files = Vec::new();
        for digest in digests {
            let path = self.blob_path(&digest);
            let blob = File::open(&path).doing(|| format!("open {}", path.display()))?;
            files.push((digest, blob.metadata().doing(doing)?.len(), blob));
        }
        let total_bytes = files.iter().map(|(_, bytes, _)| bytes).sum();
        let mut told = Told { done: Progress { done_bytes: 0, total_bytes }, on_progress };
        for (digest, bytes, blob) in files {
            let inside = format!("{BLOBS}{}", digest.file_name());
            put(&mut archive, &inside, bytes, &mut told.reading(blob)).map_err(stopped(doing))?;
        }
        let out = archive.into_inner().doing(doing)?;
        let out = out.into_inner().map_err(|error| error.into_error()).doing(doing)?;
        out.as_file().sync_all().doing(doing)?;
        out.persist_noclobber(file).map_err(|error| error.error).doing(doing).map(drop)
    }

    /// Brings a model in from an archive that [`Library::export`] wrote.
    pub fn import_archive(
        &self,
        file: &Path,
        name: &str,
        on_progress: OnProgress<'_>,
    ) -> Result<Entry> {
        let name: ModelName = name.parse::<ModelName>()?.to_lowercase();
        self.check_free(&name)?;
        let doing = || format!("read {}", file.display());
        let mut archive = Archive::new(File::open(file).doing(doing)?);
        let mut entries = archive.entries().doing(doing)?;
        let first = entries.next().ok_or_else(|| bad("it is empty"))?.doing(doing)?;
        let manifest = read_manifest(first)?;
        let parsed = Manifest::parse(&manifest).map_err(Error::BadManifest)?;
        let files = parsed.layers.iter().chain([&parsed.config]);
        let mut missing: BTreeMap<Digest, u64> =
            files.map(|layer| (layer.digest, layer.bytes)).collect();
        let _pin = self.pin(parsed.digests());
        let total_bytes = missing.values().fold(0, |sum: u64, more| sum.saturating_add(*more));
        let mut told = Told { done: Progress { done_bytes: 0, total_bytes }, on_progress };
        for entry in entries {
            let entry = entry.doing(doing)?;
            let digest = digest_of(&entry)?;
            if missing.remove(&digest) != Some(entry.size()) {
                return Err(bad(&format!("{digest} does not belong in it, or has another size")));
            }
            self.take_blob(&digest, entry, &mut told)?;
        }
        if let Some((digest, _)) = missing.first_key_value() {
            return Err(bad(&format!("{digest} is missing")));
        }
        self.check_foreign(&manifest)?;
        self.publish_foreign(&name, &manifest)
    }

    /// Writes a blob that must have this digest; one that has another is deleted.
    fn take_blob(
        &self,
        digest: &Digest,
        mut source: tar::Entry<'_, File>,
        told: &mut Told,
    ) -> Result<()> {
        if self.blob_path(digest).exists() {
            return told.more(source.size());
        }
        let blobs = self.root().join("blobs");
        let mut on_chunk = |bytes| match told.more(bytes) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        let (got, _) = write_blob(&blobs, &mut source, &mut on_chunk)?;
        if got == *digest {
            return Ok(());
        }
        self.drop_unused([got].into_iter())?;
        Err(bad(&format!("{digest} is damaged: its bytes have the digest {got}")))
    }
}

/// How far it is, and who is told.
struct Told<'a> {
    done: Progress,
    on_progress: OnProgress<'a>,
}

/// A file that tells how far it is read.
struct Reading<'a, 'b> {
    told: &'a mut Told<'b>,
    file: File,
}

impl<'b> Told<'b> {
    fn more(&mut self, bytes: u64) -> Result<()> {
        self.done.done_bytes += bytes;
        match (self.on_progress)(self.done) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }

    fn reading(&mut self, file: File) -> Reading<'_, 'b> {
        Reading { told: self, file }
    }
}

impl Read for Reading<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(out)?;
        self.told.more(read as u64).map_err(std::io::Error::other)?;
        Ok(read)
    }
}

/// An error of writing, unless it is ours, of one who stopped the reading.
fn stopped(doing: impl Fn() -> String) -> impl Fn(std::io::Error) -> Error {
    move |source| {
        let is_ours = source.get_ref().is_some_and(|inner| inner.is::<Error>());
        if is_ours { Error::Cancelled } else { Error::Io { doing: doing(), source } }
    }
}

fn put(
    archive: &mut Builder<impl Write>,
    path: &str,
    bytes: u64,
    source: &mut dyn Read,
) -> std::io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_size(bytes);
    header.set_mode(0o644);
    archive.append_data(&mut header, path, source)
}

fn read_manifest(mut entry: tar::Entry<'_, File>) -> Result<Vec<u8>> {
    let is_manifest = entry.path_bytes().as_ref() == MANIFEST.as_bytes();
    if !is_manifest || entry.size() > MAX_JSON_BYTES {
        return Err(bad("it does not begin with a manifest"));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).doing(|| "read the archive".to_owned())?;
    Ok(bytes)
}

/// The digest that a file in the archive claims by its name; nothing else has a place there.
fn digest_of(entry: &tar::Entry<'_, File>) -> Result<Digest> {
    let path = entry.path_bytes();
    let name = std::str::from_utf8(&path).ok().and_then(|path| path.strip_prefix(BLOBS));
    let digest = name.and_then(|name| Digest::parse(&name.replacen('-', ":", 1)).ok());
    match (digest, entry.header().entry_type()) {
        (Some(digest), EntryType::Regular) => Ok(digest),
        _ => Err(bad(&format!("`{}` does not belong in it", path.escape_ascii()))),
    }
}

fn bad(problem: &str) -> Error {
    Error::BadArchive(problem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::tests::{blobs, import};

    fn go_on(_: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn library(root: &Path) -> Library {
        Library::open(root, &[]).unwrap()
    }

    #[test]
    fn a_model_goes_from_one_machine_to_another_as_a_file() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (first, second) = (library(here.path()), library(there.path()));
        for (source, name) in [("stories260K-f32.gguf", "a"), ("hf", "folder:2")] {
            let entry = import(&first, source, name).unwrap();
            let file = here.path().join(format!("{}.tar", entry.digest.file_name()));
            let mut last = Progress { done_bytes: 0, total_bytes: 0 };
            let mut note = |progress| {
                last = progress;
                ControlFlow::Continue(())
            };
            first.export(name, &file, &mut note).unwrap();
            let again = first.export(name, &file, &mut go_on);
            assert!(again.is_err(), "a file is not overwritten");
            assert!(last.total_bytes >= entry.size_bytes && last.done_bytes == last.total_bytes);
            let mut arrived = Progress { done_bytes: 0, total_bytes: 0 };
            let mut note = |progress| {
                arrived = progress;
                ControlFlow::Continue(())
            };
            assert_eq!(second.import_archive(&file, name, &mut note).unwrap(), entry);
            assert_eq!(arrived, last);
            let exists = second.import_archive(&file, name, &mut go_on);
            assert!(matches!(exists, Err(Error::Exists(_))));
        }
        assert_eq!(blobs(here.path()), blobs(there.path()));
    }

    #[test]
    fn who_stops_an_archive_leaves_none_behind() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (first, second) = (library(here.path()), library(there.path()));
        import(&first, "stories260K-f32.gguf", "a").unwrap();
        let file = here.path().join("a.tar");
        let stopped = first.export("a", &file, &mut |_| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
        assert!(!file.exists());
        first.export("a", &file, &mut go_on).unwrap();
        let stopped = second.import_archive(&file, "a", &mut |_| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
        assert!(second.list().is_empty());
        second.import_archive(&file, "a", &mut go_on).unwrap();
    }

    #[test]
    fn archives_with_wrong_files_are_refused_and_leave_nothing() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (first, second) = (library(here.path()), library(there.path()));
        let entry = import(&first, "stories260K-f32.gguf", "a").unwrap();
        let file = here.path().join("a.tar");
        first.export("a", &file, &mut go_on).unwrap();
        let manifest = first.manifest_bytes(&entry.name).unwrap();
        let whole = std::fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        // In the middle of the model's bytes.
        flipped[whole.len() / 2] ^= 1;
        let with = |path: &str, bytes: &[u8]| {
            let mut archive = Builder::new(Vec::new());
            put(&mut archive, MANIFEST, manifest.len() as u64, &mut &manifest[..]).unwrap();
            let mut header = Header::new_ustar();
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            archive.append(&header, bytes).unwrap();
            archive.into_inner().unwrap()
        };
        let stranger = format!("{BLOBS}{}", Digest::of(b"stranger").file_name());
        for (number, bad) in [
            Vec::new(),
            flipped,
            whole[..whole.len() / 2].to_vec(),
            with("../../evil", b"x"),
            with("/etc/evil", b"x"),
            with(&stranger, b"stranger"),
            b"no archive at all".to_vec(),
        ]
        .into_iter()
        .enumerate()
        {
            std::fs::write(&file, bad).unwrap();
            let refused = second.import_archive(&file, "a", &mut go_on);
            assert!(refused.is_err(), "{number}");
            assert!(second.list().is_empty());
        }
        second.collect_unused().unwrap();
        assert!(!there.path().parent().unwrap().join("evil").exists());
    }
}
