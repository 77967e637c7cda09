//! Rows of messages: a tree per chat, reached only through the owner of the chat.

mod change;
mod row;
mod search;
mod types;
mod window;

use rusqlite::{Connection, OptionalExtension, named_params};

use crate::chats::{self, Chat, ChatId};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::users::UserId;

pub use change::ImportedChat;
pub use search::Hit;
pub(crate) use search::catch_up;
pub use types::{
    Message, MessageCall, MessageEnd, MessageError, MessageFile, MessageId, MessageRole,
    MessageStatus, MessageUsage, NewMessage, TurnStart,
};
pub use window::Window;
pub(crate) use window::branch;

/// Most messages of one chat, all branches together.
const MAX_PER_CHAT: i64 = 4_096;
/// Most text of one chat, all branches together.
const MAX_CHAT_BYTES: i64 = 32 << 20;

/// Questions about messages.
pub struct Messages<'a>(pub(crate) &'a Store);

impl Messages<'_> {
    /// All messages of the chat, all branches, the oldest first. The limits on a chat's size
    /// bound the list.
    pub async fn list(&self, owner: UserId, chat: &ChatId) -> Result<Vec<Message>> {
        let chat = chat.clone();
        self.0
            .read(move |connection| {
                let snapshot = connection.unchecked_transaction()?;
                chats::find(&snapshot, owner, &chat)?;
                let mut statement = snapshot.prepare_cached(
                    "SELECT * FROM messages WHERE chat_id = ?1 ORDER BY created_at, id LIMIT ?2",
                )?;
                let messages: rusqlite::Result<Vec<Message>> =
                    statement.query_map((chat, MAX_PER_CHAT), row::read)?.collect();
                Ok(messages?)
            })
            .await
    }

    /// The branch that ends in `leaf`, from its root on; [`Error::NotFound`] if the chat has no
    /// such message.
    pub async fn branch(
        &self,
        owner: UserId,
        chat: &ChatId,
        leaf: &MessageId,
    ) -> Result<Vec<Message>> {
        let (chat, leaf) = (chat.clone(), leaf.clone());
        self.0
            .read(move |connection| {
                let snapshot = connection.unchecked_transaction()?;
                chats::find(&snapshot, owner, &chat)?;
                let messages = branch(&snapshot, &chat, &leaf)?;
                if messages.is_empty() { Err(Error::NotFound) } else { Ok(messages) }
            })
            .await
    }

    /// One message of the chat, or [`Error::NotFound`].
    pub async fn get(&self, owner: UserId, chat: &ChatId, id: &MessageId) -> Result<Message> {
        let (chat, id) = (chat.clone(), id.clone());
        self.0
            .read(move |connection| {
                let snapshot = connection.unchecked_transaction()?;
                chats::find(&snapshot, owner, &chat)?;
                find(&snapshot, &chat, &id)
            })
            .await
    }

    /// Writes the messages that begin a turn and makes the answer the chat's current message,
    /// all in one transaction.
    ///
    /// The answer is stored as it is given: with status `stopped` and no text it reads rightly
    /// if the process ends before [`Messages::finish`].
    pub async fn start_turn(&self, owner: UserId, turn: TurnStart) -> Result<Chat> {
        self.0
            .write(move |connection| {
                let chat = &turn.chat_id;
                chats::find(connection, owner, chat)?;
                let now = turn.answer.created_at;
                if let Some(question) = &turn.question {
                    add(connection, owner, chat, question)?;
                }
                if turn.continues {
                    reopen(connection, chat, &turn.answer.id)?;
                } else {
                    add(connection, owner, chat, &turn.answer)?;
                }
                connection
                    .prepare_cached(
                        "UPDATE chats SET
                             current_message_id = iif(:beside, current_message_id, :current),
                             model = iif(:beside, model, coalesce(:model, model)),
                             title = iif(title = '', coalesce(:title, ''), title),
                             updated_at = max(updated_at, :now)
                         WHERE id = :id AND user_id = :owner",
                    )?
                    .execute(named_params! {
                        ":id": chat,
                        ":owner": owner,
                        ":current": turn.answer.id,
                        ":beside": turn.is_beside,
                        ":model": turn.answer.model,
                        ":title": turn.title_if_empty,
                        ":now": now,
                    })?;
                chats::find(connection, owner, chat)
            })
            .await
    }

    /// Writes how an answer ended; [`Error::NotFound`] if the chat was deleted meanwhile.
    pub async fn finish(
        &self,
        owner: UserId,
        chat: &ChatId,
        end: MessageEnd,
    ) -> Result<(Message, Chat)> {
        let chat = chat.clone();
        self.0
            .write(move |connection| {
                chats::find(connection, owner, &chat)?;
                let before = find(connection, &chat, &end.id)?;
                write_end(connection, owner, &chat, &end)?;
                search::list(connection, owner, &end.id, &end.content)?;
                change::grow(
                    connection,
                    &chat,
                    end.content.len() as i64 - before.content.len() as i64,
                )?;
                connection
                    .prepare_cached(
                        "UPDATE chats SET updated_at = max(updated_at, ?2) WHERE id = ?1",
                    )?
                    .execute((&chat, end.ended_at))?;
                let mut message = find(connection, &chat, &end.id)?;
                message.versions = window::versions(connection, &chat, &message)?;
                Ok((message, chats::find(connection, owner, &chat)?))
            })
            .await
    }
}

fn find(connection: &Connection, chat: &ChatId, id: &MessageId) -> Result<Message> {
    connection
        .prepare_cached("SELECT * FROM messages WHERE chat_id = ?1 AND id = ?2")?
        .query_row((chat, id), row::read)
        .optional()?
        .ok_or(Error::NotFound)
}

/// An answer that goes on counts as stopped again until it ends.
fn reopen(connection: &Connection, chat: &ChatId, id: &MessageId) -> Result<()> {
    let found = connection
        .prepare_cached(
            "UPDATE messages SET status = 'stopped', finish_reason = NULL, error_code = NULL
             WHERE chat_id = ?1 AND id = ?2",
        )?
        .execute((chat, id))?;
    if found == 0 { Err(Error::NotFound) } else { Ok(()) }
}

/// Adds a message, within the limits on the chat's size.
fn add(connection: &Connection, owner: UserId, chat: &ChatId, message: &NewMessage) -> Result<()> {
    let files: usize = message.files.iter().map(|file| file.text.len()).sum();
    let bytes = (message.content.len() + files) as i64;
    let grown = connection
        .prepare_cached(
            "UPDATE chats SET message_count = message_count + 1,
                 content_bytes = content_bytes + ?2
             WHERE id = ?1 AND message_count < ?3 AND content_bytes + ?2 <= ?4",
        )?
        .execute((chat, bytes, MAX_PER_CHAT, MAX_CHAT_BYTES))?;
    if grown == 0 {
        return Err(Error::ChatFull { messages: MAX_PER_CHAT, mebibytes: MAX_CHAT_BYTES >> 20 });
    }
    connection
        .prepare_cached(
            "INSERT INTO messages (id, chat_id, parent_id, role, content, reasoning, files, model,
                 status, created_at)
             VALUES (:id, :chat, :parent, :role, :content, :reasoning, :files, :model,
                 :status, :created_at)",
        )?
        .execute(named_params! {
            ":id": message.id,
            ":chat": chat,
            ":parent": message.parent_id,
            ":role": message.role,
            ":content": message.content,
            ":reasoning": message.reasoning,
            ":files": row::files_text(&message.files),
            ":model": message.model,
            ":status": message.status,
            ":created_at": message.created_at,
        })
        .map_err(chats::hide_foreign)?;
    change::list(connection, owner, message)
}

fn write_end(
    connection: &Connection,
    owner: UserId,
    chat: &ChatId,
    end: &MessageEnd,
) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE messages SET content = :content, reasoning = :reasoning,
                 reasoning_ms = :reasoning_ms, calls = :calls, channel_id = :channel_id,
                 status = :status, finish_reason = :finish_reason, prompt_tokens = :prompt_tokens,
                 completion_tokens = :completion_tokens, cached_tokens = :cached_tokens,
                 queue_ms = :queue_ms, first_token_ms = :first_token_ms, total_ms = :total_ms,
                 cost_micros = (SELECT cost_micros FROM usage
                     WHERE client_request_id = :request_id AND user_id = :owner
                     ORDER BY created_at DESC LIMIT 1),
                 error_code = :error_code, error_message = :error_message
             WHERE chat_id = :chat AND id = :id",
        )?
        .execute(named_params! {
            ":chat": chat,
            ":id": end.id,
            ":content": end.content,
            ":reasoning": end.reasoning,
            ":reasoning_ms": end.reasoning_ms.map(|ms| ms as i64),
            ":calls": row::calls_text(&end.calls),
            ":channel_id": end.channel_id,
            ":status": end.status,
            ":finish_reason": end.finish_reason,
            ":prompt_tokens": end.usage.map(|usage| usage.prompt_tokens),
            ":completion_tokens": end.usage.map(|usage| usage.completion_tokens),
            ":cached_tokens": end.usage.map(|usage| usage.cached_tokens),
            ":queue_ms": end.usage.map(|usage| usage.queue_ms as i64),
            ":first_token_ms": end.usage.map(|usage| usage.first_token_ms as i64),
            ":total_ms": end.usage.map(|usage| usage.total_ms as i64),
            ":request_id": end.request_id,
            ":owner": owner,
            ":error_code": end.error.as_ref().map(|error| error.code.as_str()),
            ":error_message": end.error.as_ref().map(|error| error.message.as_str()),
        })?;
    Ok(())
}
