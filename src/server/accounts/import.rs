//! Bringing in what another product has.

use std::path::PathBuf;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::body::Json;
use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

/// A database of another product, on this machine.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Import {
    /// As the server sees it.
    #[schema(value_type = String)]
    path: PathBuf,
    /// Only say what would be brought in.
    #[serde(default)]
    dry_run: bool,
}

pub(crate) async fn new_api(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<Import>,
) -> Result<axum::Json<Value>> {
    let report = state.accounts().import_new_api(&caller, body.path, body.dry_run).await?;
    state.gateway().quota().refresh().await;
    Ok(axum::Json(json!(report)))
}
