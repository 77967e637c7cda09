//! Models of Hugging Face and of mirrors that speak its API.
//!
//! hf-hub asks what there is: the commit behind a name and a revision, with its own retries, its
//! errors told apart, and the place where its tools keep a token; the list of files is read as its
//! types. The bytes are fetched by [`super::fetch`], because hf-hub can neither go on with a file
//! after a crash of the process, nor check it while it comes, nor hold a rate, nor put it under its
//! digest. All files are asked for by commit, so that they fit each other.

use std::sync::Arc;

use hf_hub::repository::ModelInfo;
use hf_hub::{HFClient, HFError};
use reqwest::Url;

use super::fetch::{Fetcher, Remote, blocking};
use super::http::{Access, Ask, Http, host_of};
use super::{PullError, PullResult};
use crate::config::HubConfig;
use crate::digest::Digest;
use crate::import::{FOLDER_FILES, POOLING_FILE};
use crate::name::ModelName;

/// Longest list of a repository's files, in bytes: some 40 thousand files.
const MAX_LISTING_BYTES: usize = 16 << 20;
/// Largest file without a SHA-256; Hugging Face keeps none above 10 MB outside of LFS.
pub(super) const MAX_SMALL_BYTES: u64 = 64 << 20;
/// Names of files that an error lists.
const MAX_NAMED: usize = 20;
/// The file that a tag without meaning stands for, the first that there is.
const FAVOURITES: [&str; 4] = ["Q4_K_M", "Q4_K_S", "Q4_0", "Q8_0"];

/// What a name at Hugging Face stands for.
pub(super) enum Found {
    /// One GGUF file, or the parts of one that is split.
    Gguf(Vec<Remote>),
    /// The files of a model's folder.
    Folder(Vec<FolderFile>),
}

/// A file of a folder, by its path there.
pub(super) struct FolderFile {
    pub(super) path: String,
    pub(super) source: Source,
}

/// How a file is fetched.
pub(super) enum Source {
    /// By its digest.
    Digest(Remote),
    /// It has none that we know; its size is all that can be checked.
    Small { url: Url, access: Arc<Access>, bytes: u64 },
}

/// A file as the listing has it.
struct Listed {
    path: String,
    bytes: u64,
    digest: Option<Digest>,
}

/// Whether this host in a name means Hugging Face.
pub(super) fn is_host(host: &str) -> bool {
    ["hf.co", "huggingface.co"].iter().any(|own| own.eq_ignore_ascii_case(host))
}

/// Asks what the name stands for.
pub(super) async fn find(
    fetcher: &Fetcher,
    config: &HubConfig,
    name: &ModelName,
) -> PullResult<Found> {
    let endpoint = config.huggingface_endpoint.trim_end_matches('/');
    let endpoint = Url::parse(&format!("{endpoint}/"));
    let endpoint = endpoint.map_err(|error| PullError::Local(format!("endpoint: {error}")))?;
    fetcher.http.check(&endpoint)?;
    let token = token(config).await?;
    let client = client(config, &endpoint, token.clone())?;
    let repository = client.model(name.namespace(), name.model());
    let mut place = Place {
        repository: format!("{}/{}", name.namespace(), name.model()),
        access: Arc::new(Access::with(&endpoint, token)),
        endpoint: endpoint.clone(),
        commit: String::new(),
    };
    let told = |error| told(error, &endpoint, name);
    // A tag chooses among GGUF files; of a folder it is the revision.
    let main = repository.info().send().await.map_err(told)?;
    place.pin(main.sha)?;
    let mut files = place.list(fetcher).await?;
    if files.iter().any(|file| is_gguf(&file.path)) {
        return place.gguf(&files, name);
    }
    if !name.tag().eq_ignore_ascii_case("latest") {
        let revision = repository.info().revision(name.tag()).send().await.map_err(told)?;
        place.pin(revision.sha)?;
        files = place.list(fetcher).await?;
    }
    place.folder(files, name)
}

/// The settings' token, or the one that `huggingface-cli login` has left.
async fn token(config: &HubConfig) -> PullResult<Option<String>> {
    if !config.huggingface_token.0.is_empty() {
        return Ok(Some(config.huggingface_token.0.clone()));
    }
    let kept =
        blocking(|| Ok(std::fs::read_to_string(hf_hub::hf_home().join("token")).ok())).await?;
    Ok(kept.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()))
}

fn client(config: &HubConfig, endpoint: &Url, token: Option<String>) -> PullResult<HFClient> {
    let mut builder = HFClient::builder()
        .endpoint(endpoint.as_str().trim_end_matches('/'))
        .client(Http::library_client(config)?)
        .retry_max_attempts(config.retries as usize)
        .cache_enabled(false);
    if let Some(token) = token {
        builder = builder.token(token);
    }
    builder.build().map_err(|error| PullError::Local(format!("hf-hub: {error}")))
}

/// One commit of a repository.
struct Place {
    endpoint: Url,
    repository: String,
    commit: String,
    access: Arc<Access>,
}

impl Place {
    /// From here on files are those of this commit.
    fn pin(&mut self, commit: Option<String>) -> PullResult<()> {
        // It becomes part of a path.
        let is_commit = |text: &String| {
            (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let commit = commit.filter(is_commit);
        self.commit = commit.ok_or_else(|| self.bad_answer("no commit of the repository"))?;
        Ok(())
    }

    /// The files of the commit. hf-hub's own listing has sizes, but no SHA-256.
    async fn list(&self, fetcher: &Fetcher) -> PullResult<Vec<Listed>> {
        let url = format!(
            "{}api/models/{}/revision/{}?blobs=true",
            self.endpoint, self.repository, self.commit
        );
        let url = Url::parse(&url).map_err(|error| PullError::BadName(error.to_string()))?;
        let ask = Ask { url: &url, range: None, accept: None };
        let bytes = fetcher.fetch_small(&ask, &self.access, MAX_LISTING_BYTES).await?;
        let info: ModelInfo = serde_json::from_slice(&bytes)
            .map_err(|error| self.bad_answer(&format!("its list of files: {error}")))?;
        let listed = |file: hf_hub::repository::RepoSibling| {
            // Of a file in LFS the digest is its identity there.
            let sha256 = file.lfs.as_ref().and_then(|lfs| lfs.sha256.as_deref());
            let digest = sha256.and_then(|hex| Digest::parse(&format!("sha256:{hex}")).ok());
            let bytes = file.lfs.and_then(|lfs| lfs.size).or(file.size)?;
            Some(Listed { path: file.rfilename, bytes, digest })
        };
        Ok(info.siblings.unwrap_or_default().into_iter().filter_map(listed).collect())
    }

    fn bad_answer(&self, problem: &str) -> PullError {
        PullError::BadAnswer { host: host_of(&self.endpoint), problem: problem.to_owned() }
    }

    fn url(&self, path: &str) -> PullResult<Url> {
        let mut url = self.endpoint.clone();
        let mut segments = url
            .path_segments_mut()
            .map_err(|()| PullError::Local("the endpoint has no path".to_owned()))?;
        segments.pop_if_empty().extend(self.repository.split('/'));
        segments.extend(["resolve", &self.commit]).extend(path.split('/'));
        drop(segments);
        Ok(url)
    }

    fn remote(&self, file: &Listed, digest: Digest) -> PullResult<Remote> {
        let access = Arc::clone(&self.access);
        let url = self.url(&file.path)?;
        Ok(Remote { url, access, digest, bytes: file.bytes, version: None })
    }

    /// The GGUF file that the tag names, or all its parts.
    fn gguf(&self, files: &[Listed], name: &ModelName) -> PullResult<Found> {
        let all: Vec<&Listed> = files.iter().filter(|file| is_model(&file.path)).collect();
        let chosen = choose(&all, name.tag());
        if chosen.is_empty() {
            let mut known: Vec<&str> = all.iter().map(|file| file.path.as_str()).collect();
            known.truncate(MAX_NAMED);
            let known = known.join(", ");
            return Err(PullError::BadName(format!(
                "no one file of {}/{} is meant by `{}`; there are: {known}",
                name.host(),
                self.repository,
                name.tag(),
            )));
        }
        let remote = |file: &&Listed| match file.digest {
            Some(digest) => self.remote(file, digest),
            None => Err(self.bad_answer(&format!("no SHA-256 of {}", file.path))),
        };
        Ok(Found::Gguf(chosen.iter().map(remote).collect::<PullResult<_>>()?))
    }

    /// The files that make up a model's folder.
    fn folder(&self, files: Vec<Listed>, name: &ModelName) -> PullResult<Found> {
        let is_weights = |path: &str| path.ends_with(".safetensors") && !path.contains('/');
        let is_wanted =
            |path: &str| is_weights(path) || FOLDER_FILES.contains(&path) || path == POOLING_FILE;
        if !files.iter().any(|file| is_weights(&file.path)) {
            return Err(PullError::BadModel(format!("{name} has no GGUF or safetensors files")));
        }
        let mut wanted = Vec::new();
        for file in files.into_iter().filter(|file| is_wanted(&file.path)) {
            let source = match file.digest {
                Some(digest) => Source::Digest(self.remote(&file, digest)?),
                None if file.bytes <= MAX_SMALL_BYTES => Source::Small {
                    url: self.url(&file.path)?,
                    access: Arc::clone(&self.access),
                    bytes: file.bytes,
                },
                None => return Err(self.bad_answer(&format!("no SHA-256 of {}", file.path))),
            };
            wanted.push(FolderFile { path: file.path, source });
        }
        Ok(Found::Folder(wanted))
    }
}

fn is_gguf(path: &str) -> bool {
    path.to_ascii_lowercase().ends_with(".gguf")
}

/// A GGUF file with a language model: not the image encoder or the matrix of importances that may
/// lie beside it.
fn is_model(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    name.ends_with(".gguf") && !name.starts_with("mmproj") && !name.contains("imatrix")
}

/// The files that a tag means: one, the parts of one, or none if it is not clear.
fn choose<'a>(files: &[&'a Listed], tag: &str) -> Vec<&'a Listed> {
    let by_label = |label: &str| -> Vec<&'a Listed> {
        let label = label.to_ascii_lowercase();
        let named = files.iter().copied().filter(|file| has_label(&file.path, &label));
        let mut found: Vec<&Listed> = named.collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        // A label may stand in the names of several files: those of one model are its parts.
        let is_one = found.iter().all(|file| stem(&file.path) == stem(&found[0].path));
        let is_whole = found.first().is_none_or(|first| {
            part(&first.path).map_or(found.len() == 1, |(_, parts)| found.len() == parts)
        });
        if is_one && is_whole { found } else { Vec::new() }
    };
    if !tag.eq_ignore_ascii_case("latest") {
        return by_label(tag);
    }
    let favourite = FAVOURITES.iter().map(|label| by_label(label)).find(|found| !found.is_empty());
    favourite.unwrap_or_else(|| if files.len() == 1 { files.to_vec() } else { Vec::new() })
}

/// Whether `label` stands in the file's name by itself: `q4_k` is not in `…-q4_k_m.gguf`.
fn has_label(path: &str, label: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let name = path.rsplit('/').next().unwrap_or(&path);
    let name = name.strip_suffix(".gguf").unwrap_or(name);
    let is_edge =
        |byte: Option<u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'_');
    name == label
        || name.match_indices(label).any(|(at, _)| {
            let before = at.checked_sub(1).map(|before| name.as_bytes()[before]);
            is_edge(before) && is_edge(name.as_bytes().get(at + label.len()).copied())
        })
}

/// Number and count of a part, from `…-00001-of-00003.gguf`.
pub(super) fn part(path: &str) -> Option<(usize, usize)> {
    let name = path.get(..path.len().checked_sub(".gguf".len())?)?;
    let (rest, parts) = name.rsplit_once("-of-")?;
    let (_, number) = rest.rsplit_once('-')?;
    Some((number.parse().ok()?, parts.parse().ok()?))
}

/// The path without the number of the part.
fn stem(path: &str) -> &str {
    match part(path) {
        Some(_) => path
            .rsplit_once("-of-")
            .and_then(|(rest, _)| rest.rsplit_once('-'))
            .map_or(path, |(stem, _)| stem),
        None => path,
    }
}

/// hf-hub's errors by what the asker can do about them.
fn told(error: HFError, endpoint: &Url, name: &ModelName) -> PullError {
    let host = host_of(endpoint);
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(current) = cause {
        if super::guard::is_private(current) {
            return PullError::PrivateAddress { host };
        }
        cause = current.source();
    }
    match &error {
        HFError::RepoNotFound { .. }
        | HFError::RevisionNotFound { .. }
        | HFError::EntryNotFound { .. } => PullError::NotFound(name.to_string()),
        HFError::AuthRequired { .. } | HFError::Forbidden { .. } => PullError::Denied {
            host,
            reason: "set HF_TOKEN to a token of an account that may read it".to_owned(),
        },
        HFError::Request { .. } | HFError::RateLimited { .. } => {
            PullError::Unreachable { host, problem: error.to_string(), tries: 1 }
        }
        other => PullError::BadAnswer { host, problem: other.to_string() },
    }
}
