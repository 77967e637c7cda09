//! The seam between deciding and doing: whoever can answer a request is a [`Backend`].
//!
//! The local engine implements it in the root package (`src/local.rs`); remote channels will
//! implement it here.

use std::time::Duration;

use async_trait::async_trait;
use hearth_store::{ApiTokenId, UserId};

use crate::embedding::{EmbedRequest, Embedding};
use crate::error::{Error, Result};
use crate::event::EventStream;
use crate::passage::{PassRequest, Passage};
use crate::request::GenerateRequest;

/// What tags of models default to, and so may be left out.
const DEFAULT_TAG: &str = ":latest";

/// Who a request is for, as far as it matters to whoever shares out what all want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asker {
    /// `None` is the operator.
    pub user: Option<UserId>,
    /// The API token that was shown; a user's tokens take turns.
    pub token: Option<ApiTokenId>,
    /// The user's part of what is shared, against other users' weights; 0 counts as 1.
    pub weight: u16,
}

/// Someone who can answer requests for some models.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The models that it offers now, by public name.
    fn models(&self) -> Vec<ServedModel>;

    /// One of [`Backend::models`], by any spelling of its name. Asked for each request: a backend
    /// with many models answers it without listing them.
    fn model(&self, name: &str) -> Option<ServedModel> {
        self.models().into_iter().find(|model| is_same(&model.name, name))
    }

    /// Whether members of this group are offered a model, by its full name.
    fn is_offered(&self, _group: Option<&str>, _model: &str) -> bool {
        true
    }

    /// Starts the request and returns once its prompt is accepted (or refused).
    async fn generate(&self, asker: Asker, request: GenerateRequest) -> Result<EventStream>;

    /// Starts to make vectors or scores for this user and returns once the texts are accepted (or refused).
    async fn embed(&self, _user: Option<UserId>, request: EmbedRequest) -> Result<Embedding> {
        Err(no_vectors(&request.model))
    }

    /// Lets a request through to somebody who takes it as it is; returns once the answer begins.
    async fn pass(&self, _user: Option<UserId>, request: PassRequest) -> Result<Passage> {
        Err(passes_nothing(&request))
    }

    /// Tokens of the request's prompt, as [`Backend::generate`] would count them.
    async fn count_tokens(&self, request: GenerateRequest) -> Result<u32>;

    /// Tokens of the request's prompt, near enough to set money aside for it. Asks nobody elsewhere
    /// and fails for no reason that another candidate could make good.
    async fn reckon(&self, request: GenerateRequest) -> Result<u32> {
        self.count_tokens(request).await
    }

    /// The request's prompt as text, as the model's chat template writes it.
    async fn render(&self, request: GenerateRequest) -> Result<String> {
        let message = format!("The prompts of `{}` are not written here.", request.model);
        Err(Error::invalid("model", message))
    }

    /// Makes the model ready to answer; returns when it is.
    async fn load(&self, model: &str) -> Result<()>;

    /// Frees the model's memory once its running requests have ended.
    async fn unload(&self, model: &str) -> Result<()>;

    /// How long the model stays loaded when nothing uses it; goes until another time is told or
    /// the model is unloaded.
    async fn keep(&self, _model: &str, _time: KeepAlive) -> Result<()> {
        Ok(())
    }

    /// What each loaded model does now.
    fn activity(&self) -> Vec<Activity>;
}

/// What a model that writes texts says when it is asked for vectors.
pub fn no_vectors(model: &str) -> Error {
    let message = format!(
        "The model `{model}` does not make embeddings; choose an embedding model, such as one of \
         the bert family."
    );
    Error::invalid("model", message)
}

/// What is said where nobody who has the model takes such a request.
pub fn passes_nothing(request: &PassRequest) -> Error {
    let message = format!(
        "The model `{}` is not offered for /v1{} here: no channel that has it takes such requests.",
        request.model,
        request.route.path()
    );
    Error::invalid("model", message)
}

/// What a model that scores pairs of texts says when it is asked for vectors.
pub fn only_scores(model: &str) -> Error {
    let message = format!(
        "The model `{model}` ranks documents and makes no embeddings; use it with /v1/rerank."
    );
    Error::invalid("model", message)
}

/// A model on offer.
#[derive(Clone, Debug, PartialEq)]
pub struct ServedModel {
    pub name: String,
    pub state: ModelState,
    pub created_at: i64,
}

/// Whether a model can answer at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelState {
    Idle,
    Loading,
    Loaded,
    /// Somebody else answers.
    Remote,
}

/// How long an idle model stays loaded. Memory that others need ends it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    For(Duration),
    Forever,
}

/// Load of one model, for the machine panel and the metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    pub model: String,
    pub memory_bytes: u64,
    /// Part of it that a GPU holds.
    pub gpu_bytes: u64,
    /// Longest prompt and answer together.
    pub context_tokens: u32,
    /// How long it stays if nothing uses it; `None` is for ever.
    pub expires_in: Option<Duration>,
    pub running: u32,
    pub waiting: u32,
    /// How long a request would wait that came now.
    pub queue_wait_ms: u64,
    pub kv_pages_used: u32,
    /// Held by nobody, kept for prompts that begin alike.
    pub kv_pages_cached: u32,
    pub kv_pages_total: u32,
    /// Tokens of prompts that were found computed, since the model was loaded.
    pub cached_tokens: u64,
    /// How often a sequence had to give its place or pages up, since then.
    pub preemptions: u64,
}

/// Whether two spellings name one model: case and the default tag do not matter.
fn is_same(one: &str, other: &str) -> bool {
    let without_tag = |name: &str| {
        let start = name.len().saturating_sub(DEFAULT_TAG.len());
        match name.get(start..) {
            Some(tag) if tag.eq_ignore_ascii_case(DEFAULT_TAG) => start,
            _ => name.len(),
        }
    };
    one[..without_tag(one)].eq_ignore_ascii_case(&other[..without_tag(other)])
}
