//! What admins do with users.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use hearth_gateway::accounts::{AccountChange, NewAccount};
use hearth_gateway::caller::Caller;
use hearth_store::{MAX_PAGE, User, UserId, UserRole};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::body::Json;
use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    Ok(axum::Json(json!({ "users": all(&state, &caller).await? })))
}

/// Every user; the store bounds how many there are.
async fn all(state: &AppState, caller: &Caller) -> Result<Vec<User>> {
    let mut users: Vec<User> = Vec::new();
    loop {
        let after = users.last().map(|user| user.id);
        let page = state.accounts().list_users(caller, after, MAX_PAGE).await?;
        let is_last = page.len() < MAX_PAGE as usize;
        users.extend(page);
        if is_last {
            return Ok(users);
        }
    }
}

/// A user to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    name: String,
    /// `user` or `admin`.
    #[schema(value_type = String)]
    role: UserRole,
    password: String,
}

pub(crate) async fn create(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<New>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    let new = NewAccount { name: body.name, role: body.role, password: body.password };
    let user = state.accounts().create_user(&caller, new).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "user": user }))))
}

/// Changes of a user; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// `user` or `admin`.
    #[schema(value_type = Option<String>)]
    role: Option<UserRole>,
    disabled: Option<bool>,
    password: Option<String>,
}

pub(crate) async fn update(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
    Json(body): Json<Change>,
) -> Result<axum::Json<Value>> {
    let change =
        AccountChange { role: body.role, disabled: body.disabled, password: body.password };
    let user = state.accounts().update_user(&caller, UserId(id), change).await?;
    Ok(axum::Json(json!({ "user": user })))
}
