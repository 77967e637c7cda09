//! Changes of stored messages: what of an answer is safe, one that is deleted, chats from elsewhere.

use rusqlite::{Connection, OptionalExtension, named_params};

use super::window::newest_below;
use super::{Message, MessageId, Messages, NewMessage, search};
use crate::chats::{self, Chat, ChatId, FolderId, NewChat};
use crate::error::{Error, Result};
use crate::users::UserId;

/// A whole chat that comes from elsewhere.
#[derive(Clone, Debug)]
pub struct ImportedChat {
    /// The chat.
    pub chat: NewChat,
    /// Parents before their children, the oldest first.
    pub messages: Vec<NewMessage>,
    /// The end of the branch that is shown.
    pub current: Option<MessageId>,
    /// A folder of the same owner by name, made as this one if there is none.
    pub folder: Option<(FolderId, String)>,
    /// Whether it stands above the others.
    pub is_pinned: bool,
    /// Whether it is put away.
    pub is_archived: bool,
    /// Unix seconds of its last message.
    pub updated_at: i64,
}

impl Messages<'_> {
    /// Keeps what was said and thought so far, in case the process ends before the answer does.
    pub async fn keep(
        &self,
        owner: UserId,
        chat: &ChatId,
        id: &MessageId,
        (content, reasoning): (String, Option<String>),
    ) -> Result<()> {
        let (chat, id) = (chat.clone(), id.clone());
        self.0
            .write(move |connection| {
                chats::find(connection, owner, &chat)?;
                let before = super::find(connection, &chat, &id)?;
                connection
                    .prepare_cached(
                        "UPDATE messages SET content = ?3, reasoning = ?4
                         WHERE chat_id = ?1 AND id = ?2",
                    )?
                    .execute((&chat, &id, &content, reasoning))?;
                grow(connection, &chat, content.len() as i64 - before.content.len() as i64)
            })
            .await
    }

    /// Deletes one message: what follows it now follows what it followed. Gives the chat and the
    /// message that is shown last.
    pub async fn delete(&self, owner: UserId, chat: &ChatId, id: &MessageId) -> Result<Chat> {
        let (chat, id) = (chat.clone(), id.clone());
        self.0
            .write(move |connection| {
                let is_current =
                    chats::find(connection, owner, &chat)?.current_message_id.as_ref() == Some(&id);
                let message = super::find(connection, &chat, &id)?;
                connection
                    .prepare_cached(
                        "UPDATE messages SET parent_id = ?3 WHERE chat_id = ?1 AND parent_id = ?2",
                    )?
                    .execute((&chat, &id, &message.parent_id))?;
                if is_current {
                    point_beside(connection, &chat, &message)?;
                }
                connection
                    .prepare_cached("DELETE FROM messages WHERE chat_id = ?1 AND id = ?2")?
                    .execute((&chat, &id))?;
                connection
                    .prepare_cached(
                        "UPDATE chats SET message_count = message_count - 1,
                             content_bytes = max(0, content_bytes - ?2) WHERE id = ?1",
                    )?
                    .execute((&chat, message.content.len() as i64))?;
                chats::find(connection, owner, &chat)
            })
            .await
    }

    /// Adds a chat from elsewhere with all its messages, or nothing of it.
    pub async fn import(&self, owner: UserId, imported: ImportedChat) -> Result<Chat> {
        self.0
            .write(move |connection| {
                chats::add(connection, owner, &imported.chat)?;
                let id = &imported.chat.id;
                for message in &imported.messages {
                    super::add(connection, owner, id, message)?;
                }
                let folder = match &imported.folder {
                    Some((new, name)) => Some(folder(connection, owner, new, name, &imported)?),
                    None => None,
                };
                connection
                    .prepare_cached(
                        "UPDATE chats SET current_message_id = :current, folder_id = :folder,
                             is_pinned = :pinned, is_archived = :archived, updated_at = :updated_at
                         WHERE id = :id",
                    )?
                    .execute(named_params! {
                        ":id": id,
                        ":current": imported.current,
                        ":folder": folder,
                        ":pinned": imported.is_pinned,
                        ":archived": imported.is_archived,
                        ":updated_at": imported.updated_at,
                    })
                    .map_err(chats::hide_foreign)?;
                chats::find(connection, owner, id)
            })
            .await
    }
}

/// Points the chat to what is left beside or before a message that goes.
fn point_beside(connection: &Connection, chat: &ChatId, message: &Message) -> Result<()> {
    let below: Option<MessageId> = connection
        .prepare_cached(
            "SELECT id FROM messages WHERE chat_id = ?1 AND parent_id IS ?2 AND id <> ?3
             ORDER BY created_at DESC, id DESC LIMIT 1",
        )?
        .query_row((chat, &message.parent_id, &message.id), |row| row.get(0))
        .optional()?;
    let current = match below {
        Some(sibling) => Some(newest_below(connection, chat, sibling)?),
        None => message.parent_id.clone(),
    };
    connection
        .prepare_cached("UPDATE chats SET current_message_id = ?2 WHERE id = ?1")?
        .execute((chat, current))?;
    Ok(())
}

fn folder(
    connection: &Connection,
    owner: UserId,
    new: &FolderId,
    name: &str,
    imported: &ImportedChat,
) -> Result<FolderId> {
    let known: Option<FolderId> = connection
        .prepare_cached("SELECT id FROM chat_folders WHERE user_id = ?1 AND name = ?2 LIMIT 1")?
        .query_row((owner, name), |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    connection
        .prepare_cached(
            "INSERT INTO chat_folders (id, user_id, name, created_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((new, owner, name, imported.chat.created_at))?;
    Ok(new.clone())
}

/// Counts text that a chat has gained or lost.
pub(super) fn grow(connection: &Connection, chat: &ChatId, bytes: i64) -> Result<()> {
    let counted = connection
        .prepare_cached("UPDATE chats SET content_bytes = content_bytes + ?2 WHERE id = ?1")?
        .execute((chat, bytes))?;
    if counted == 0 { Err(Error::NotFound) } else { Ok(()) }
}

/// Lists a message, if it says something.
pub(super) fn list(connection: &Connection, owner: UserId, message: &NewMessage) -> Result<()> {
    if message.content.is_empty() {
        return Ok(());
    }
    search::list(connection, owner, &message.id, &message.content)
}
