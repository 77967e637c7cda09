//! Collects neutral events into one message.

use serde_json::{Map, Value, json};

use super::{Heading, print_citation, print_usage, signature};
use crate::dialect::tools::shown_id;
use crate::event::{Aside, Event, FinishReason, Usage};
use crate::request::{Family, Seal};

/// Gathers the events of one answer that is not streamed.
#[derive(Debug)]
pub struct Collector {
    heading: Heading,
    blocks: Vec<Block>,
    /// Whether the last block has ended.
    is_closed: bool,
    reason: Option<FinishReason>,
    usage: Usage,
}

#[derive(Debug)]
enum Block {
    Text { text: String, citations: Vec<Value> },
    Thinking { text: String, seal: Option<Seal> },
    Call { id: String, name: String, arguments: String },
    Whole(Value),
}

impl Collector {
    /// A collector for one answer.
    pub fn new(heading: Heading) -> Collector {
        let (blocks, usage) = (Vec::new(), Usage::default());
        Collector { heading, blocks, is_closed: true, reason: None, usage }
    }

    /// Takes the next event.
    pub fn push(&mut self, event: Event) {
        match event {
            Event::Served { .. } | Event::Started { .. } | Event::Context { .. } => {}
            Event::Text { text, .. } => self.say(&text),
            Event::Aside { aside, .. } => self.note(aside),
            Event::Finished { reason, .. } => self.reason = Some(reason),
            Event::Done(usage) => self.usage = usage,
        }
    }

    fn note(&mut self, aside: Aside) {
        match aside {
            Aside::Reasoning(more) => {
                if let Some(Block::Thinking { text, .. }) = self.open() {
                    text.push_str(&more);
                } else {
                    self.begin(Block::Thinking { text: more, seal: None });
                }
            }
            Aside::Seal(seal) if seal.is_thought => {
                let data = seal.carried_by(Family::Anthropic);
                self.begin(Block::Whole(json!({ "type": "redacted_thinking", "data": data })));
            }
            Aside::Seal(new) => {
                if let Some(Block::Thinking { seal, .. }) = self.open() {
                    *seal = Some(*new);
                } else {
                    self.begin(Block::Thinking { text: String::new(), seal: Some(*new) });
                }
                self.is_closed = true;
            }
            Aside::Refusal(text) => self.say(&text),
            Aside::Citation(citation) => {
                let Some(citation) = print_citation(&citation) else { return };
                if let Some(Block::Text { citations, .. }) = self.open() {
                    citations.push(citation);
                }
            }
            Aside::Break => self.is_closed = true,
            Aside::Foreign(foreign) if foreign.family == Family::Anthropic => {
                self.begin(Block::Whole(foreign.value));
            }
            Aside::Foreign(_) => {}
            Aside::CallStart { id, name, .. } => {
                self.begin(Block::Call { id, name, arguments: String::new() });
            }
            Aside::CallArguments { text, .. } => {
                if let Some(Block::Call { arguments, .. }) = self.blocks.last_mut() {
                    arguments.push_str(&text);
                }
            }
        }
    }

    fn say(&mut self, more: &str) {
        match self.open() {
            _ if more.is_empty() => {}
            Some(Block::Text { text, citations }) if citations.is_empty() => text.push_str(more),
            _ => self.begin(Block::Text { text: more.to_owned(), citations: Vec::new() }),
        }
    }

    fn begin(&mut self, block: Block) {
        self.blocks.push(block);
        self.is_closed = false;
    }

    fn open(&mut self) -> Option<&mut Block> {
        self.blocks.last_mut().filter(|_| !self.is_closed)
    }

    /// The whole message. A call that the limit on tokens has cut off in its arguments cannot be
    /// made and is left out; `stop_reason` says so.
    pub fn finish(self) -> Value {
        let content: Vec<Value> = self.blocks.into_iter().filter_map(print).collect();
        let mut message = self.heading.message(content.into(), print_usage(&self.usage));
        let (reason, stop) = self.heading.ending(self.reason);
        message["stop_reason"] = reason.into();
        message["stop_sequence"] = stop;
        message
    }
}

fn print(block: Block) -> Option<Value> {
    Some(match block {
        Block::Text { text, citations } if citations.is_empty() => {
            json!({ "type": "text", "text": text })
        }
        Block::Text { text, citations } => {
            json!({ "type": "text", "text": text, "citations": citations })
        }
        Block::Thinking { text, seal } => {
            json!({ "type": "thinking", "thinking": text, "signature": signature(seal.as_ref()) })
        }
        Block::Call { id, name, arguments } => {
            let input: Map<String, Value> = match arguments.trim() {
                "" => Map::new(),
                text => serde_json::from_str(text).ok()?,
            };
            let id = shown_id("toolu_", &id);
            json!({ "type": "tool_use", "id": id, "name": name, "input": input })
        }
        Block::Whole(value) => value,
    })
}
