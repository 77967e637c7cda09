//! Prints neutral events as typed events, and the whole answer.

use serde_json::{Map, Value, json};

use super::Heading;
use super::output::{Content, Item, annotation, reasoning_part, refusal_part, text_part};
use crate::event::{Aside, Event, FinishReason, Usage};
use crate::request::{Citation, Family, Seal};

/// An event of a stream: its name and its data, whose `type` is the name again.
pub type Named = (&'static str, Value);

/// Turns events into those of a stream, or gathers them for one answer.
#[derive(Debug)]
pub struct Printer {
    heading: Heading,
    items: Vec<Item>,
    reason: Option<FinishReason>,
    usage: Option<Usage>,
    /// Number of the next event.
    sequence: u64,
}

impl Printer {
    /// A printer for one answer.
    pub fn new(heading: Heading) -> Printer {
        let (items, reason, usage) = (Vec::new(), None, None);
        Printer { heading, items, reason, usage, sequence: 0 }
    }

    /// The events that this one adds to the stream.
    pub fn events(&mut self, event: Event) -> Vec<Named> {
        let mut events = Vec::new();
        match event {
            Event::Started { .. } => {
                for name in ["response.created", "response.in_progress"] {
                    let data = json!({ "response": self.answer() });
                    events.push(self.numbered(name, data));
                }
            }
            Event::Text { text, .. } if text.is_empty() => {}
            Event::Text { text, .. } => self.say(&text, &mut events),
            Event::Aside { aside, .. } => self.aside(aside, &mut events),
            Event::Served { .. } | Event::Context { .. } => {}
            Event::Finished { reason, .. } => {
                self.close(&mut events);
                self.reason = Some(reason);
            }
            Event::Done(usage) => {
                self.close(&mut events);
                self.usage = Some(usage);
                let name = match self.is_incomplete() {
                    true => "response.incomplete",
                    false => "response.completed",
                };
                let data = json!({ "response": self.answer() });
                events.push(self.numbered(name, data));
            }
        }
        events
    }

    fn aside(&mut self, aside: Aside, events: &mut Vec<Named>) {
        match aside {
            Aside::Reasoning(text) => self.think(&text, events),
            Aside::Seal(seal) => self.seal(*seal, events),
            Aside::Refusal(text) => self.refuse(&text, events),
            Aside::Citation(citation) => self.cite(&citation, events),
            Aside::Foreign(foreign) if foreign.family == Family::Responses => {
                self.close(events);
                self.open(Content::Whole(foreign.value), events);
                self.close(events);
            }
            Aside::Foreign(_) | Aside::Break => {}
            Aside::CallStart { id, name, .. } => {
                self.close(events);
                let arguments = String::new();
                self.open(Content::Call { id, name, arguments }, events);
            }
            Aside::CallArguments { text, .. } => {
                if let Some(Content::Call { arguments, .. }) = self.content() {
                    arguments.push_str(&text);
                }
                let data = self.of_last(json!({ "delta": text }));
                events.push(self.numbered("response.function_call_arguments.delta", data));
            }
        }
    }

    /// The end of a stream that broke off.
    pub fn failed(&mut self, code: &str, message: &str) -> Named {
        let mut answer = self.answer();
        answer["status"] = "failed".into();
        answer["error"] = json!({ "code": code, "message": message });
        self.numbered("response.failed", json!({ "response": answer }))
    }

    /// The answer as it is now.
    pub fn answer(&self) -> Value {
        let (status, details) = match (self.usage, self.is_incomplete()) {
            (None, _) => ("in_progress", Value::Null),
            (Some(_), true) => ("incomplete", json!({ "reason": self.incomplete_reason() })),
            (Some(_), false) => ("completed", Value::Null),
        };
        let mut answer = json!({
            "id": self.heading.id,
            "object": "response",
            "created_at": self.heading.created,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": details,
            "model": self.heading.model,
            "output": self.items.iter().map(Item::print).collect::<Vec<_>>(),
            "store": false,
            "usage": self.usage.as_ref().map_or(Value::Null, print_usage),
        });
        if let Some(members) = answer.as_object_mut() {
            members.extend(self.heading.echoed.clone());
        }
        answer
    }

    fn is_incomplete(&self) -> bool {
        use FinishReason::{Filtered, Length, Refusal};
        matches!(self.reason, Some(Length | Filtered(_) | Refusal))
    }

    fn incomplete_reason(&self) -> &'static str {
        match self.reason {
            Some(FinishReason::Length) => "max_output_tokens",
            _ => "content_filter",
        }
    }

    /// What is being written.
    fn content(&mut self) -> Option<&mut Content> {
        self.items.last_mut().filter(|item| !item.is_done).map(|item| &mut item.content)
    }

    fn say(&mut self, text: &str, events: &mut Vec<Named>) {
        self.open_text(events);
        if let Some(Content::Text { text: said, .. }) = self.content() {
            said.push_str(text);
        }
        let delta = json!({ "content_index": 0, "delta": text, "logprobs": [] });
        let data = self.of_last(delta);
        events.push(self.numbered("response.output_text.delta", data));
    }

    fn open_text(&mut self, events: &mut Vec<Named>) {
        if matches!(self.content(), Some(Content::Text { .. })) {
            return;
        }
        self.close(events);
        let (text, annotations) = (String::new(), Vec::new());
        self.open(Content::Text { text, annotations }, events);
        let data = self.of_last(json!({ "content_index": 0, "part": text_part("", &[]) }));
        events.push(self.numbered("response.content_part.added", data));
    }

    fn cite(&mut self, citation: &Citation, events: &mut Vec<Named>) {
        let Some(note) = annotation(citation) else { return };
        self.open_text(events);
        let mut index = 0;
        if let Some(Content::Text { annotations, .. }) = self.content() {
            index = annotations.len();
            annotations.push(note.clone());
        }
        let data = json!({ "content_index": 0, "annotation_index": index, "annotation": note });
        let data = self.of_last(data);
        events.push(self.numbered("response.output_text.annotation.added", data));
    }

    fn refuse(&mut self, text: &str, events: &mut Vec<Named>) {
        if !matches!(self.content(), Some(Content::Refusal(_))) {
            self.close(events);
            self.open(Content::Refusal(String::new()), events);
            let data = self.of_last(json!({ "content_index": 0, "part": refusal_part("") }));
            events.push(self.numbered("response.content_part.added", data));
        }
        if let Some(Content::Refusal(said)) = self.content() {
            said.push_str(text);
        }
        let data = self.of_last(json!({ "content_index": 0, "delta": text }));
        events.push(self.numbered("response.refusal.delta", data));
    }

    fn open_thought(&mut self, events: &mut Vec<Named>) {
        if !matches!(self.content(), Some(Content::Reasoning { .. })) {
            self.close(events);
            self.open(Content::Reasoning { text: String::new(), seal: None }, events);
        }
    }

    fn think(&mut self, text: &str, events: &mut Vec<Named>) {
        self.open_thought(events);
        if let Some(Content::Reasoning { text: thought, .. }) = self.content() {
            thought.push_str(text);
        }
        let data = self.of_last(json!({ "content_index": 0, "delta": text }));
        events.push(self.numbered("response.reasoning_text.delta", data));
    }

    fn seal(&mut self, new: Seal, events: &mut Vec<Named>) {
        self.open_thought(events);
        if let Some(Content::Reasoning { seal, .. }) = self.content() {
            *seal = Some(new);
        }
        self.close(events);
    }

    fn open(&mut self, content: Content, events: &mut Vec<Named>) {
        let index = self.items.len();
        let item = Item::new(&self.heading.id, index, content);
        let data = json!({ "output_index": index, "item": item.print() });
        self.items.push(item);
        events.push(self.numbered("response.output_item.added", data));
    }

    /// Ends the item that is being written.
    fn close(&mut self, events: &mut Vec<Named>) {
        let Some(item) = self.items.last_mut().filter(|item| !item.is_done) else { return };
        item.is_done = true;
        let (content, printed) = (item.content.clone(), item.print());
        match content {
            Content::Text { text, annotations } => {
                let end = json!({ "content_index": 0, "text": text, "logprobs": [] });
                let data = self.of_last(end);
                events.push(self.numbered("response.output_text.done", data));
                let part = text_part(&text, &annotations);
                let data = self.of_last(json!({ "content_index": 0, "part": part }));
                events.push(self.numbered("response.content_part.done", data));
            }
            Content::Refusal(text) => {
                let data = self.of_last(json!({ "content_index": 0, "refusal": text }));
                events.push(self.numbered("response.refusal.done", data));
                let part = refusal_part(&text);
                let data = self.of_last(json!({ "content_index": 0, "part": part }));
                events.push(self.numbered("response.content_part.done", data));
            }
            Content::Reasoning { text, .. } if text.is_empty() => {}
            Content::Reasoning { text, .. } => {
                let part = reasoning_part(&text);
                let data = self.of_last(json!({ "content_index": 0, "text": part["text"] }));
                events.push(self.numbered("response.reasoning_text.done", data));
            }
            Content::Whole(_) => {}
            Content::Call { name, arguments, .. } => {
                let data = self.of_last(json!({ "name": name, "arguments": arguments }));
                events.push(self.numbered("response.function_call_arguments.done", data));
            }
        }
        let data = json!({ "output_index": self.items.len() - 1, "item": printed });
        events.push(self.numbered("response.output_item.done", data));
    }

    /// Data about the item that is being written.
    fn of_last(&self, data: Value) -> Value {
        let id = self.items.last().map(|item| item.id.clone()).unwrap_or_default();
        let mut all = json!({ "item_id": id, "output_index": self.items.len().saturating_sub(1) });
        if let (Some(all), Value::Object(data)) = (all.as_object_mut(), data) {
            all.extend(data);
        }
        all
    }

    fn numbered(&mut self, name: &'static str, data: Value) -> Named {
        let mut all = Map::new();
        all.insert("type".to_owned(), name.into());
        all.insert("sequence_number".to_owned(), self.sequence.into());
        self.sequence += 1;
        if let Value::Object(data) = data {
            all.extend(data);
        }
        (name, Value::Object(all))
    }
}

fn print_usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": { "cached_tokens": usage.cached_tokens },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
        "total_tokens": u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens),
    })
}
