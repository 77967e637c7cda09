//! Invites, and those who follow them.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use hearth_gateway::accounts::{InviteWishes, Join};
use hearth_store::{InviteId, UserRole};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::session::{Visitor, signed_in};
use crate::body::Json;
use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
) -> Result<axum::Json<Value>> {
    Ok(axum::Json(json!({ "invites": state.accounts().list_invites(&caller).await? })))
}

/// An invite to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    #[serde(default)]
    note: String,
    /// `user` or `admin`.
    #[schema(value_type = Option<String>)]
    role: Option<UserRole>,
    /// Name of the group that the new users come into.
    group: Option<String>,
    /// Accounts that can be made with it; without it, one.
    uses: Option<u32>,
    /// Seconds that it is open; without it, seven days.
    lifetime_s: Option<u32>,
}

pub(crate) async fn create(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<New>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    let wishes = InviteWishes {
        note: body.note,
        role: body.role.unwrap_or(UserRole::User),
        group: body.group,
        uses: body.uses.unwrap_or(1),
        lifetime_s: body.lifetime_s.unwrap_or(7 * 24 * 60 * 60),
    };
    let (invite, secret) = state.accounts().create_invite(&caller, wishes).await?;
    let body = json!({ "invite": invite, "secret": secret.reveal() });
    Ok((StatusCode::CREATED, axum::Json(body)))
}

pub(crate) async fn delete(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    state.accounts().delete_invite(&caller, InviteId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Somebody who follows an invite.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Newcomer {
    invite: String,
    name: String,
    password: String,
}

pub(crate) async fn join(
    State(state): State<AppState>,
    visit: Visitor,
    Json(body): Json<Newcomer>,
) -> Result<Response> {
    let join = Join { secret: body.invite, name: body.name, password: body.password };
    let joined = state.accounts().join(join, visit.with(None)).await?;
    signed_in(&state, StatusCode::CREATED, &joined)
}
