//! One message of a chat, as templates see it.

use serde::{Deserialize, Serialize};

/// A message: who speaks, what is said, and perhaps under which name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant` or `tool`. Templates build control tokens from it, so it is
    /// never free text: [`crate::render_tokens`] takes lower-case words only.
    pub role: String,
    /// `None` where an assistant calls tools and says nothing.
    pub content: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    /// What the assistant thought before it spoke.
    #[serde(default, rename = "reasoning_content")]
    pub reasoning: Option<String>,
    /// What the assistant called.
    #[serde(default)]
    pub tool_calls: Vec<ToolCall>,
    /// The call that a message of the role `tool` answers.
    #[serde(default)]
    pub tool_call_id: Option<String>,
}

/// One call of a tool by the assistant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// A JSON object, as text.
    pub arguments: String,
}

impl ChatMessage {
    /// A message of plain text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> ChatMessage {
        let (role, content) = (role.into(), Some(content.into()));
        ChatMessage { role, content, ..ChatMessage::default() }
    }

    /// Every text of the message that people or models wrote.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let calls = self.tool_calls.iter().flat_map(|call| [&call.id, &call.name, &call.arguments]);
        [&self.content, &self.name, &self.reasoning, &self.tool_call_id]
            .into_iter()
            .flatten()
            .chain(calls)
            .map(String::as_str)
    }
}
