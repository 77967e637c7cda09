//! What admins do with users.

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use hearth_gateway::accounts::{AccountChange, NewAccount};
use hearth_gateway::caller::Caller;
use hearth_gateway::permission::ROLES;
use hearth_store::{MAX_PAGE, User, UserId, UserRole};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::body::{AnyBytes, Json, present};
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
    /// `user`, `admin` or `owner`.
    #[schema(value_type = String)]
    role: UserRole,
    password: String,
    email: Option<String>,
    /// Name of their group.
    group: Option<String>,
}

pub(crate) async fn create(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<New>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    let new = NewAccount { name: body.name, role: body.role, password: body.password };
    let more = AccountChange {
        email: body.email.map(Some),
        group: body.group.map(Some),
        ..AccountChange::default()
    };
    let user = state.accounts().create_user_with(&caller, new, more).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "user": user }))))
}

/// Changes of a user; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// `user`, `admin` or `owner`.
    #[schema(value_type = Option<String>)]
    role: Option<UserRole>,
    disabled: Option<bool>,
    password: Option<String>,
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    email: Option<Option<String>>,
    /// Name of their group; null is none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    group: Option<Option<String>>,
}

pub(crate) async fn update(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
    Json(body): Json<Change>,
) -> Result<axum::Json<Value>> {
    let change = AccountChange {
        role: body.role,
        disabled: body.disabled,
        password: body.password,
        name: body.name,
        email: body.email,
        group: body.group,
    };
    let user = state.accounts().update_user(&caller, UserId(id), change).await?;
    Ok(axum::Json(json!({ "user": user })))
}

pub(crate) async fn remove(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    state.accounts().remove_user(&caller, UserId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn end_sessions(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
) -> Result<axum::Json<Value>> {
    let ended = state.accounts().end_sessions_of(&caller, UserId(id)).await?;
    Ok(axum::Json(json!({ "ended": ended })))
}

pub(crate) async fn end_second_factor(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    state.accounts().reset_second_factor(&caller, UserId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All people as a table of comma-separated values.
pub(crate) async fn export(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<impl IntoResponse> {
    let table = state.accounts().export_users(&caller).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"users.csv\""),
    ];
    Ok((headers, table))
}

/// Whether to look only.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct How {
    #[serde(default)]
    dry_run: bool,
}

/// People from such a table, all or none.
pub(crate) async fn import(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Query(how): Query<How>,
    AnyBytes(file): AnyBytes,
) -> Result<axum::Json<Value>> {
    let imported = state.accounts().import_users(&caller, &file, how.dry_run).await?;
    Ok(axum::Json(json!(imported)))
}

/// The built-in roles and what they may do.
pub(crate) async fn roles() -> axum::Json<Value> {
    let roles: Vec<Value> = ROLES
        .iter()
        .map(|(role, permissions)| json!({ "role": role, "permissions": permissions }))
        .collect();
    axum::Json(json!({ "roles": roles }))
}
