//! Gets and keeps model files.
//!
//! The [`library::Library`] is a content-addressed store with the layout that Ollama uses
//! (`manifests/<host>/<namespace>/<model>/<tag>`, `blobs/sha256-<hex>`), plus the models that are
//! built into the binary. It knows names, digests and sizes; it never runs a model and knows
//! nothing of users.

mod archive;
pub mod catalogue;
pub mod config;
pub mod digest;
mod disk;
pub mod error;
mod gguf_head;
pub mod import;
pub mod library;
pub mod manifest;
mod merge;
pub mod modelfile;
pub mod name;
pub mod pull;
mod quantize;
mod sweep;
mod workbench;

pub use catalogue::Catalogue;
pub use config::HubConfig;
pub use digest::Digest;
pub use error::{Error, Result};
pub use library::{
    Base, Changes, CreateStep, Damage, Entry, FileFacts, Library, OnStep, Origin, Profile,
    ProfileMessage, Recipe, Shared, Source,
};
pub use modelfile::Modelfile;
pub use name::ModelName;
pub use pull::{PullError, PullEvent, PullProgress, PullRequest, PullStage, PullWatch, Pulls};
pub use quantize::Quantization;
pub use sweep::{BrokenManifest, Removed};
pub use workbench::Workbench;
