//! Models at a plain address: a GGUF file, or the parts of one, of which nobody has told a digest.

use reqwest::header::{self, HeaderMap};
use reqwest::{Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Network, Running, layer, write};
use crate::digest::Digest;
use crate::library::{Entry, Pin};
use crate::manifest::{GGUF_TYPE, Manifest, read_json};
use crate::name::ModelName;
use crate::pull::address::Address;
use crate::pull::board::Report;
use crate::pull::fetch::{Fetcher, Remote, blocking};
use crate::pull::http::{Access, Ask, Failure, bad_answer};
use crate::pull::{PullError, PullProgress, PullResult, PullStage};

/// What every GGUF file begins with.
const MAGIC: &[u8] = b"GGUF";

/// Where a model came from, as its config blob keeps it: without the address itself, which may be
/// private.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    address: Digest,
    /// Of the files there; `None` where the server does not tell versions apart.
    version: Option<Digest>,
}

/// The part of a config blob that is ours.
#[derive(Deserialize)]
struct Marked {
    hearth_from: Mark,
}

impl Network {
    pub(super) async fn pull_address(
        &self,
        name: &ModelName,
        address: &Address,
        report: Report,
    ) -> PullResult<Entry> {
        let host = address.host();
        if !self.config.allows(&host) {
            return Err(PullError::RegistryNotAllowed(host));
        }
        let known = self.mark_of(name, address).await?;
        report.tell(PullProgress::stage(PullStage::Manifest));
        let mut files = Vec::new();
        for url in address.parts()? {
            files.push(look(&self.fetcher, url, address.digest()).await?);
        }
        let mark = Mark { address: address.identity(), version: version(&files) };
        if mark.version.is_some() && known.as_ref() == Some(&mark) {
            return Ok(self.library.find(&name.to_string())?);
        }
        let whole = files.iter().map(|file| file.bytes).fold(0, u64::saturating_add);
        let merged_bytes = if files.len() > 1 { whole } else { 0 };
        let mut running = self.begin(name, report, &files, merged_bytes).await?;
        if address.digest().is_some() {
            running.fetch(&files).await?;
        } else {
            for file in &mut files {
                let (digest, pin) = running.fetch_unknown(file).await?;
                file.digest = digest;
                running.pins.push(pin);
            }
        }
        let (digest, bytes) = match &files[..] {
            [file] => (file.digest, file.bytes),
            parts => running.merge(parts).await?,
        };
        running.pins.push(self.library.pin([digest]));
        let config = json!({
            "model_format": "gguf", "os": "linux", "architecture": "amd64", "hearth_from": mark,
        });
        let blobs = self.library.root().join("blobs");
        let config = blocking(move || write(&blobs, config.to_string().as_bytes())).await?;
        running.pins.push(self.library.pin([config.0]));
        let manifest = Manifest::new(config, vec![layer(GGUF_TYPE, digest, bytes, None)]);
        let manifest = manifest.to_bytes()?;
        self.finish(running, manifest, files).await
    }

    /// Where the model of this name came from, if there is one; fails if it is another's.
    async fn mark_of(&self, name: &ModelName, address: &Address) -> PullResult<Option<Mark>> {
        let (library, name, identity) = (self.library.clone(), name.clone(), address.identity());
        let mark = blocking(move || {
            let manifest = match library.manifest(&name) {
                Err(crate::Error::NotFound(_)) => return Ok(Ok(None)),
                manifest => manifest?,
            };
            let config = library.blob_path(&manifest.config.digest);
            let mark = read_json(&config).ok().map(|marked: Marked| marked.hearth_from);
            let is_ours = mark.as_ref().is_some_and(|mark| mark.address == identity);
            Ok(if is_ours { Ok(mark) } else { Err(PullError::NameTaken(name)) })
        });
        mark.await?
    }
}

impl Running<'_> {
    /// Fetches a file whatever it is, and keeps it from being swept away.
    async fn fetch_unknown(&self, file: &Remote) -> PullResult<(Digest, Pin)> {
        let report = self.reporter(None, file.bytes);
        let pin = |digest| self.network.library.pin([digest]);
        self.network.fetcher.fetch_unknown(file, pin, &report).await
    }
}

/// Asks how long the file is, which version it has, and whether it is a model at all.
async fn look(fetcher: &Fetcher, url: Url, digest: Option<Digest>) -> PullResult<Remote> {
    let access = std::sync::Arc::new(Access::with(&url, None));
    let ask = Ask { url: &url, range: Some((0, MAGIC.len() as u64 - 1)), accept: None };
    let (bytes, version) = fetcher.try_often(|| first_look(fetcher, &ask, &access)).await?;
    let version = version.filter(|_| digest.is_none());
    // What has come is kept under a name of its own until its digest is known.
    let stand_in = format!("{url}\n{bytes}\n{}", version.as_deref().unwrap_or_default());
    let digest = digest.unwrap_or_else(|| Digest::of(stand_in.as_bytes()));
    Ok(Remote { url, access, digest, bytes, version })
}

async fn first_look(
    fetcher: &Fetcher,
    ask: &Ask<'_>,
    access: &Access,
) -> Result<(u64, Option<String>), Failure> {
    let mut answer = fetcher.http.get(ask, access).await?;
    let bytes = length(&answer)
        .ok_or_else(|| bad_answer(answer.url(), "it does not say how long the file is"))?;
    let version = version_of(answer.headers());
    let mut start = Vec::new();
    while start.len() < MAGIC.len() {
        let Some(chunk) = fetcher.http.chunk(&mut answer).await? else { break };
        start.extend_from_slice(&chunk[..chunk.len().min(MAGIC.len())]);
    }
    if !start.starts_with(MAGIC) {
        let problem = "what is at this address is no GGUF file".to_owned();
        return Err(Failure::Final(PullError::BadModel(problem)));
    }
    Ok((bytes, version))
}

/// Bytes of the whole file, of which a part or all is sent.
fn length(answer: &Response) -> Option<u64> {
    if answer.status() != StatusCode::PARTIAL_CONTENT {
        return answer.content_length();
    }
    let range = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.rsplit_once('/')?.1.parse().ok()
}

/// What changes when the file does.
pub(in crate::pull) fn version_of(headers: &HeaderMap) -> Option<String> {
    let version = headers.get(header::ETAG).or_else(|| headers.get(header::LAST_MODIFIED));
    Some(version?.to_str().ok()?.to_owned())
}

/// Of all files together; `None` if one of them has none.
fn version(files: &[Remote]) -> Option<Digest> {
    let is_known = |file: &Remote| file.version.is_some();
    // A digest that was told is a version too, but is checked anew each time.
    files.iter().all(is_known).then(|| {
        let all: String = files.iter().map(|file| file.digest.to_string()).collect();
        Digest::of(all.as_bytes())
    })
}
