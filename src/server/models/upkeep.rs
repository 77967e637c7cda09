//! Looking after the library: re-hashing, clearing away, and models as files. Paths are of the
//! server's machine, so these are for the command line there.

use std::path::PathBuf;

use axum::extract::State;
use axum::http::StatusCode;
use hearth_gateway::backend::ModelState;
use hearth_hub::{Damage, Library, Shared};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::import::readable;
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

pub(crate) async fn verify(
    State(state): State<AppState>,
    Json(body): Json<Verify>,
) -> Result<axum::Json<Value>> {
    let verify = move |library: &Library| {
        library.verify(body.name.as_deref(), &mut |_| std::ops::ControlFlow::Continue(()))
    };
    let damaged = on_library(&state, verify).await?;
    let row = |damage: &Damage| json!({ "digest": damage.digest, "found": damage.found, "models": damage.models });
    Ok(axum::Json(json!({ "damaged": damaged.iter().map(row).collect::<Vec<_>>() })))
}

pub(crate) async fn collect(State(state): State<AppState>) -> Result<axum::Json<Value>> {
    let removed = on_library(&state, Library::collect_unused).await?;
    Ok(axum::Json(json!({ "files": removed.files, "bytes": removed.bytes })))
}

pub(crate) async fn export(
    State(state): State<AppState>,
    Json(body): Json<Archive>,
) -> Result<StatusCode> {
    require_absolute(&body.path)?;
    on_library(&state, move |library| library.export(&body.name, &body.path)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn import_archive(
    State(state): State<AppState>,
    Json(body): Json<Archive>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    require_readable(&body.path).await?;
    let import = move |library: &Library| library.import_archive(&body.path, &body.name);
    let model = shape(&on_library(&state, import).await?, ModelState::Idle);
    Ok((StatusCode::CREATED, axum::Json(json!({ "model": model }))))
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
