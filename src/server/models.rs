//! `/hearth/models…`: what the machine can run, and what admins do with it.

mod catalogue;
mod import;
mod progress;
mod pull;
mod push;
mod upkeep;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use hearth_gateway::backend::{ModelState, ServedModel};
use hearth_gateway::caller::Caller;
use hearth_hub::{Entry, Library, Origin};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

use crate::body::Json;
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

pub use catalogue::Judge;
pub(crate) use catalogue::search;
pub(crate) use import::{Import, import};
pub(crate) use pull::{Pull, cancel as cancel_pull, list as pulls, pull};
pub(crate) use push::{Push, push, whole as pushable};
pub(crate) use upkeep::{Archive, Share, Verify, collect, export, import_archive, share, verify};

/// A model as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Model {
    pub(crate) name: String,
    /// `builtin`, `imported`, `remote` (a channel answers) or `alias` (a name for others).
    source: &'static str,
    /// `gguf` or `safetensors`.
    format: String,
    architecture: String,
    quantization: String,
    parameters: u64,
    size_bytes: u64,
    context_tokens: u64,
    /// `idle`, `loading`, `loaded` or `remote`.
    state: &'static str,
    chat: bool,
    note: Option<&'static str>,
    created_at: i64,
}

/// The model of the library, with the state that the gateway tells.
pub(crate) fn shape(entry: &Entry, state: ModelState) -> Model {
    let about = &entry.description;
    let is_builtin = entry.origin == Origin::Builtin;
    Model {
        name: entry.name.to_string(),
        source: if is_builtin { "builtin" } else { "imported" },
        format: about.model_format.clone(),
        architecture: about.model_family.clone(),
        quantization: about.file_type.clone(),
        parameters: about.parameters,
        size_bytes: entry.size_bytes,
        context_tokens: about.context_length,
        state: state_name(state),
        chat: about.has_chat_template,
        note: is_builtin.then_some("A small guide to Hearth itself; it knows nothing else."),
        created_at: about.created_at,
    }
}

/// A model that is not in the library: its channel knows more of it than we do.
fn elsewhere(model: ServedModel) -> Model {
    let is_remote = model.state == ModelState::Remote;
    Model {
        name: model.name,
        source: if is_remote { "remote" } else { "alias" },
        format: String::new(),
        architecture: String::new(),
        quantization: String::new(),
        parameters: 0,
        size_bytes: 0,
        context_tokens: 0,
        state: state_name(model.state),
        chat: true,
        note: None,
        created_at: model.created_at,
    }
}

fn state_name(state: ModelState) -> &'static str {
    match state {
        ModelState::Idle => "idle",
        ModelState::Loading => "loading",
        ModelState::Loaded => "loaded",
        ModelState::Remote => "remote",
    }
}

/// The models that the caller may use, with the facts that the library knows.
pub(crate) fn visible(state: &AppState, caller: &Caller) -> Vec<Model> {
    let served = state.gateway().models(caller).into_iter();
    let with_facts = |model: ServedModel| match state.library().find(&model.name) {
        Ok(entry) if model.state != ModelState::Remote => shape(&entry, model.state),
        _ => elsewhere(model),
    };
    served.map(with_facts).collect()
}

/// The model of new chats: the user's own choice if it is on offer, else the first that chats.
pub(crate) async fn default_model(state: &AppState, caller: &Caller) -> Result<Option<String>> {
    let chosen = match caller.user_id {
        Some(_) => state.accounts().me(caller).await?.default_model,
        None => None,
    };
    if let Some(model) = chosen.and_then(|name| state.gateway().model(caller, &name).ok()) {
        return Ok(Some(model.name));
    }
    let models = visible(state, caller);
    let first = models.iter().find(|model| model.chat).or(models.first());
    Ok(first.map(|model| model.name.clone()))
}

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let default_model = default_model(&state, &caller).await?;
    let models = visible(&state, &caller);
    Ok(axum::Json(json!({ "models": models, "default_model": default_model })))
}

/// A second name for a model.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Copy {
    source: String,
    destination: String,
}

pub(crate) async fn copy(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<Copy>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    state.gateway().model(&caller, &body.source)?;
    let entry = on_library(&state, move |library| library.copy(&body.source, &body.destination));
    let model = shape(&entry.await?, ModelState::Idle);
    Ok((StatusCode::CREATED, axum::Json(json!({ "model": model }))))
}

pub(crate) async fn remove(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    let model = state.gateway().model(&caller, &name)?;
    let is_builtin = state.library().find(&model.name)?.origin == Origin::Builtin;
    if !is_builtin {
        // First, because nobody can unload a model whose name the library has forgotten. A request
        // between the two steps may load it again.
        state.gateway().unload(&caller, &model.name).await?;
    }
    on_library(&state, move |library| library.remove(&model.name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn load(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(name): Path<String>,
) -> Result<axum::Json<Value>> {
    state.gateway().load(&caller, &name).await?;
    show(&state, &caller, &name)
}

pub(crate) async fn unload(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(name): Path<String>,
) -> Result<axum::Json<Value>> {
    state.gateway().unload(&caller, &name).await?;
    show(&state, &caller, &name)
}

fn show(state: &AppState, caller: &Caller, name: &str) -> Result<axum::Json<Value>> {
    let served = state.gateway().model(caller, name)?;
    let model = shape(&state.library().find(&served.name)?, served.state);
    Ok(axum::Json(json!({ "model": model })))
}

/// Runs work on the library off the async threads.
pub(crate) async fn on_library<T: Send + 'static>(
    state: &AppState,
    work: impl FnOnce(&Library) -> hearth_hub::Result<T> + Send + 'static,
) -> Result<T> {
    let library = Arc::clone(state.library());
    let worked = tokio::task::spawn_blocking(move || work(&library)).await;
    let worked = worked.map_err(|error| Failure::internal(format!("library: {error}")))?;
    Ok(worked?)
}
