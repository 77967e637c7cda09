//! The items of an answer: what is thought, said and called, in the order in which it came.

use serde_json::{Value, json};

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) content: Content,
    pub(super) is_done: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Text(String),
    Reasoning(String),
    Call { id: String, name: String, arguments: String },
}

impl Item {
    /// The item of this number in the answer `answer`.
    pub(super) fn new(answer: &str, index: usize, content: Content) -> Item {
        let kind = match &content {
            Content::Text(_) => "msg",
            Content::Reasoning(_) => "rs",
            Content::Call { .. } => "fc",
        };
        let answer = answer.trim_start_matches("resp_");
        Item { id: format!("{kind}_{answer}_{index}"), content, is_done: false }
    }

    /// The item as it is now.
    pub(super) fn print(&self) -> Value {
        let status = if self.is_done { "completed" } else { "in_progress" };
        match &self.content {
            Content::Text(text) => {
                let is_begun = self.is_done || !text.is_empty();
                let content: Vec<Value> = is_begun.then(|| text_part(text)).into_iter().collect();
                json!({ "type": "message", "id": self.id, "status": status, "role": "assistant",
                    "content": content })
            }
            Content::Reasoning(text) => {
                let is_begun = self.is_done || !text.is_empty();
                let content: Vec<Value> =
                    is_begun.then(|| reasoning_part(text)).into_iter().collect();
                json!({ "type": "reasoning", "id": self.id, "status": status, "summary": [],
                    "content": content })
            }
            Content::Call { id, name, arguments } => {
                json!({ "type": "function_call", "id": self.id, "status": status,
                    "call_id": format!("call_{id}"), "name": name, "arguments": arguments })
            }
        }
    }
}

pub(super) fn text_part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

pub(super) fn reasoning_part(text: &str) -> Value {
    json!({ "type": "reasoning_text", "text": text })
}
