//! Prints neutral events as the named events of a stream.

use serde_json::{Value, json};

use super::{Heading, print_citation, print_usage, signature};
use crate::dialect::tools::shown_id;
use crate::event::{Aside, Event, FinishReason, Usage};
use crate::request::{Family, Seal};

/// An event of a stream: its name and its data, whose `type` is the name again.
pub type Named = (&'static str, Value);

/// Turns events into those of a stream, the last one `message_stop`.
#[derive(Debug)]
pub struct Printer {
    heading: Heading,
    /// The block that is being written.
    open: Option<Block>,
    /// Blocks that have begun.
    blocks: u32,
    reason: Option<FinishReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Text,
    /// A text with citations; what comes next is a text of its own.
    Cited,
    Thinking,
    Call,
}

impl Printer {
    /// A printer for one answer.
    pub fn new(heading: Heading) -> Printer {
        Printer { heading, open: None, blocks: 0, reason: None }
    }

    /// The events that this one adds to the stream.
    pub fn events(&mut self, event: &Event) -> Vec<Named> {
        let mut events = Vec::new();
        match event {
            Event::Started { prompt_tokens } => events.push(self.start(*prompt_tokens)),
            Event::Text { text, .. } => self.say(text, &mut events),
            Event::Aside { aside, .. } => self.aside(aside, &mut events),
            Event::Served { .. } | Event::Context { .. } => {}
            Event::Finished { reason, .. } => {
                self.close(None, &mut events);
                self.reason = Some(*reason);
            }
            Event::Done(usage) => {
                self.close(None, &mut events);
                let (reason, stop) = self.heading.ending(self.reason);
                let delta = json!({ "stop_reason": reason, "stop_sequence": stop });
                let usage = print_usage(usage);
                let data = json!({ "type": "message_delta", "delta": delta, "usage": usage });
                events.push(("message_delta", data));
                events.push(("message_stop", json!({ "type": "message_stop" })));
            }
        }
        events
    }

    fn aside(&mut self, aside: &Aside, events: &mut Vec<Named>) {
        match aside {
            Aside::Reasoning(text) => {
                self.open_thinking(events);
                events.push(self.delta(json!({ "type": "thinking_delta", "thinking": text })));
            }
            Aside::Seal(seal) if seal.is_thought => {
                let data = seal.carried_by(Family::Anthropic);
                self.whole(json!({ "type": "redacted_thinking", "data": data }), events);
            }
            Aside::Seal(seal) => {
                self.open_thinking(events);
                self.close(Some(seal), events);
            }
            Aside::Refusal(text) => self.say(text, events),
            Aside::Citation(citation) => {
                // One that comes behind another block has lost its text.
                if matches!(self.open, Some(Block::Text | Block::Cited))
                    && let Some(citation) = print_citation(citation)
                {
                    self.open = Some(Block::Cited);
                    let delta = json!({ "type": "citations_delta", "citation": citation });
                    events.push(self.delta(delta));
                }
            }
            Aside::Break => {
                if matches!(self.open, Some(Block::Text | Block::Cited)) {
                    self.close(None, events);
                }
            }
            Aside::Foreign(foreign) if foreign.family == Family::Anthropic => {
                self.whole(foreign.value.clone(), events);
            }
            Aside::Foreign(_) => {}
            Aside::CallStart { id, name, .. } => {
                self.close(None, events);
                let id = shown_id("toolu_", id);
                let block = json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
                self.open(Block::Call, block, events);
            }
            Aside::CallArguments { text, .. } => {
                let delta = json!({ "type": "input_json_delta", "partial_json": text });
                events.push(self.delta(delta));
            }
        }
    }

    fn start(&self, prompt_tokens: u32) -> Named {
        let usage = print_usage(&Usage { prompt_tokens, ..Usage::default() });
        let message = self.heading.message(json!([]), usage);
        ("message_start", json!({ "type": "message_start", "message": message }))
    }

    fn say(&mut self, text: &str, events: &mut Vec<Named>) {
        if text.is_empty() {
            return;
        }
        self.open(Block::Text, text_block(), events);
        events.push(self.delta(json!({ "type": "text_delta", "text": text })));
    }

    fn open_thinking(&mut self, events: &mut Vec<Named>) {
        let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
        self.open(Block::Thinking, block, events);
    }

    /// Begins a block, unless one of this kind is being written.
    fn open(&mut self, kind: Block, block: Value, events: &mut Vec<Named>) {
        if self.open == Some(kind) {
            return;
        }
        self.close(None, events);
        let data =
            json!({ "type": "content_block_start", "index": self.blocks, "content_block": block });
        events.push(("content_block_start", data));
        self.blocks += 1;
        self.open = Some(kind);
    }

    /// Ends the block that is being written.
    fn close(&mut self, seal: Option<&Seal>, events: &mut Vec<Named>) {
        let Some(block) = self.open.take() else { return };
        if block == Block::Thinking {
            let delta = json!({ "type": "signature_delta", "signature": signature(seal) });
            events.push(self.delta(delta));
        }
        let data = json!({ "type": "content_block_stop", "index": self.blocks - 1 });
        events.push(("content_block_stop", data));
    }

    /// A block that comes at once.
    fn whole(&mut self, block: Value, events: &mut Vec<Named>) {
        self.close(None, events);
        self.open(Block::Call, block, events);
        self.close(None, events);
    }

    /// More of the block that is being written.
    fn delta(&self, delta: Value) -> Named {
        let index = self.blocks.saturating_sub(1);
        let data = json!({ "type": "content_block_delta", "index": index, "delta": delta });
        ("content_block_delta", data)
    }
}

fn text_block() -> Value {
    json!({ "type": "text", "text": "" })
}
