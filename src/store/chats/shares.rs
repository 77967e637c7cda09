//! Links to chats. Whoever has a link reads the branch as it was when the link was made.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use super::{Chat, ChatId, Chats, find, read_chat};
use crate::error::{Error, Result};
use crate::messages::{Message, MessageId, branch};
use crate::users::UserId;

/// Names a link; as hard to guess as a password.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShareId(pub String);

/// A link to a chat.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Names the link.
    pub id: ShareId,
    /// The last message that it shows.
    pub leaf_id: MessageId,
    /// Whether it works without signing in.
    #[serde(rename = "open")]
    pub is_open: bool,
    /// Unix seconds.
    pub created_at: i64,
}

/// A link to be made.
#[derive(Clone, Debug)]
pub struct NewShare {
    /// Names the link.
    pub id: ShareId,
    /// Whether it works without signing in.
    pub is_open: bool,
    /// Unix seconds.
    pub created_at: i64,
}

impl Chats<'_> {
    /// The link to the user's chat, if there is one.
    pub async fn share_of(&self, owner: UserId, id: &ChatId) -> Result<Option<Share>> {
        let id = id.clone();
        self.0
            .read(move |connection| {
                find(connection, owner, &id)?;
                share_of(connection, &id)
            })
            .await
    }

    /// Links to the chat as it is now, in place of an earlier link. A link that stays keeps its
    /// id: `new.id` is for the first.
    pub async fn share(&self, owner: UserId, id: &ChatId, new: NewShare) -> Result<Share> {
        let id = id.clone();
        self.0
            .write(move |connection| {
                let chat = find(connection, owner, &id)?;
                let leaf = chat.current_message_id.ok_or(Error::NotFound)?;
                connection
                    .prepare_cached(
                        "INSERT INTO chat_shares (id, chat_id, leaf_id, is_open, created_at)
                         VALUES (?1, ?2, ?3, ?4, ?5)
                         ON CONFLICT (chat_id) DO UPDATE SET leaf_id = excluded.leaf_id,
                             is_open = excluded.is_open, created_at = excluded.created_at",
                    )?
                    .execute((new.id, &id, leaf, new.is_open, new.created_at))?;
                share_of(connection, &id)?.ok_or(Error::NotFound)
            })
            .await
    }

    /// Takes the link to the chat back; does nothing if there is none.
    pub async fn unshare(&self, owner: UserId, id: &ChatId) -> Result<()> {
        let id = id.clone();
        self.0
            .write(move |connection| {
                find(connection, owner, &id)?;
                connection
                    .prepare_cached("DELETE FROM chat_shares WHERE chat_id = ?1")?
                    .execute([id])?;
                Ok(())
            })
            .await
    }

    /// What a link shows, or [`Error::NotFound`]. `is_stranger`: the reader is not signed in.
    pub async fn shared(&self, id: ShareId, is_stranger: bool) -> Result<(Chat, Vec<Message>)> {
        self.0
            .read(move |connection| {
                let snapshot = connection.unchecked_transaction()?;
                let (chat, leaf): (Chat, MessageId) = snapshot
                    .prepare_cached(
                        "SELECT c.*, s.leaf_id FROM chat_shares s JOIN chats c ON c.id = s.chat_id
                         WHERE s.id = ?1 AND (s.is_open OR NOT ?2)",
                    )?
                    .query_row((id, is_stranger), |row| Ok((read_chat(row)?, row.get("leaf_id")?)))
                    .optional()?
                    .ok_or(Error::NotFound)?;
                let messages = branch(&snapshot, &chat.id, &leaf)?;
                Ok((chat, messages))
            })
            .await
    }
}

fn share_of(connection: &Connection, chat: &ChatId) -> Result<Option<Share>> {
    let share = connection
        .prepare_cached("SELECT * FROM chat_shares WHERE chat_id = ?1")?
        .query_row([chat], read)
        .optional()?;
    Ok(share)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Share> {
    Ok(Share {
        id: row.get("id")?,
        leaf_id: row.get("leaf_id")?,
        is_open: row.get("is_open")?,
        created_at: row.get("created_at")?,
    })
}

impl ToSql for ShareId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for ShareId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<ShareId> {
        String::column_result(value).map(ShareId)
    }
}
