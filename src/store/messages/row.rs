//! Between columns and the types of a message.

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use serde_json::{Value, json};

use super::types::{
    Message, MessageCall, MessageError, MessageFile, MessageId, MessageRole, MessageStatus,
    MessageUsage,
};
use crate::money::MicroDollars;

/// Reads a whole row of `messages`.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: row.get("id")?,
        parent_id: row.get("parent_id")?,
        role: row.get("role")?,
        content: row.get("content")?,
        reasoning: row.get("reasoning")?,
        reasoning_ms: row.get::<_, Option<i64>>("reasoning_ms")?.map(i64::unsigned_abs),
        calls: read_list(row.get("calls")?),
        files: read_list(row.get("files")?),
        channel_id: row.get("channel_id")?,
        model: row.get("model")?,
        status: row.get("status")?,
        finish_reason: row.get("finish_reason")?,
        usage: read_usage(row)?,
        error: read_error(row)?,
        versions: Vec::new(),
        created_at: row.get("created_at")?,
    })
}

fn read_usage(row: &Row<'_>) -> rusqlite::Result<Option<MessageUsage>> {
    let Some(prompt_tokens) = row.get("prompt_tokens")? else { return Ok(None) };
    Ok(Some(MessageUsage {
        prompt_tokens,
        completion_tokens: row.get("completion_tokens")?,
        cached_tokens: row.get::<_, Option<u32>>("cached_tokens")?.unwrap_or(0),
        cost: row.get::<_, Option<MicroDollars>>("cost_micros")?,
        queue_ms: row.get::<_, Option<i64>>("queue_ms")?.unwrap_or(0).unsigned_abs(),
        first_token_ms: row.get::<_, i64>("first_token_ms")?.unsigned_abs(),
        total_ms: row.get::<_, i64>("total_ms")?.unsigned_abs(),
    }))
}

/// A column that only this room writes; one that cannot be read counts as empty.
fn read_list<T: serde::de::DeserializeOwned>(text: Option<String>) -> Vec<T> {
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// The column `calls`.
pub(super) fn calls_text(calls: &[MessageCall]) -> Option<String> {
    if calls.is_empty() { None } else { serde_json::to_string(calls).ok() }
}

/// The column `files`.
pub(super) fn files_text(files: &[MessageFile]) -> Option<String> {
    if files.is_empty() {
        return None;
    }
    // Not as the API shows them, which is without their text.
    let rows: Vec<_> = files
        .iter()
        .map(|file| json!({ "name": file.name, "bytes": file.bytes, "text": file.text }))
        .collect();
    Some(Value::Array(rows).to_string())
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
