//! What a message is, in the form in which it is asked for and shown.

use serde::{Deserialize, Serialize};

use crate::chats::ChatId;

/// Names a message: a UUID of version 7.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub String);

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageRole {
    /// Instructions for the model.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageStatus {
    /// It is whole.
    Complete,
    /// The person stopped it, or the process ended while it was written.
    Stopped,
    /// It failed; [`Message::error`] says why.
    Failed,
}

/// A message. Serialized as Hearth's own API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// Names the message.
    pub id: MessageId,
    /// The message that it answers or continues; `None` begins a branch.
    pub parent_id: Option<MessageId>,
    /// Who speaks.
    pub role: MessageRole,
    /// The text.
    pub content: String,
    /// The model that wrote it.
    pub model: Option<String>,
    /// How it ended.
    pub status: MessageStatus,
    /// `stop` or `length`.
    pub finish_reason: Option<String>,
    /// What it cost.
    pub usage: Option<MessageUsage>,
    /// Why it failed.
    pub error: Option<MessageError>,
    /// Unix seconds.
    pub created_at: i64,
}

/// What an answer cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MessageUsage {
    /// Tokens of the whole prompt.
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    pub completion_tokens: u32,
    /// Time from the request to the first token.
    pub first_token_ms: u64,
    /// Time from the request to the end.
    pub total_ms: u64,
}

/// Why an answer failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageError {
    /// Stable, for programs.
    pub code: String,
    /// For people.
    pub message: String,
}

/// A message to be written.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Names the message.
    pub id: MessageId,
    /// A message of the same chat; `None` begins a branch.
    pub parent_id: Option<MessageId>,
    /// Who speaks.
    pub role: MessageRole,
    /// The text.
    pub content: String,
    /// The model that writes it.
    pub model: Option<String>,
    /// How it counts until [`crate::Messages::finish`] says otherwise.
    pub status: MessageStatus,
    /// Unix seconds.
    pub created_at: i64,
}

/// The messages that begin a turn.
#[derive(Clone, Debug)]
pub struct TurnStart {
    /// The chat.
    pub chat_id: ChatId,
    /// What the person says; `None` when an earlier question is answered again.
    pub question: Option<NewMessage>,
    /// The answer that is about to be written.
    pub answer: NewMessage,
    /// The chat's title, if it has none yet.
    pub title_if_empty: Option<String>,
}

/// How an answer ended.
#[derive(Clone, Debug)]
pub struct MessageEnd {
    /// The answer.
    pub id: MessageId,
    /// All that was said.
    pub content: String,
    /// How it ended.
    pub status: MessageStatus,
    /// `stop` or `length`.
    pub finish_reason: Option<String>,
    /// What it cost.
    pub usage: Option<MessageUsage>,
    /// Why it failed.
    pub error: Option<MessageError>,
    /// Unix seconds.
    pub ended_at: i64,
}
