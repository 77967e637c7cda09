//! Groups of people.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use hearth_gateway::accounts::GroupWishes;
use hearth_store::GroupId;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::body::{Json, present};
use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    Ok(axum::Json(json!({ "groups": state.accounts().list_groups(&caller).await? })))
}

/// A group to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    name: String,
    /// Models that its people may use; without it, all.
    models: Option<Vec<String>>,
    /// Parts of what the engine computes that its people have against one of others, 1 to 100;
    /// without it, 1.
    weight: Option<u16>,
}

pub(crate) async fn create(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<New>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    let wishes =
        GroupWishes { name: Some(body.name), models: Some(body.models), weight: body.weight };
    let group = state.accounts().create_group(&caller, wishes).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "group": group }))))
}

/// Changes of a group; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    name: Option<String>,
    /// null is all.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    models: Option<Option<Vec<String>>>,
    /// 1 to 100.
    weight: Option<u16>,
}

pub(crate) async fn update(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
    Json(body): Json<Change>,
) -> Result<axum::Json<Value>> {
    let wishes = GroupWishes { name: body.name, models: body.models, weight: body.weight };
    let group = state.accounts().update_group(&caller, GroupId(id), wishes).await?;
    Ok(axum::Json(json!({ "group": group })))
}

pub(crate) async fn delete(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    state.accounts().delete_group(&caller, GroupId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
