//! Between columns and the types of a message.

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use super::types::{Message, MessageError, MessageId, MessageRole, MessageStatus, MessageUsage};

/// Reads a whole row of `messages`.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: row.get("id")?,
        parent_id: row.get("parent_id")?,
        role: row.get("role")?,
        content: row.get("content")?,
        model: row.get("model")?,
        status: row.get("status")?,
        finish_reason: row.get("finish_reason")?,
        usage: read_usage(row)?,
        error: read_error(row)?,
        created_at: row.get("created_at")?,
    })
}

fn read_usage(row: &Row<'_>) -> rusqlite::Result<Option<MessageUsage>> {
    let Some(prompt_tokens) = row.get("prompt_tokens")? else { return Ok(None) };
    Ok(Some(MessageUsage {
        prompt_tokens,
        completion_tokens: row.get("completion_tokens")?,
        first_token_ms: row.get::<_, i64>("first_token_ms")?.unsigned_abs(),
        total_ms: row.get::<_, i64>("total_ms")?.unsigned_abs(),
    }))
}

fn read_error(row: &Row<'_>) -> rusqlite::Result<Option<MessageError>> {
    let Some(code) = row.get("error_code")? else { return Ok(None) };
    Ok(Some(MessageError { code, message: row.get("error_message")? }))
}

impl ToSql for MessageId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for MessageId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<MessageId> {
        String::column_result(value).map(MessageId)
    }
}

impl ToSql for MessageRole {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = match self {
            MessageRole::System => "system",
            MessageRole::User => "user",
            MessageRole::Assistant => "assistant",
        };
        Ok(text.into())
    }
}

impl FromSql for MessageRole {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<MessageRole> {
        match value.as_str()? {
            "system" => Ok(MessageRole::System),
            "user" => Ok(MessageRole::User),
            "assistant" => Ok(MessageRole::Assistant),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for MessageStatus {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = match self {
            MessageStatus::Complete => "complete",
            MessageStatus::Stopped => "stopped",
            MessageStatus::Failed => "failed",
        };
        Ok(text.into())
    }
}

impl FromSql for MessageStatus {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<MessageStatus> {
        match value.as_str()? {
            "complete" => Ok(MessageStatus::Complete),
            "stopped" => Ok(MessageStatus::Stopped),
            "failed" => Ok(MessageStatus::Failed),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}
