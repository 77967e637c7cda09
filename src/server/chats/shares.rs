//! Links to chats, and what those read who follow them.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use hearth_store::{Chat, ChatId, Message, NewShare, ShareId};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::body::Json;
use crate::error::Result;
use crate::guard::Signed;
use crate::state::AppState;

/// Whom a link lets in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Link {
    /// Everyone who has the link; else users of this server.
    open: bool,
}

pub(crate) async fn share_of(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>> {
    let share = state.store().chats().share_of(caller.owner()?, &ChatId(id)).await?;
    Ok(axum::Json(json!({ "share": share })))
}

pub(crate) async fn share(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
    Json(body): Json<Link>,
) -> Result<axum::Json<Value>> {
    // 122 random bits: whoever guesses a link may as well guess a password.
    let secret = ShareId(Uuid::new_v4().simple().to_string());
    let new = NewShare { id: secret, is_open: body.open, created_at: state.now() };
    let share = state.store().chats().share(caller.owner()?, &ChatId(id), new).await?;
    Ok(axum::Json(json!({ "share": share })))
}

pub(crate) async fn unshare(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    state.store().chats().unshare(caller.owner()?, &ChatId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// For users of this server.
pub(crate) async fn shared(
    State(state): State<AppState>,
    Signed(_reader): Signed,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>> {
    let (chat, messages) = state.store().chats().shared(ShareId(id), false).await?;
    Ok(axum::Json(shape(&chat, &messages)))
}

/// For everyone, if the link is open.
pub(crate) async fn open(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>> {
    let (chat, messages) = state.store().chats().shared(ShareId(id), true).await?;
    Ok(axum::Json(shape(&chat, &messages)))
}

/// What strangers may see: who said what, not what it cost or where it is kept.
fn shape(chat: &Chat, messages: &[Message]) -> Value {
    let messages: Vec<Value> = messages
        .iter()
        .map(|message| {
            json!({
                "id": message.id, "role": message.role, "content": message.content,
                "reasoning": message.reasoning, "model": message.model, "files": message.files,
                "created_at": message.created_at,
            })
        })
        .collect();
    json!({ "title": chat.title, "created_at": chat.created_at, "messages": messages })
}
