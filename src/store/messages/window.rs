//! The part of a chat that is on the screen: the end of one branch, and what stands before it.

use rusqlite::{Connection, OptionalExtension};

use super::{MAX_PER_CHAT, Message, MessageId, Messages, row};
use crate::chats::{self, Chat, ChatId};
use crate::error::{Error, Result};
use crate::users::UserId;

/// Text of one window, in bytes: so much is on the screen long before it is read.
const WINDOW_BYTES: usize = 40_000;
/// Messages that a window has however long they are.
const LEAST: usize = 2;

/// Consecutive messages of one branch, each with its versions.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The chat.
    pub chat: Chat,
    /// The oldest first.
    pub messages: Vec<Message>,
    /// Whether messages stand before them.
    pub has_earlier: bool,
}

impl Messages<'_> {
    /// The end of the branch that is shown, or with `before` what stands before that message.
    pub async fn window(
        &self,
        owner: UserId,
        chat: &ChatId,
        before: Option<MessageId>,
        most: u32,
    ) -> Result<Window> {
        let chat = chat.clone();
        self.0
            .read(move |connection| {
                let snapshot = connection.unchecked_transaction()?;
                let chat = chats::find(&snapshot, owner, &chat)?;
                let last = match before {
                    Some(before) => super::find(&snapshot, &chat.id, &before)?.parent_id,
                    None => match chat.current_message_id.clone() {
                        Some(current) => Some(current),
                        None => newest(&snapshot, &chat.id)?,
                    },
                };
                walk_up(&snapshot, chat, last, most as usize)
            })
            .await
    }

    /// The newest end below this message: where a look at its branch lands.
    pub async fn newest_leaf(
        &self,
        owner: UserId,
        chat: &ChatId,
        from: MessageId,
    ) -> Result<MessageId> {
        let chat = chat.clone();
        self.0
            .read(move |connection| {
                let snapshot = connection.unchecked_transaction()?;
                chats::find(&snapshot, owner, &chat)?;
                super::find(&snapshot, &chat, &from)?;
                newest_below(&snapshot, &chat, from)
            })
            .await
    }
}

/// The newest end below a message of this chat.
pub(super) fn newest_below(
    connection: &Connection,
    chat: &ChatId,
    from: MessageId,
) -> Result<MessageId> {
    let mut leaf = from;
    let mut child = connection.prepare_cached(
        "SELECT id FROM messages WHERE chat_id = ?1 AND parent_id = ?2
         ORDER BY created_at DESC, id DESC LIMIT 1",
    )?;
    for _ in 0..MAX_PER_CHAT {
        match child.query_row((chat, &leaf), |row| row.get(0)).optional()? {
            Some(next) => leaf = next,
            None => break,
        }
    }
    Ok(leaf)
}

fn newest(connection: &Connection, chat: &ChatId) -> Result<Option<MessageId>> {
    let newest = connection
        .prepare_cached(
            "SELECT id FROM messages WHERE chat_id = ?1
             ORDER BY created_at DESC, id DESC LIMIT 1",
        )?
        .query_row([chat], |row| row.get(0))
        .optional()?;
    Ok(newest)
}

fn walk_up(
    connection: &Connection,
    chat: Chat,
    last: Option<MessageId>,
    most: usize,
) -> Result<Window> {
    let mut messages = Vec::new();
    let mut bytes = 0;
    let mut next = last;
    while let Some(id) = next.clone() {
        let mut message = match super::find(connection, &chat.id, &id) {
            Ok(message) => message,
            // A branch that is deleted while it is looked at ends here.
            Err(Error::NotFound) => break,
            Err(error) => return Err(error),
        };
        bytes += message.content.len() + message.reasoning.as_deref().map_or(0, str::len);
        if messages.len() >= most || (messages.len() >= LEAST && bytes > WINDOW_BYTES) {
            break;
        }
        message.versions = versions(connection, &chat.id, &message)?;
        next = message.parent_id.clone();
        messages.push(message);
    }
    messages.reverse();
    let has_earlier = next.is_some() && !messages.is_empty();
    Ok(Window { chat, messages, has_earlier })
}

/// The messages beside this one, itself included, the oldest first; empty if it is alone.
pub(super) fn versions(
    connection: &Connection,
    chat: &ChatId,
    message: &Message,
) -> Result<Vec<MessageId>> {
    let mut statement = connection.prepare_cached(
        "SELECT id FROM messages WHERE chat_id = ?1 AND parent_id IS ?2
         ORDER BY created_at, id LIMIT ?3",
    )?;
    let versions: rusqlite::Result<Vec<MessageId>> =
        statement.query_map((chat, &message.parent_id, MAX_PER_CHAT), |row| row.get(0))?.collect();
    let versions = versions?;
    Ok(if versions.len() > 1 { versions } else { Vec::new() })
}

/// The branch that ends in `leaf`, from its root on; empty if the chat has no such message.
pub(crate) fn branch(
    connection: &Connection,
    chat: &ChatId,
    leaf: &MessageId,
) -> Result<Vec<Message>> {
    let mut statement = connection.prepare_cached(
        "WITH RECURSIVE branch (id, depth) AS (
             SELECT id, 0 FROM messages WHERE chat_id = ?1 AND id = ?2
             UNION ALL
             SELECT m.parent_id, b.depth + 1
             FROM branch b JOIN messages m ON m.chat_id = ?1 AND m.id = b.id
             WHERE m.parent_id IS NOT NULL LIMIT ?3)
         SELECT m.* FROM branch b JOIN messages m ON m.id = b.id
         ORDER BY b.depth DESC",
    )?;
    let messages: rusqlite::Result<Vec<Message>> =
        statement.query_map((chat, leaf, MAX_PER_CHAT), row::read)?.collect();
    Ok(messages?)
}
