//! Folders that a user sorts chats under.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use hearth_store::FolderId;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::new_id;
use crate::body::Json;
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

/// Longest name of a folder, in characters.
pub(super) const MAX_NAME_CHARS: usize = 100;

/// A folder's name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    name: String,
}

impl Named {
    fn checked(self) -> Result<String> {
        let name = self.name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME_CHARS {
            let message = format!("'name' must have 1 to {MAX_NAME_CHARS} characters.");
            return Err(Failure::invalid(message));
        }
        Ok(name.to_owned())
    }
}

pub(crate) async fn folders(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    let folders = state.store().chats().folders(caller.owner()?).await?;
    Ok(axum::Json(json!({ "folders": folders })))
}

pub(crate) async fn add_folder(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<Named>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    let (owner, name, id) = (caller.owner()?, body.checked()?, FolderId(new_id()));
    let folder = state.store().chats().add_folder(owner, id, name, state.now()).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "folder": folder }))))
}

pub(crate) async fn rename_folder(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
    Json(body): Json<Named>,
) -> Result<axum::Json<Value>> {
    let (owner, name) = (caller.owner()?, body.checked()?);
    let folder = state.store().chats().rename_folder(owner, FolderId(id), name).await?;
    Ok(axum::Json(json!({ "folder": folder })))
}

pub(crate) async fn delete_folder(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    state.store().chats().delete_folder(caller.owner()?, FolderId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
