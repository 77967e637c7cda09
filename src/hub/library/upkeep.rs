//! Looking after the files: re-hashing them, and sharing those of a store that Ollama keeps.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Library;
use super::garbage::files_below;
use crate::digest::Digest;
use crate::error::{Doing, Error, Result};
use crate::import::{OnProgress, Progress};
use crate::manifest::{Manifest, read_bounded, read_json};
use crate::name::ModelName;

/// A file that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What it should be.
    pub digest: Digest,
    /// What it is; `None` if it is absent.
    pub found: Option<Digest>,
    /// The models that need it.
    pub models: Vec<ModelName>,
}

/// What became of one model of the other store.
#[derive(Debug)]
pub struct Shared {
    pub name: ModelName,
    /// Why it was left out.
    pub refused: Option<Error>,
}

impl Library {
    /// Hashes every file of one model, or of all, anew.
    pub fn verify(&self, name: Option<&str>, on_progress: OnProgress<'_>) -> Result<Vec<Damage>> {
        let is_one = name.is_some();
        let names = match name {
            Some(name) => vec![self.find(name)?.name],
            None => self.list().into_iter().map(|entry| entry.name).collect(),
        };
        let mut files: BTreeMap<Digest, Vec<ModelName>> = BTreeMap::new();
        for name in names.into_iter().filter(|name| !self.builtins.contains_key(name)) {
            let manifest: Manifest = match read_json(&self.manifest_path(&name)) {
                // It is one of `broken_manifests`; the others are looked at nevertheless.
                Err(_) if !is_one => continue,
                manifest => manifest?,
            };
            for digest in manifest.digests() {
                files.entry(digest).or_default().push(name.clone());
            }
        }
        let bytes = |digest| self.blob_path(digest).metadata().map_or(0, |about| about.len());
        let mut progress = Progress { done_bytes: 0, total_bytes: files.keys().map(bytes).sum() };
        let mut damaged = Vec::new();
        for (digest, models) in files {
            let found = hash(&self.blob_path(&digest), &mut progress, on_progress)?;
            if found != Some(digest) {
                damaged.push(Damage { digest, found, models });
            }
        }
        Ok(damaged)
    }

    /// Takes every model of a store that Ollama keeps, without copying: the files get a second
    /// name, by a hard link or a reflink. Models that are here already are passed over.
    pub fn share_ollama(&self, store: &Path) -> Result<Vec<Shared>> {
        let manifests = store.join("manifests");
        let mut shared = Vec::new();
        for path in files_below(&manifests)? {
            let parts: Vec<&str> = path
                .strip_prefix(&manifests)
                .ok()
                .map(|inner| inner.iter().filter_map(|part| part.to_str()).collect())
                .unwrap_or_default();
            let [host, namespace, model, tag] = parts[..] else { continue };
            let Ok(name) = ModelName::from_parts([host, namespace, model, tag]) else { continue };
            if self.stored(&name).is_some() {
                continue;
            }
            let refused = self.share_model(store, &path, &name).err();
            shared.push(Shared { name, refused });
        }
        Ok(shared)
    }

    fn share_model(&self, store: &Path, manifest: &Path, name: &ModelName) -> Result<()> {
        let bytes = read_bounded(manifest)?;
        let parsed = Manifest::parse(&bytes).map_err(Error::BadManifest)?;
        let _pin = self.pin(parsed.digests());
        for layer in parsed.layers.iter().chain([&parsed.config]) {
            let source = store.join("blobs").join(layer.digest.file_name());
            let about = source.metadata().doing(|| format!("open {}", source.display()))?;
            if !about.is_file() || about.len() != layer.bytes {
                let path = source.display();
                return Err(Error::BadManifest(format!("{path} has not {} bytes", layer.bytes)));
            }
            let blob = self.blob_path(&layer.digest);
            if !blob.exists() {
                share(&source, &blob)?;
            }
        }
        let listed = self.check_foreign(&bytes).and_then(|()| self.publish_foreign(name, &bytes));
        drop(_pin);
        if listed.is_err() {
            self.drop_unused(parsed.digests())?;
        }
        listed.map(drop)
    }
}

/// A second name for the same bytes.
fn share(source: &Path, blob: &Path) -> Result<()> {
    // The link, not what it points to, would be shared.
    let source = source.canonicalize().doing(|| format!("open {}", source.display()))?;
    if fs::hard_link(&source, blob).is_ok() {
        return Ok(());
    }
    reflink(&source, blob).inspect_err(|_| drop(fs::remove_file(blob))).map_err(|error| Error::Io {
        doing: format!(
            "share {}: it lies on another file system than the library; put data.models_dir beside \
             it, or import the file itself",
            source.display()
        ),
        source: error,
    })
}

#[cfg(target_os = "linux")]
fn reflink(source: &Path, blob: &Path) -> std::io::Result<()> {
    let (source, blob) = (File::open(source)?, File::create_new(blob)?);
    rustix::fs::ioctl_ficlone(&blob, &source)?;
    blob.sync_all()
}

#[cfg(not(target_os = "linux"))]
fn reflink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::CrossesDevices.into())
}

fn hash(
    path: &PathBuf,
    progress: &mut Progress,
    on_progress: OnProgress<'_>,
) -> Result<Option<Digest>> {
    let doing = || format!("read {}", path.display());
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.doing(doing)?,
    };
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut chunk).doing(doing)?;
        if read == 0 {
            return Ok(Some(Digest::finish(hasher)));
        }
        hasher.update(&chunk[..read]);
        progress.done_bytes += read as u64;
        if on_progress(*progress) == ControlFlow::Break(()) {
            return Err(Error::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::library::tests::{blobs, import, real_models};
    use crate::library::{Origin, Source};
    use crate::manifest::GGUF_TYPE;

    #[test]
    fn verify_names_files_that_changed_or_went() {
        let root = tempfile::tempdir().unwrap();
        let library = Library::open(root.path(), &[]).unwrap();
        let entry = import(&library, "stories260K-f32.gguf", "a").unwrap();
        library.copy("a", "b").unwrap();
        let mut last = Progress { done_bytes: 0, total_bytes: 0 };
        let mut note = |progress| {
            last = progress;
            ControlFlow::Continue(())
        };
        assert_eq!(library.verify(None, &mut note).unwrap(), []);
        assert!(last.total_bytes > entry.size_bytes && last.done_bytes == last.total_bytes);
        let Source::Path(path) = library.source(&entry.name).unwrap() else { panic!("a file") };
        let mut bytes = fs::read(&path).unwrap();
        let digest = Digest::of(&bytes);
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        let mut go_on = |_| ControlFlow::Continue(());
        let models: Vec<ModelName> = ["a", "b"].map(|name| name.parse().unwrap()).to_vec();
        let found = Some(Digest::of(&bytes));
        let damage = Damage { digest, found, models: models.clone() };
        assert_eq!(library.verify(None, &mut go_on).unwrap(), [damage]);
        fs::remove_file(&path).unwrap();
        let damage = Damage { digest, found: None, models: models[1..].to_vec() };
        assert_eq!(library.verify(Some("B"), &mut go_on).unwrap(), [damage]);
        let stopped = library.verify(Some("a"), &mut |_| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(Error::Cancelled)));
    }

    #[test]
    fn a_store_of_ollama_is_shared_without_copying() {
        let folder = tempfile::tempdir().unwrap();
        let ollama = folder.path().join("ollama");
        let tags = ollama.join("manifests/registry.ollama.ai/library/stories");
        fs::create_dir_all(&tags).unwrap();
        fs::create_dir_all(ollama.join("blobs")).unwrap();
        let put = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            fs::write(ollama.join("blobs").join(digest.file_name()), bytes).unwrap();
            format!(r#""digest":"{digest}","size":{}"#, bytes.len())
        };
        let gguf = fs::read(real_models().join("stories260K-q8_0.gguf")).unwrap();
        let (model, template) = (put(&gguf), put(b"{{ .Prompt }}"));
        let config = put(br#"{"model_format":"gguf"}"#);
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"m","config":{{"mediaType":"c",{config}}},"layers":[
            {{"mediaType":"{GGUF_TYPE}",{model}}},
            {{"mediaType":"application/vnd.ollama.image.template",{template}}}]}}"#
        );
        fs::write(tags.join("q8_K"), &manifest).unwrap();
        fs::write(tags.join("broken"), manifest.replace("sha256:", "sha256:../")).unwrap();
        let library = Library::open(&folder.path().join("ours"), &[]).unwrap();
        let mut shared = library.share_ollama(&ollama).unwrap();
        shared.sort_by(|a, b| a.name.cmp(&b.name));
        let told: Vec<_> =
            shared.iter().map(|s| (s.name.to_string(), s.refused.is_none())).collect();
        assert_eq!(told, [("stories:broken".to_owned(), false), ("stories:q8_K".to_owned(), true)]);
        let entry = library.find("stories:Q8_k").unwrap();
        assert_eq!(
            (entry.origin, entry.digest),
            (Origin::Imported, Digest::of(manifest.as_bytes()))
        );
        let Source::Path(path) = library.source(&entry.name).unwrap() else { panic!("a file") };
        let theirs = ollama.join("blobs").join(Digest::of(&gguf).file_name());
        assert_eq!(path.metadata().unwrap().ino(), theirs.metadata().unwrap().ino());
        // Ours goes without theirs, and nothing is done twice.
        assert_eq!(library.share_ollama(&ollama).unwrap().len(), 1);
        library.remove("stories:q8_k").unwrap();
        assert_eq!(blobs(&folder.path().join("ours")), 0);
        assert!(theirs.exists());
    }
}
