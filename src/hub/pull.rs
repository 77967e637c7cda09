//! Getting models from elsewhere: what is asked, what is told on the way, and how it may fail.
//!
//! [`Pulls`] is the one door: it runs each pull once however many ask for it, a few at a time,
//! keeps detached ones over a restart, and tells every [`PullWatch`] how far it is. The caller
//! decides who may ask, and in which dialect it is told.

mod address;
mod board;
pub(crate) mod fetch;
mod guard;
pub(crate) mod http;
mod hugging_face;
mod network;
mod partial;
mod queue;
mod rate;
pub(crate) mod registry;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::ErrorKind;

use serde::Serialize;

use crate::digest::Digest;
use crate::library::Entry;
use crate::name::ModelName;

pub use address::Address;
pub use board::{PullStatus, PullWatch, Pulls, Report, Wanted, Work};

/// What somebody wants to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// As people write it: `qwen3:0.6b`, `registry.example/team/model:tag`, `hf.co/org/repo:Q4_K_M`.
    /// Its spelling is what the registry is asked for; in the library case does not count.
    /// With an address: what the model will be called.
    pub name: String,
    /// Where its file is, if its name does not tell.
    pub from: Option<Address>,
    /// Whether it goes on when nobody watches, also after a restart. Otherwise it is cancelled
    /// when its last [`PullWatch`] is dropped; what was fetched is kept for the next time.
    pub is_detached: bool,
}

/// How far a pull is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PullProgress {
    pub stage: PullStage,
    /// The file in question; only at [`PullStage::Fetching`], and only if it is known beforehand.
    pub digest: Option<Digest>,
    /// Bytes of that file; 0 at other stages.
    pub total: u64,
    /// Bytes of that file that are here; never falls, but for a file that starts anew because the
    /// server cannot go on in the middle.
    pub completed: u64,
}

/// What a pull does, in this order; [`PullStage::Fetching`] once or more for every file, the
/// files one after the other, each at the end with `completed == total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PullStage {
    /// Others run first.
    Waiting,
    /// The registry is asked what makes the model up.
    Manifest,
    /// A file is fetched, and hashed meanwhile.
    Fetching,
    /// The files are checked: digests, and that the model can be run here.
    Verifying,
    /// The model gets its name.
    Writing,
}

/// What a watcher hears: progress, and at last one of the two ends.
#[derive(Clone, Debug)]
pub enum PullEvent {
    Progress(PullProgress),
    /// The model is in the library.
    Done(Box<Entry>),
    Failed(PullError),
}

/// Why a pull ended without a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// The text is not a model's name, or the part of it that says what is wanted fits nothing.
    #[error("{0}")]
    BadName(String),
    #[error("models are not pulled from `{0}`; an admin may add it to hub.registries")]
    RegistryNotAllowed(String),
    #[error("models are not pushed to `{0}`; an admin may add it to hub.push_registries")]
    PushNotAllowed(String),
    /// The registry does not have it, or hides it.
    #[error("model `{0}` was not found where it should come from")]
    NotFound(String),
    /// The registry wants a credential that we do not have.
    #[error("{host} refuses access{}", why(.reason))]
    Denied { host: String, reason: String },
    /// A registry, redirect or token server at an address of this machine or network.
    #[error("{host} is at a private address; an admin may add it to hub.private_hosts")]
    PrivateAddress { host: String },
    #[error("realm host \"{realm}\" does not match original host \"{registry}\"")]
    ForeignRealm { realm: String, registry: String },
    /// Bytes of a model would go to another host than the one that was named.
    #[error("{registry} sends the upload on to {host}, which is not followed")]
    ForeignUpload { host: String, registry: String },
    /// A file of this library that is not what it should be; it is not sent.
    #[error("{0} is damaged on this machine; see hearth models verify")]
    DamagedBlob(Digest),
    /// A model that came from elsewhere, or another pull under way.
    #[error("model `{0}` comes from elsewhere; remove it first or choose another name")]
    NameTaken(ModelName),
    /// What arrived is not what was named; it has been deleted.
    #[error("digest mismatch, file must be downloaded again: want {want}, got {got}")]
    DigestMismatch { want: Digest, got: Digest },
    #[error("{need_bytes} bytes are needed on the disk, {free_bytes} are free")]
    DiskFull { need_bytes: u64, free_bytes: u64 },
    /// Others took the room meanwhile. What had come has been deleted: a full disk stops more than
    /// this pull.
    #[error("the disk became full while the model was written; make room and pull again")]
    DiskFilled,
    /// The registry says something that makes no sense, or too much of it.
    #[error("{host} answers badly: {problem}")]
    BadAnswer { host: String, problem: String },
    /// The files are whole, but this program cannot run them.
    #[error("{0}")]
    BadModel(String),
    /// The network or the registry failed again and again.
    #[error("{host} could not be reached or broke off, tried {tries} times: {problem}")]
    Unreachable { host: String, problem: String, tries: u32 },
    #[error("too many pulls are waiting; try again later")]
    QueueFull,
    #[error("the pull was cancelled")]
    Cancelled,
    /// The server is going down; a detached pull goes on at the next start.
    #[error("the server is stopping")]
    Stopping,
    /// This machine failed: disk, permissions. For the log and for admins.
    #[error("{0}")]
    Local(String),
}

/// Result of a pull.
pub type PullResult<T> = std::result::Result<T, PullError>;

impl PullProgress {
    /// A stage that is about no file.
    pub(crate) fn stage(stage: PullStage) -> PullProgress {
        PullProgress { stage, digest: None, total: 0, completed: 0 }
    }
}

impl From<crate::Error> for PullError {
    fn from(error: crate::Error) -> PullError {
        match error {
            crate::Error::BadName { .. } => PullError::BadName(error.to_string()),
            crate::Error::BadModel(_) | crate::Error::Builtin(_) => {
                PullError::BadModel(error.to_string())
            }
            crate::Error::Io { source, .. } if is_full(&source) => PullError::DiskFilled,
            other => PullError::Local(other.to_string()),
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn why(reason: &str) -> impl fmt::Display + '_ {
    fmt::from_fn(move |f| if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") })
}
