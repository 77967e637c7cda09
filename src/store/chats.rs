//! Rows of chats. Every question names the owner: a foreign chat and an absent one look the same.

mod folders;
mod shares;

use std::fmt;
use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::messages::MessageId;
use crate::page;
use crate::store::Store;
use crate::users::UserId;

pub use folders::{Folder, FolderId};
pub use shares::{NewShare, Share, ShareId};

/// Most chats of one user.
const MAX_PER_USER: i64 = 10_000;

/// Names a chat: a UUID of version 7.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChatId(pub String);

/// A chat without its messages. Serialized as Hearth's own API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chat {
    /// Names the chat.
    pub id: ChatId,
    /// What the list shows; empty until the first message.
    pub title: String,
    /// The model that answers.
    pub model: Option<String>,
    /// The end of the branch that is shown.
    pub current_message_id: Option<MessageId>,
    /// Where its owner keeps it.
    pub folder_id: Option<FolderId>,
    /// Whether it stands above the others.
    #[serde(rename = "pinned")]
    pub is_pinned: bool,
    /// Whether it is put away.
    #[serde(rename = "archived")]
    pub is_archived: bool,
    /// What is asked for with every turn: instructions and parameters. An object.
    pub settings: Value,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds of the last message.
    pub updated_at: i64,
}

/// Which of a user's chats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChatView {
    /// All but those put away.
    All,
    /// Neither pinned nor in a folder nor put away.
    Loose,
    /// Pinned, and not put away.
    Pinned,
    /// Put away.
    Archived,
    /// In this folder, and not put away.
    Folder(FolderId),
}

/// A chat to be made.
#[derive(Clone, Debug)]
pub struct NewChat {
    /// Names the chat.
    pub id: ChatId,
    /// What the list shows; may be empty.
    pub title: String,
    /// The model that answers.
    pub model: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
}

/// Changes of a chat; `None` leaves a column as it is.
#[derive(Clone, Debug, Default)]
pub struct ChatChange {
    /// A new title.
    pub title: Option<String>,
    /// Another model.
    pub model: Option<String>,
    /// Another branch: a message of this chat.
    pub current_message_id: Option<MessageId>,
    /// A folder of the same owner, or none.
    pub folder_id: Option<Option<FolderId>>,
    /// Whether it stands above the others.
    pub is_pinned: Option<bool>,
    /// Whether it is put away.
    pub is_archived: Option<bool>,
    /// What is asked for with every turn: an object.
    pub settings: Option<Value>,
}

/// Where a page of chats ends and the next begins.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatCursor {
    /// When the last chat of the page changed.
    pub updated_at: i64,
    /// The last chat of the page.
    pub id: ChatId,
}

/// Questions about chats.
pub struct Chats<'a>(pub(crate) &'a Store);

impl Chats<'_> {
    /// The user's chats, the latest changed first, and where the next page begins if there is one.
    pub async fn list(
        &self,
        owner: UserId,
        view: ChatView,
        before: Option<ChatCursor>,
        limit: u32,
    ) -> Result<(Vec<Chat>, Option<ChatCursor>)> {
        self.0
            .read(move |connection| {
                let rows = page::rows(limit);
                let (updated_at, id) =
                    before.map_or((i64::MAX, String::new()), |at| (at.updated_at, at.id.0));
                let (only, folder) = match view {
                    ChatView::All | ChatView::Archived => (":folder IS NULL", None),
                    ChatView::Loose => ("NOT is_pinned AND folder_id IS :folder", None),
                    ChatView::Pinned => ("is_pinned AND :folder IS NULL", None),
                    ChatView::Folder(ref folder) => ("folder_id = :folder", Some(folder.clone())),
                };
                let mut statement = connection.prepare_cached(&format!(
                    "SELECT * FROM chats
                     WHERE user_id = :owner AND is_archived = :archived
                         AND (updated_at, id) < (:updated_at, :id)
                         AND {only}
                     ORDER BY updated_at DESC, id DESC LIMIT :rows"
                ))?;
                let parameters = named_params! {
                    ":owner": owner,
                    ":archived": view == ChatView::Archived,
                    ":updated_at": updated_at,
                    ":id": id,
                    ":folder": folder,
                    // One more than the page tells whether there is a next one.
                    ":rows": rows + 1,
                };
                let chats: rusqlite::Result<Vec<Chat>> =
                    statement.query_map(parameters, read_chat)?.collect();
                let mut chats = chats?;
                let more = chats.len() as i64 > rows;
                chats.truncate(rows as usize);
                let next = chats
                    .last()
                    .filter(|_| more)
                    .map(|chat| ChatCursor { updated_at: chat.updated_at, id: chat.id.clone() });
                Ok((chats, next))
            })
            .await
    }

    /// Makes a chat.
    pub async fn create(&self, owner: UserId, new: NewChat) -> Result<Chat> {
        self.0
            .write(move |connection| {
                add(connection, owner, &new)?;
                find(connection, owner, &new.id)
            })
            .await
    }

    /// The user's chat with this id, or [`Error::NotFound`].
    pub async fn get(&self, owner: UserId, id: &ChatId) -> Result<Chat> {
        let id = id.clone();
        self.0.read(move |connection| find(connection, owner, &id)).await
    }

    /// Changes a chat; its place in the list stays. A message of another chat as the current one
    /// or a folder of another user is [`Error::NotFound`] too.
    pub async fn update(&self, owner: UserId, id: &ChatId, change: ChatChange) -> Result<Chat> {
        let id = id.clone();
        self.0
            .write(move |connection| {
                if let Some(Some(folder)) = &change.folder_id {
                    folders::find(connection, owner, folder)?;
                }
                connection
                    .prepare_cached(
                        "UPDATE chats SET
                             title = coalesce(:title, title),
                             model = coalesce(:model, model),
                             current_message_id = coalesce(:current, current_message_id),
                             folder_id = iif(:moves, :folder, folder_id),
                             is_pinned = coalesce(:is_pinned, is_pinned),
                             is_archived = coalesce(:is_archived, is_archived),
                             settings = coalesce(:settings, settings)
                         WHERE id = :id AND user_id = :owner",
                    )?
                    .execute(named_params! {
                        ":id": id,
                        ":owner": owner,
                        ":title": change.title,
                        ":model": change.model,
                        ":current": change.current_message_id,
                        ":moves": change.folder_id.is_some(),
                        ":folder": change.folder_id.flatten(),
                        ":is_pinned": change.is_pinned,
                        ":is_archived": change.is_archived,
                        ":settings": change.settings.map(|settings| settings.to_string()),
                    })
                    .map_err(hide_foreign)?;
                find(connection, owner, &id)
            })
            .await
    }

    /// Deletes a chat and its messages, or fails with [`Error::NotFound`].
    pub async fn delete(&self, owner: UserId, id: &ChatId) -> Result<()> {
        let id = id.clone();
        self.0
            .write(move |connection| {
                let deleted = connection
                    .prepare_cached("DELETE FROM chats WHERE id = ?1 AND user_id = ?2")?
                    .execute((id, owner))?;
                if deleted == 0 { Err(Error::NotFound) } else { Ok(()) }
            })
            .await
    }
}

/// Adds a chat without messages, within the limit on a user's chats.
pub(crate) fn add(connection: &Connection, owner: UserId, new: &NewChat) -> Result<()> {
    let owned: i64 = connection
        .prepare_cached("SELECT count(*) FROM chats WHERE user_id = ?1")?
        .query_row([owner], |row| row.get(0))?;
    if owned >= MAX_PER_USER {
        return Err(Error::TooMany { what: "chats", limit: MAX_PER_USER as u64 });
    }
    connection
        .prepare_cached(
            "INSERT INTO chats (id, user_id, title, model, created_at, updated_at)
             VALUES (:id, :owner, :title, :model, :created_at, :created_at)",
        )?
        .execute(named_params! {
            ":id": new.id,
            ":owner": owner,
            ":title": new.title,
            ":model": new.model,
            ":created_at": new.created_at,
        })?;
    Ok(())
}

/// The user's chat with this id, or [`Error::NotFound`].
pub(crate) fn find(connection: &Connection, owner: UserId, id: &ChatId) -> Result<Chat> {
    connection
        .prepare_cached("SELECT * FROM chats WHERE id = ?1 AND user_id = ?2")?
        .query_row((id, owner), read_chat)
        .optional()?
        .ok_or(Error::NotFound)
}

/// A pointer to a row of another chat is answered like a pointer to nothing.
pub(crate) fn hide_foreign(error: rusqlite::Error) -> Error {
    match Error::from(error) {
        error if error.is_foreign_key_violation() => Error::NotFound,
        error => error,
    }
}

pub(crate) fn read_chat(row: &Row<'_>) -> rusqlite::Result<Chat> {
    let settings: String = row.get("settings")?;
    Ok(Chat {
        id: row.get("id")?,
        title: row.get("title")?,
        model: row.get("model")?,
        current_message_id: row.get("current_message_id")?,
        folder_id: row.get("folder_id")?,
        is_pinned: row.get("is_pinned")?,
        is_archived: row.get("is_archived")?,
        settings: serde_json::from_str(&settings).unwrap_or_else(|_| Value::Object(Map::new())),
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

/// `TIME.ID`: clients hand it back as they got it.
impl fmt::Display for ChatCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.updated_at, self.id.0)
    }
}

/// What [`ChatCursor`]'s text must look like was not met.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of a list of chats")]
pub struct BadCursor;

impl FromStr for ChatCursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> std::result::Result<ChatCursor, BadCursor> {
        let (updated_at, id) = text.split_once('.').ok_or(BadCursor)?;
        let updated_at = updated_at.parse().map_err(|_| BadCursor)?;
        if id.is_empty() || id.len() > 64 {
            return Err(BadCursor);
        }
        Ok(ChatCursor { updated_at, id: ChatId(id.to_owned()) })
    }
}

impl ToSql for ChatId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for ChatId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<ChatId> {
        String::column_result(value).map(ChatId)
    }
}
