//! One message of a chat, as templates see it.

use serde::{Deserialize, Serialize};

/// A message: who speaks, what is said, and perhaps under which name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant` or `tool`. Templates build control tokens from it, so it is
    /// never free text: [`crate::render_tokens`] takes lower-case words only.
    pub role: String,
    pub content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl ChatMessage {
    /// A message without a name.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> ChatMessage {
        ChatMessage { role: role.into(), content: content.into(), name: None }
    }
}
