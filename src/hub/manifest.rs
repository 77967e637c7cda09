//! A model's manifest: which blobs make it up, and what it says of itself.
//!
//! The JSON is the Docker schema 2 that Ollama writes, so that a store can be shared. The config
//! blob carries what a list shows, so that listing never opens a model file.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Doing, Error, Result};

/// Largest manifest or config blob that is read, in bytes.
pub(crate) const MAX_JSON_BYTES: u64 = 1 << 20;

const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG_TYPE: &str = "application/vnd.docker.container.image.v1+json";
/// A GGUF file.
pub(crate) const GGUF_TYPE: &str = "application/vnd.ollama.image.model";
/// A correction of a model's weights.
pub(crate) const ADAPTER_TYPE: &str = "application/vnd.ollama.image.adapter";
/// A file of a Hugging Face folder; its `name` is the file's name in the folder.
pub(crate) const FOLDER_FILE_TYPE: &str = "application/vnd.hearth.folder.file";

/// `manifests/<host>/<namespace>/<model>/<tag>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    /// Optional where OCI is spoken.
    #[serde(default)]
    pub media_type: String,
    pub config: Layer,
    pub layers: Vec<Layer>,
}

/// One blob of a model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    #[serde(rename = "size")]
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The config blob: what the model is, read once when it was imported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// `gguf` or `safetensors`.
    pub model_format: String,
    /// Architecture, such as `llama`.
    pub model_family: String,
    /// Quantisation, such as `Q8_0`.
    pub file_type: String,
    pub parameters: u64,
    pub context_length: u64,
    pub has_chat_template: bool,
    /// What it can do, in Ollama's words: `completion`, `tools`, `thinking`, `embedding`. Never
    /// empty in an [`crate::Entry`]; older versions did not write it down.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Unix seconds.
    pub created_at: i64,
}

impl Manifest {
    /// A manifest over blobs that are in the store already.
    pub(crate) fn new(config: (Digest, u64), layers: Vec<Layer>) -> Manifest {
        let (digest, bytes) = config;
        Manifest {
            schema_version: 2,
            media_type: MANIFEST_TYPE.to_owned(),
            config: Layer { media_type: CONFIG_TYPE.to_owned(), digest, bytes, name: None },
            layers,
        }
    }

    /// Reads a manifest that nobody has checked: each digest, and that the sizes can be added up.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Manifest, String> {
        if bytes.len() as u64 > MAX_JSON_BYTES {
            return Err(format!("it is longer than {MAX_JSON_BYTES} bytes"));
        }
        let manifest: Manifest =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if manifest.schema_version != 2 {
            return Err(format!("schema version {}", manifest.schema_version));
        }
        let files = manifest.layers.iter().chain([&manifest.config]);
        let total = files.map(|layer| layer.bytes).try_fold(0_u64, u64::checked_add);
        total.ok_or_else(|| "sizes that no disk has".to_owned())?;
        Ok(manifest)
    }

    /// As it is written.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::BadManifest(error.to_string()))
    }

    /// Every blob that the manifest refers to.
    pub fn digests(&self) -> impl Iterator<Item = Digest> + '_ {
        std::iter::once(self.config.digest).chain(self.layers.iter().map(|layer| layer.digest))
    }

    /// Bytes of the model itself.
    pub(crate) fn model_bytes(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.bytes))
    }
}

/// Whether a layer's name is that of a file, and no way to another folder.
pub(crate) fn is_file_name(name: &str) -> bool {
    !name.is_empty() && Path::new(name).file_name() == Some(name.as_ref())
}

/// Reads a bounded JSON file.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&read_bounded(path)?)
        .map_err(|error| Error::BadManifest(format!("{}: {error}", path.display())))
}

/// Reads a file of no more bytes than a manifest may have.
pub(crate) fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).doing(|| format!("open {}", path.display()))?;
    let mut text = Vec::new();
    file.take(MAX_JSON_BYTES + 1)
        .read_to_end(&mut text)
        .doing(|| format!("read {}", path.display()))?;
    if text.len() as u64 > MAX_JSON_BYTES {
        return Err(Error::BadManifest(format!("{} is larger than 1 MiB", path.display())));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_manifests_are_refused_where_they_are_read() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let with = |digest: &str, size: &str| {
            let layer = format!(r#"{{"mediaType":"x","digest":"{digest}","size":{size}}}"#);
            let text = format!(r#"{{"schemaVersion":2,"config":{layer},"layers":[{layer}]}}"#);
            Manifest::parse(text.as_bytes())
        };
        assert!(with(&digest, "1").is_ok());
        for bad in ["sha256:abc", "sha256:../../../../etc/passwd", "sha512:00", "", "sha256-0a"] {
            assert!(with(bad, "1").is_err(), "{bad}");
        }
        for bad in ["-1", "1.5", "\"1\"", "18446744073709551615", "99999999999999999999"] {
            assert!(with(&digest, bad).is_err(), "{bad}");
        }
        for bad in ["", "{}", "[]", "null", r#"{"schemaVersion":1}"#] {
            assert!(Manifest::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Manifest::parse(&vec![b' '; MAX_JSON_BYTES as usize + 1]).is_err());
        assert!(Manifest::parse("[".repeat(100_000).as_bytes()).is_err());
    }
}
