//! `/hearth/chats…`: a user's own chats. Rows of others are not found.

mod answer;
mod history;
mod title;
mod turns;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use hearth_store::{Chat, ChatChange, ChatCursor, ChatId, MessageId, NewChat};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::body::Json;
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

pub(crate) use turns::{Turn, turn};

/// Most chats of one page.
const MAX_CHATS: u32 = 100;
/// Longest title that a user gives, in characters.
const MAX_TITLE_CHARS: usize = 200;
/// Longest model name, in bytes.
const MAX_MODEL_BYTES: usize = 256;

/// Which page of chats.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    #[serde(default = "Page::usual")]
    limit: u32,
    before: Option<String>,
}

impl Page {
    fn usual() -> u32 {
        50
    }
}

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Query(page): Query<Page>,
) -> Result<axum::Json<Value>> {
    if !(1..=MAX_CHATS).contains(&page.limit) {
        return Err(Failure::invalid(format!("'limit' must be 1 to {MAX_CHATS}.")));
    }
    let before = page.before.map(|text| text.parse::<ChatCursor>()).transpose();
    let before = before.map_err(|_| Failure::invalid("'before' is not a cursor of this list."))?;
    let (chats, next) = state.store().chats().list(caller.owner()?, before, page.limit).await?;
    let chats: Vec<Value> = chats.iter().map(summary).collect();
    let next = next.map(|cursor| cursor.to_string());
    Ok(axum::Json(json!({ "chats": chats, "next": next })))
}

fn summary(chat: &Chat) -> Value {
    json!({
        "id": chat.id, "title": chat.title, "model": chat.model,
        "created_at": chat.created_at, "updated_at": chat.updated_at,
    })
}

/// A chat to begin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    model: Option<String>,
    title: Option<String>,
}

pub(crate) async fn create(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<New>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    check(body.title.as_deref(), body.model.as_deref())?;
    let new = NewChat {
        id: ChatId(new_id()),
        title: body.title.unwrap_or_default(),
        model: body.model,
        created_at: state.now(),
    };
    let chat = state.store().chats().create(caller.owner()?, new).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "chat": chat }))))
}

pub(crate) async fn show(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>> {
    let (owner, id) = (caller.owner()?, ChatId(id));
    let chat = state.store().chats().get(owner, &id).await?;
    let messages = state.store().messages().list(owner, &id).await?;
    Ok(axum::Json(json!({ "chat": chat, "messages": messages })))
}

/// Changes of a chat; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    title: Option<String>,
    model: Option<String>,
    current_message_id: Option<String>,
}

pub(crate) async fn update(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
    Json(body): Json<Change>,
) -> Result<axum::Json<Value>> {
    check(body.title.as_deref(), body.model.as_deref())?;
    let change = ChatChange {
        title: body.title,
        model: body.model,
        current_message_id: body.current_message_id.map(MessageId),
    };
    let (owner, now) = (caller.owner()?, state.now());
    let chat = state.store().chats().update(owner, &ChatId(id), change, now).await?;
    Ok(axum::Json(json!({ "chat": chat })))
}

pub(crate) async fn delete(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    state.store().chats().delete(caller.owner()?, &ChatId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check(title: Option<&str>, model: Option<&str>) -> Result<()> {
    if title.is_some_and(|title| title.chars().count() > MAX_TITLE_CHARS) {
        let message = format!("'title' may have at most {MAX_TITLE_CHARS} characters.");
        return Err(Failure::invalid(message));
    }
    if model.is_some_and(|model| !(1..=MAX_MODEL_BYTES).contains(&model.len())) {
        return Err(Failure::invalid("'model' is no model's name."));
    }
    Ok(())
}

/// An id for a new row: unique, and later ones sort later.
fn new_id() -> String {
    Uuid::now_v7().to_string()
}
