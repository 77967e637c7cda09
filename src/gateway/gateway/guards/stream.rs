//! Looks at an answer as it is told: what may still become a match is held back, nothing else is.

use std::collections::HashMap;

use super::{Applied, Found, Side, Verdict};
use crate::event::{Aside, Event};

/// Most bytes that are held back of one text; what is longer is told as it is.
const MAX_HELD_BYTES: usize = 16 << 10;
/// Bytes before them that stay in sight, so that it is known what a match stands behind.
const CONTEXT_BYTES: usize = 8;

/// Watches over one answer.
pub(in crate::gateway) struct Watcher {
    rules: Applied,
    /// The text that each choice is telling.
    held: HashMap<u16, Held>,
}

/// Which text of a choice it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
    Refusal,
    Arguments(u32),
}

struct Held {
    kind: Kind,
    /// What was told last, and what was not told yet.
    text: String,
    told: usize,
}

impl Watcher {
    /// `None` where no rule looks at answers.
    pub(in crate::gateway) fn new(rules: Applied) -> Option<Watcher> {
        let rules = rules.on(Side::Response);
        (!rules.is_empty()).then(|| Watcher { rules, held: HashMap::new() })
    }

    /// What may be told now, with what was found in it; the end of an answer that a rule blocks.
    pub(in crate::gateway) fn pass(&mut self, event: Event, out: &mut Vec<Event>) -> Verdict {
        match event {
            Event::Text { choice, text, .. } => self.add(choice, Kind::Text, &text, out),
            Event::Aside { choice, aside, .. } => match aside {
                Aside::Reasoning(text) => self.add(choice, Kind::Reasoning, &text, out),
                Aside::Refusal(text) => self.add(choice, Kind::Refusal, &text, out),
                Aside::CallArguments { index, text } => {
                    self.add(choice, Kind::Arguments(index), &text, out)
                }
                aside => {
                    self.end_with(choice, Event::Aside { choice, aside, tokens: Vec::new() }, out)
                }
            },
            Event::Finished { choice, .. } => self.end_with(choice, event, out),
            other => {
                out.push(other);
                Verdict::Pass
            }
        }
    }

    /// Tells what is held of a choice, and then this, unless a rule blocks it.
    fn end_with(&mut self, choice: u16, event: Event, out: &mut Vec<Event>) -> Verdict {
        let verdict = self.end(choice, out);
        if verdict == Verdict::Pass {
            out.push(event);
        }
        verdict
    }

    fn add(&mut self, choice: u16, kind: Kind, text: &str, out: &mut Vec<Event>) -> Verdict {
        let mut verdict = Verdict::Pass;
        if self.held.get(&choice).is_some_and(|held| held.kind != kind) {
            verdict = self.end(choice, out);
        }
        if verdict != Verdict::Pass {
            return verdict;
        }
        let new = || Held { kind, text: String::new(), told: 0 };
        let held = self.held.entry(choice).or_insert_with(new);
        held.text.push_str(text);
        held.tell(&self.rules, choice, false, out)
    }

    fn end(&mut self, choice: u16, out: &mut Vec<Event>) -> Verdict {
        match self.held.remove(&choice) {
            Some(mut held) => held.tell(&self.rules, choice, true, out),
            None => Verdict::Pass,
        }
    }
}

impl Held {
    /// Tells what is decided, masked where a rule says so.
    fn tell(
        &mut self,
        rules: &Applied,
        choice: u16,
        is_last: bool,
        out: &mut Vec<Event>,
    ) -> Verdict {
        let mut until = match is_last {
            true => self.text.len(),
            false => rules.undecided_from(&self.text, self.told),
        };
        if self.text.len() - until > MAX_HELD_BYTES {
            until = self.text.len();
        }
        let Found { matches, verdict } = rules.look(&self.text, self.told, until);
        if matches!(verdict, Verdict::Block(_)) {
            return verdict;
        }
        let mut said = String::new();
        for found in &matches {
            said.push_str(&self.text[self.told..found.range.start]);
            said.push_str(&found.instead);
            self.told = found.range.end;
        }
        // A match may end behind what is decided by another pattern.
        let until = until.max(self.told);
        said.push_str(&self.text[self.told..until]);
        self.told = until;
        let mut keep_from = self.told.saturating_sub(CONTEXT_BYTES);
        while !self.text.is_char_boundary(keep_from) {
            keep_from -= 1;
        }
        self.text.drain(..keep_from);
        self.told -= keep_from;
        if !said.is_empty() {
            out.push(self.kind.event(choice, said));
        }
        verdict
    }
}

impl Kind {
    fn event(self, choice: u16, text: String) -> Event {
        let tokens = Vec::new();
        let aside = match self {
            // The tokens would tell what the text does not.
            Kind::Text => return Event::Text { choice, text, tokens },
            Kind::Reasoning => Aside::Reasoning(text),
            Kind::Refusal => Aside::Refusal(text),
            Kind::Arguments(index) => Aside::CallArguments { index, text },
        };
        Event::Aside { choice, aside, tokens }
    }
}
