//! Collects neutral events into one message.

use serde_json::{Map, Value, json};

use super::{Heading, SIGNATURE, print_usage};
use crate::event::{Aside, Event, FinishReason, Usage};

/// Gathers the events of one answer that is not streamed.
#[derive(Debug)]
pub struct Collector {
    heading: Heading,
    blocks: Vec<Block>,
    reason: Option<FinishReason>,
    usage: Usage,
}

#[derive(Debug)]
enum Block {
    Text(String),
    Thinking(String),
    Call { id: String, name: String, arguments: String },
}

impl Collector {
    /// A collector for one answer.
    pub fn new(heading: Heading) -> Collector {
        Collector { heading, blocks: Vec::new(), reason: None, usage: Usage::default() }
    }

    /// Takes the next event.
    pub fn push(&mut self, event: Event) {
        match event {
            Event::Served { .. } | Event::Started { .. } | Event::Context { .. } => {}
            Event::Text { text, .. } if text.is_empty() => {}
            Event::Text { text, .. } => match self.blocks.last_mut() {
                Some(Block::Text(said)) => said.push_str(&text),
                _ => self.blocks.push(Block::Text(text)),
            },
            Event::Aside { aside: Aside::Reasoning(text), .. } => match self.blocks.last_mut() {
                Some(Block::Thinking(thought)) => thought.push_str(&text),
                _ => self.blocks.push(Block::Thinking(text)),
            },
            Event::Aside { aside: Aside::CallStart { id, name, .. }, .. } => {
                let arguments = String::new();
                self.blocks.push(Block::Call { id, name, arguments });
            }
            Event::Aside { aside: Aside::CallArguments { text, .. }, .. } => {
                if let Some(Block::Call { arguments, .. }) = self.blocks.last_mut() {
                    arguments.push_str(&text);
                }
            }
            Event::Finished { reason, .. } => self.reason = Some(reason),
            Event::Done(usage) => self.usage = usage,
        }
    }

    /// The whole message. A call that the limit on tokens has cut off in its arguments cannot be
    /// made and is left out; `stop_reason` says so.
    pub fn finish(self) -> Value {
        let content: Vec<Value> = self.blocks.iter().filter_map(print).collect();
        let mut message = self.heading.message(content.into(), print_usage(&self.usage));
        let (reason, stop) = self.heading.ending(self.reason);
        message["stop_reason"] = reason.into();
        message["stop_sequence"] = stop;
        message
    }
}

fn print(block: &Block) -> Option<Value> {
    Some(match block {
        Block::Text(text) => json!({ "type": "text", "text": text }),
        Block::Thinking(text) => {
            json!({ "type": "thinking", "thinking": text, "signature": SIGNATURE })
        }
        Block::Call { id, name, arguments } => {
            let input: Map<String, Value> = match arguments.trim() {
                "" => Map::new(),
                text => serde_json::from_str(text).ok()?,
            };
            json!({ "type": "tool_use", "id": format!("toolu_{id}"), "name": name, "input": input })
        }
    })
}
