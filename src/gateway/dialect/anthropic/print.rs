//! Prints neutral events as the named events of a stream.

use serde_json::{Value, json};

use super::{Heading, SIGNATURE, print_usage};
use crate::event::{Aside, Event, FinishReason, Usage};

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
            Event::Text { text, .. } if text.is_empty() => {}
            Event::Text { text, .. } => {
                self.open(Block::Text, json!({ "type": "text", "text": "" }), &mut events);
                events.push(self.delta(json!({ "type": "text_delta", "text": text })));
            }
            Event::Aside { aside: Aside::Reasoning(text), .. } => {
                let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
                self.open(Block::Thinking, block, &mut events);
                events.push(self.delta(json!({ "type": "thinking_delta", "thinking": text })));
            }
            Event::Aside { aside: Aside::CallStart { id, name, .. }, .. } => {
                self.close(&mut events);
                let id = format!("toolu_{id}");
                let block = json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
                self.open(Block::Call, block, &mut events);
            }
            Event::Aside { aside: Aside::CallArguments { text, .. }, .. } => {
                let delta = json!({ "type": "input_json_delta", "partial_json": text });
                events.push(self.delta(delta));
            }
            Event::Served { .. } | Event::Context { .. } => {}
            Event::Finished { reason, .. } => {
                self.close(&mut events);
                self.reason = Some(*reason);
            }
            Event::Done(usage) => {
                self.close(&mut events);
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

    fn start(&self, prompt_tokens: u32) -> Named {
        let usage = print_usage(&Usage { prompt_tokens, ..Usage::default() });
        let message = self.heading.message(json!([]), usage);
        ("message_start", json!({ "type": "message_start", "message": message }))
    }

    /// Begins a block, unless one of this kind is being written.
    fn open(&mut self, kind: Block, block: Value, events: &mut Vec<Named>) {
        if self.open == Some(kind) {
            return;
        }
        self.close(events);
        let data =
            json!({ "type": "content_block_start", "index": self.blocks, "content_block": block });
        events.push(("content_block_start", data));
        self.blocks += 1;
        self.open = Some(kind);
    }

    fn close(&mut self, events: &mut Vec<Named>) {
        let Some(block) = self.open.take() else { return };
        if block == Block::Thinking {
            let delta = json!({ "type": "signature_delta", "signature": SIGNATURE });
            events.push(self.delta(delta));
        }
        let data = json!({ "type": "content_block_stop", "index": self.blocks - 1 });
        events.push(("content_block_stop", data));
    }

    /// More of the block that is being written.
    fn delta(&self, delta: Value) -> Named {
        let index = self.blocks.saturating_sub(1);
        let data = json!({ "type": "content_block_delta", "index": index, "delta": delta });
        ("content_block_delta", data)
    }
}
