//! What a message is, in the form in which it is asked for and shown.

use serde::{Deserialize, Serialize};

use crate::channels::ChannelId;
use crate::chats::ChatId;
use crate::money::MicroDollars;

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
    /// What the model thought before it spoke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// For how long it thought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_ms: Option<u64>,
    /// What the model called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<MessageCall>,
    /// What the person gave with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<MessageFile>,
    /// The channel that answered; what is hosted here has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<ChannelId>,
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
    /// The messages beside it, itself included; told by [`crate::Messages::window`], and empty if
    /// it is alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<MessageId>,
    /// Unix seconds.
    pub created_at: i64,
}

/// One call of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCall {
    /// Names the call.
    pub id: String,
    /// The tool.
    pub name: String,
    /// JSON, as text.
    pub arguments: String,
}

/// A file that was read as text. The API shows it without the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageFile {
    /// As the person calls it.
    pub name: String,
    /// The length of the text.
    pub bytes: u64,
    /// What the model reads.
    #[serde(skip_serializing)]
    pub text: String,
}

/// What an answer cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MessageUsage {
    /// Tokens of the whole prompt.
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    pub completion_tokens: u32,
    /// Part of the prompt that was not computed again.
    pub cached_tokens: u32,
    /// What was charged; `None` if it is not known.
    #[serde(rename = "cost_micros")]
    pub cost: Option<MicroDollars>,
    /// Time in the queue.
    pub queue_ms: u64,
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
    /// What the model thought before it spoke.
    pub reasoning: Option<String>,
    /// What the person gives with it.
    pub files: Vec<MessageFile>,
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
    /// Whether the answer is stored already and goes on.
    pub continues: bool,
    /// Whether it is one more answer, beside that which the chat shows and goes on with.
    pub is_beside: bool,
    /// The chat's title, if it has none yet.
    pub title_if_empty: Option<String>,
}

/// How an answer ended.
#[derive(Clone, Debug)]
pub struct MessageEnd {
    /// The answer.
    pub id: MessageId,
    /// What the books know the request by: the id in its header.
    pub request_id: String,
    /// All that was said.
    pub content: String,
    /// All that was thought.
    pub reasoning: Option<String>,
    /// For how long.
    pub reasoning_ms: Option<u64>,
    /// All that was called.
    pub calls: Vec<MessageCall>,
    /// The channel that answered.
    pub channel_id: Option<ChannelId>,
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
