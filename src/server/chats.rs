//! `/hearth/chats…`: a user's own chats. Rows of others are not found.

mod answer;
mod folders;
mod history;
mod import;
mod live;
mod parameters;
mod shares;
mod title;
mod turns;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use hearth_store::{
    Chat, ChatChange, ChatCursor, ChatId, ChatView, FolderId, Hit, MessageId, NewChat,
};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::body::{Json, present};
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

pub(crate) use folders::{Named, add_folder, delete_folder, folders, rename_folder};
pub(crate) use import::{Import, import};
pub(crate) use live::Live;
pub(crate) use parameters::Settings;
pub(crate) use shares::{Link, open, share, share_of, shared, unshare};
pub(crate) use turns::{Turn, follow, stop, turn};

/// Most chats of one page.
const MAX_CHATS: u32 = 100;
/// Messages that open with a chat.
const WINDOW_MESSAGES: u32 = 40;
/// Most messages of one page.
const MAX_MESSAGES: u32 = 200;
/// Chats that a search finds.
const MAX_HITS: usize = 30;
/// Longest question of a search, in bytes.
const MAX_QUESTION_BYTES: usize = 1_000;
/// Longest title that a user gives, in characters.
const MAX_TITLE_CHARS: usize = 200;
/// Longest model name, in bytes.
const MAX_MODEL_BYTES: usize = 256;

/// Which page of which chats.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    #[serde(default = "Page::usual")]
    limit: u32,
    before: Option<String>,
    view: Option<String>,
    folder: Option<String>,
}

impl Page {
    fn usual() -> u32 {
        50
    }

    fn view(&self) -> Result<ChatView> {
        match (self.view.as_deref(), &self.folder) {
            (None, Some(folder)) => Ok(ChatView::Folder(FolderId(folder.clone()))),
            (None | Some("all"), None) => Ok(ChatView::All),
            (Some("loose"), None) => Ok(ChatView::Loose),
            (Some("pinned"), None) => Ok(ChatView::Pinned),
            (Some("archived"), None) => Ok(ChatView::Archived),
            _ => Err(Failure::invalid(
                "Send 'view' as all, loose, pinned or archived, or 'folder' alone.",
            )),
        }
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
    let view = page.view()?;
    let before = page.before.map(|text| text.parse::<ChatCursor>()).transpose();
    let before = before.map_err(|_| Failure::invalid("'before' is not a cursor of this list."))?;
    let chats = state.store().chats();
    let (chats, next) = chats.list(caller.owner()?, view, before, page.limit).await?;
    let chats: Vec<Value> = chats.iter().map(summary).collect();
    let next = next.map(|cursor| cursor.to_string());
    Ok(axum::Json(json!({ "chats": chats, "next": next })))
}

fn summary(chat: &Chat) -> Value {
    json!({
        "id": chat.id, "title": chat.title, "model": chat.model, "folder_id": chat.folder_id,
        "pinned": chat.is_pinned, "archived": chat.is_archived,
        "created_at": chat.created_at, "updated_at": chat.updated_at,
    })
}

/// What to look for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    q: String,
}

pub(crate) async fn search(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Query(question): Query<Question>,
) -> Result<axum::Json<Value>> {
    if question.q.len() > MAX_QUESTION_BYTES {
        return Err(Failure::invalid(format!("'q' may have at most {MAX_QUESTION_BYTES} bytes.")));
    }
    let messages = state.store().messages();
    let hits = messages.search(caller.owner()?, question.q, MAX_HITS).await?;
    let shape = |hit: &Hit| {
        json!({
            "chat": summary(&hit.chat), "message_id": hit.message_id, "excerpt": hit.excerpt,
        })
    };
    let hits: Vec<Value> = hits.iter().map(shape).collect();
    Ok(axum::Json(json!({ "hits": hits })))
}

/// A chat to begin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    model: Option<String>,
    title: Option<String>,
    settings: Option<Settings>,
    folder_id: Option<String>,
}

pub(crate) async fn create(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Json(body): Json<New>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    check(body.title.as_deref(), body.model.as_deref())?;
    let owner = caller.owner()?;
    let id = ChatId(new_id());
    let new = NewChat {
        id: id.clone(),
        title: body.title.unwrap_or_default(),
        model: body.model,
        created_at: state.now(),
    };
    let change = ChatChange {
        settings: body.settings.map(stored).transpose()?,
        folder_id: body.folder_id.map(|folder| Some(FolderId(folder))),
        ..ChatChange::default()
    };
    let mut chat = state.store().chats().create(owner, new).await?;
    if change.settings.is_some() || change.folder_id.is_some() {
        chat = state.store().chats().update(owner, &id, change).await?;
    }
    Ok((StatusCode::CREATED, axum::Json(json!({ "chat": chat }))))
}

/// Which messages of a chat.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// The message that the asked ones stand before.
    before: Option<String>,
    limit: Option<u32>,
}

/// The chat and the end of the branch that is shown.
pub(crate) async fn show(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
    Query(part): Query<Part>,
) -> Result<axum::Json<Value>> {
    let most = part.limit.unwrap_or(WINDOW_MESSAGES);
    if !(1..=MAX_MESSAGES).contains(&most) {
        return Err(Failure::invalid(format!("'limit' must be 1 to {MAX_MESSAGES}.")));
    }
    let (owner, before) = (caller.owner()?, part.before.map(MessageId));
    let messages = state.store().messages();
    let window = messages.window(owner, &ChatId(id), before, most).await?;
    let answers = state.live().of(&window.chat.id);
    let running: Vec<&MessageId> = answers.iter().map(|answer| answer.message_id()).collect();
    Ok(axum::Json(json!({
        "chat": window.chat, "messages": window.messages, "has_earlier": window.has_earlier,
        "running": running,
    })))
}

/// The chat with all messages of all branches, and the texts of files.
pub(crate) async fn export(
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
    /// A message of the branch to be shown; its newest end is.
    current_message_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    folder_id: Option<Option<String>>,
    pinned: Option<bool>,
    archived: Option<bool>,
    settings: Option<Settings>,
}

pub(crate) async fn update(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
    Json(body): Json<Change>,
) -> Result<axum::Json<Value>> {
    check(body.title.as_deref(), body.model.as_deref())?;
    let (owner, id) = (caller.owner()?, ChatId(id));
    let current_message_id = match body.current_message_id {
        Some(message) => {
            let messages = state.store().messages();
            Some(messages.newest_leaf(owner, &id, MessageId(message)).await?)
        }
        None => None,
    };
    let change = ChatChange {
        title: body.title,
        model: body.model,
        current_message_id,
        folder_id: body.folder_id.map(|folder| folder.map(FolderId)),
        is_pinned: body.pinned,
        is_archived: body.archived,
        settings: body.settings.map(stored).transpose()?,
    };
    let chat = state.store().chats().update(owner, &id, change).await?;
    Ok(axum::Json(json!({ "chat": chat })))
}

fn stored(settings: Settings) -> Result<Value> {
    settings.check()?;
    serde_json::to_value(settings).map_err(|error| Failure::internal(format!("settings: {error}")))
}

pub(crate) async fn delete(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let (owner, id) = (caller.owner()?, ChatId(id));
    state.store().chats().delete(owner, &id).await?;
    // Nobody can stop them any more.
    for answer in state.live().of(&id) {
        answer.stop();
    }
    Ok(StatusCode::NO_CONTENT)
}

/// One message, for versions that are not on the branch that is shown.
pub(crate) async fn message(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path((id, message)): Path<(String, String)>,
) -> Result<axum::Json<Value>> {
    let messages = state.store().messages();
    let message = messages.get(caller.owner()?, &ChatId(id), &MessageId(message)).await?;
    Ok(axum::Json(json!({ "message": message })))
}

/// Deletes one message; what follows it stays.
pub(crate) async fn delete_message(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Path((id, message)): Path<(String, String)>,
) -> Result<axum::Json<Value>> {
    let (id, message) = (ChatId(id), MessageId(message));
    if state.live().of(&id).iter().any(|answer| *answer.message_id() == message) {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            "turn_running",
            "This answer is still being written; stop it first.",
        ));
    }
    let chat = state.store().messages().delete(caller.owner()?, &id, &message).await?;
    Ok(axum::Json(json!({ "chat": chat })))
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
