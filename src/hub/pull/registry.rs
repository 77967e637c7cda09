//! Ollama's registry, and every other that speaks the OCI distribution protocol.

use std::sync::Arc;

use reqwest::Url;

use super::fetch::{Fetcher, Remote};
use super::http::{Access, Ask, bad_answer, host_of};
use super::{PullError, PullResult};
use crate::config::HubConfig;
use crate::manifest::{
    ADAPTER_TYPE, FOLDER_FILE_TYPE, GGUF_TYPE, Layer, MAX_JSON_BYTES, Manifest, is_file_name,
};
use crate::name::ModelName;

/// What a manifest may be written as.
const MANIFEST_TYPES: &str = "application/vnd.docker.distribution.manifest.v2+json, \
                              application/vnd.oci.image.manifest.v1+json";

/// A manifest and where its files are.
pub(super) struct Listed {
    /// As it came: its digest is the model's identity.
    pub(super) bytes: Vec<u8>,
    /// The layers, then the config; each file once.
    pub(super) files: Vec<Remote>,
}

/// Asks the registry for a model's manifest.
pub(super) async fn list(
    fetcher: &Fetcher,
    config: &HubConfig,
    name: &ModelName,
) -> PullResult<Listed> {
    let base = base_of(config, name)?;
    let join = |path: &str| {
        base.join(path).map_err(|error| PullError::BadName(format!("{name}: {error}")))
    };
    let account = config.account_at(name.host());
    let access = Arc::new(Access::of_account(&base, account));
    let url = join(&format!("manifests/{}", name.tag()))?;
    let ask = Ask { url: &url, range: None, accept: Some(MANIFEST_TYPES) };
    let bytes = fetcher.fetch_small(&ask, &access, MAX_JSON_BYTES as usize);
    let bytes = bytes.await.map_err(|error| match error {
        PullError::NotFound(_) => PullError::NotFound(name.to_string()),
        other => other,
    })?;
    let manifest = Manifest::parse(&bytes)
        .map_err(|problem| bad_answer(&url, &format!("its manifest: {problem}")).into_error(1))?;
    check_kind(&manifest).map_err(|problem| PullError::BadModel(format!("{name}: {problem}")))?;
    let mut files: Vec<Remote> = Vec::new();
    for layer in manifest.layers.iter().chain([&manifest.config]) {
        if files.iter().any(|file| file.digest == layer.digest) {
            continue;
        }
        files.push(Remote {
            url: join(&format!("blobs/{}", layer.digest))?,
            access: Arc::clone(&access),
            digest: layer.digest,
            bytes: layer.bytes,
            version: None,
        });
    }
    tracing::debug!(model.name = %name, registry = host_of(&base), files = files.len(), "manifest");
    Ok(Listed { bytes, files })
}

/// Where a registry keeps a model's manifest and blobs.
pub(crate) fn base_of(config: &HubConfig, name: &ModelName) -> PullResult<Url> {
    let scheme = if config.is_plain(name.host()) { "http" } else { "https" };
    let base = format!("{scheme}://{}/v2/{}/{}/", name.host(), name.namespace(), name.model());
    Url::parse(&base).map_err(|error| PullError::BadName(format!("{name}: {error}")))
}

/// Whether this program can do something with the files, before they are fetched.
fn check_kind(manifest: &Manifest) -> Result<(), &'static str> {
    let of_type = |kind: &str| {
        let is_it = |layer: &&Layer| layer.media_type == kind;
        manifest.layers.iter().filter(is_it).count()
    };
    match (of_type(GGUF_TYPE), of_type(ADAPTER_TYPE)) {
        (1, 0) => Ok(()),
        (1, _) => Err("models with adapters cannot be run yet"),
        // Hearth's own, as it is pushed.
        (0, 0) if of_type(FOLDER_FILE_TYPE) > 0 => check_folder(manifest),
        (0, _) => Err("it has no GGUF file, and models of other kinds are not pulled from here"),
        (_, _) => Err("it has several GGUF files, of which one model cannot be made"),
    }
}

/// Whether its files can lie in one folder under their names.
fn check_folder(manifest: &Manifest) -> Result<(), &'static str> {
    let mut files = manifest.layers.iter().filter(|layer| layer.media_type == FOLDER_FILE_TYPE);
    match files.all(|layer| layer.name.as_deref().is_some_and(is_file_name)) {
        true => Ok(()),
        false => Err("a file of its folder has a name that no file has"),
    }
}
