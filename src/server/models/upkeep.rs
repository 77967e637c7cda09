//! Looking after the library: re-hashing, clearing away, and models as files. Paths are of the
//! server's machine, so these are for the command line there.

use std::path::PathBuf;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use hearth_gateway::backend::ModelState;
use hearth_gateway::request::RequestId;
use hearth_hub::{BrokenManifest, Damage, Library, Shared};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::import::readable;
use super::progress::told;
use super::{on_library, shape};
use crate::body::Json;
use crate::error::{Failure, Result};
use crate::state::AppState;

/// What is hashed anew.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verify {
    /// One model; without it, all.
    name: Option<String>,
}

/// A model as a file.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Archive {
    name: String,
    #[schema(value_type = String)]
    path: PathBuf,
}

/// The folder where Ollama keeps its models.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Share {
    #[schema(value_type = String)]
    path: PathBuf,
}

/// Lines of progress, and at last which files are damaged and which manifests cannot be read.
pub(crate) async fn verify(
    State(state): State<AppState>,
    Extension(id): Extension<RequestId>,
    Json(body): Json<Verify>,
) -> Result<Response> {
    told(&state, id, move |library, on_progress| {
        let damaged = library.verify(body.name.as_deref(), on_progress)?;
        let row = |damage: &Damage| {
            let Damage { digest, found, models } = damage;
            json!({ "digest": digest, "found": found, "models": models })
        };
        let damaged: Vec<Value> = damaged.iter().map(row).collect();
        let broken = match body.name {
            Some(_) => Vec::new(),
            None => library.broken_manifests()?,
        };
        Ok(json!({ "damaged": damaged, "manifests": manifests(&broken) }))
    })
    .await
}

pub(crate) async fn collect(State(state): State<AppState>) -> Result<axum::Json<Value>> {
    let (removed, broken) = on_library(&state, Library::collect_unused).await?;
    Ok(axum::Json(json!({
        "files": removed.files, "bytes": removed.bytes, "manifests": manifests(&broken),
    })))
}

fn manifests(broken: &[BrokenManifest]) -> Vec<Value> {
    let row = |manifest: &BrokenManifest| json!({ "path": manifest.path.display().to_string(), "problem": manifest.problem });
    broken.iter().map(row).collect()
}

/// Lines of progress, and at last `{"path": …}`.
pub(crate) async fn export(
    State(state): State<AppState>,
    Extension(id): Extension<RequestId>,
    Json(body): Json<Archive>,
) -> Result<Response> {
    require_absolute(&body.path)?;
    told(&state, id, move |library, on_progress| {
        library.export(&body.name, &body.path, on_progress)?;
        Ok(json!({ "path": body.path.display().to_string() }))
    })
    .await
}

/// Lines of progress, and at last `{"model": …}`.
pub(crate) async fn import_archive(
    State(state): State<AppState>,
    Extension(id): Extension<RequestId>,
    Json(body): Json<Archive>,
) -> Result<Response> {
    require_readable(&body.path).await?;
    told(&state, id, move |library, on_progress| {
        let entry = library.import_archive(&body.path, &body.name, on_progress)?;
        Ok(json!({ "model": shape(&entry, ModelState::Idle) }))
    })
    .await
}

pub(crate) async fn share(
    State(state): State<AppState>,
    Json(body): Json<Share>,
) -> Result<axum::Json<Value>> {
    require_readable(&body.path).await?;
    let shared = on_library(&state, move |library| library.share_ollama(&body.path)).await?;
    let row = |shared: &Shared| {
        let refused = shared.refused.as_ref().map(ToString::to_string);
        json!({ "name": shared.name, "refused": refused })
    };
    Ok(axum::Json(json!({ "models": shared.iter().map(row).collect::<Vec<_>>() })))
}

fn require_absolute(path: &std::path::Path) -> Result<()> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(Failure::invalid("'path' must be an absolute path on the server's machine."))
}

async fn require_readable(path: &std::path::Path) -> Result<()> {
    require_absolute(path)?;
    let path = path.to_owned();
    let checked = tokio::task::spawn_blocking(move || readable::check(&path)).await;
    checked.map_err(|error| Failure::internal(format!("import: {error}")))?
}
