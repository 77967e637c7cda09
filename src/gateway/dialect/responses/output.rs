//! The items of an answer: what is thought, said and called, in the order in which it came.

use serde_json::{Value, json};

use crate::dialect::tools::shown_id;
use crate::request::{Citation, Family, Seal};

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) content: Content,
    pub(super) is_done: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Text {
        text: String,
        annotations: Vec<Value>,
    },
    Refusal(String),
    Reasoning {
        text: String,
        seal: Option<Seal>,
    },
    /// An item of a provider of this dialect.
    Whole(Value),
    Call {
        id: String,
        name: String,
        arguments: String,
    },
}

impl Item {
    /// The item of this number in the answer `answer`.
    pub(super) fn new(answer: &str, index: usize, content: Content) -> Item {
        let kind = match &content {
            Content::Text { .. } | Content::Refusal(_) => "msg",
            Content::Reasoning { .. } => "rs",
            Content::Call { .. } => "fc",
            Content::Whole(_) => "item",
        };
        let answer = answer.trim_start_matches("resp_");
        Item { id: format!("{kind}_{answer}_{index}"), content, is_done: false }
    }

    /// The item as it is now.
    pub(super) fn print(&self) -> Value {
        let status = if self.is_done { "completed" } else { "in_progress" };
        match &self.content {
            Content::Text { text, annotations } => {
                let is_begun = self.is_done || !text.is_empty();
                let part = is_begun.then(|| text_part(text, annotations));
                self.message(status, part)
            }
            Content::Refusal(text) => {
                let is_begun = self.is_done || !text.is_empty();
                self.message(status, is_begun.then(|| refusal_part(text)))
            }
            Content::Reasoning { text, seal } => {
                // A thought that is hidden has no text to show.
                let content: Vec<Value> =
                    (!text.is_empty()).then(|| reasoning_part(text)).into_iter().collect();
                let mut item = json!({ "type": "reasoning", "id": self.id, "status": status,
                    "summary": [], "content": content });
                if let Some(seal) = seal {
                    item["encrypted_content"] = seal.carried_by(Family::Responses).into();
                }
                item
            }
            Content::Call { id, name, arguments } => {
                json!({ "type": "function_call", "id": self.id, "status": status,
                    "call_id": shown_id("call_", id), "name": name, "arguments": arguments })
            }
            Content::Whole(item) => item.clone(),
        }
    }

    fn message(&self, status: &str, part: Option<Value>) -> Value {
        let content: Vec<Value> = part.into_iter().collect();
        json!({ "type": "message", "id": self.id, "status": status, "role": "assistant",
            "content": content })
    }
}

pub(super) fn text_part(text: &str, annotations: &[Value]) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": annotations, "logprobs": [] })
}

pub(super) fn refusal_part(text: &str) -> Value {
    json!({ "type": "refusal", "refusal": text })
}

pub(super) fn reasoning_part(text: &str) -> Value {
    json!({ "type": "reasoning_text", "text": text })
}

/// A citation as an annotation; only what is on the web has one.
pub(super) fn annotation(citation: &Citation) -> Option<Value> {
    if let Some((Family::Responses, raw)) = &citation.raw {
        return Some(raw.clone());
    }
    let (start, end) = citation.span.unwrap_or_default();
    let title = citation.title.as_deref().unwrap_or_default();
    let url = citation.url.as_deref()?;
    Some(json!({ "type": "url_citation", "start_index": start, "end_index": end, "url": url,
        "title": title }))
}
