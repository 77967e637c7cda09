//! Tells apart what a model says, thinks and calls, piece by piece as its text comes.
//!
//! Each family writes its thoughts and calls in a way of its own, which its chat template shows.

mod block;
mod call_reader;
mod format;

use call_reader::{CallReader, Progress};

pub use format::{AnswerFormat, CallSyntax};

use crate::stop::overlap_bytes;

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerPiece {
    /// What is said.
    Text(String),
    /// What is thought.
    Reasoning(String),
    /// A call of a tool begins; calls are counted from 0.
    CallStart { index: u32, name: String },
    /// More of the arguments of this call: JSON text.
    CallArguments { index: u32, text: String },
}

/// How an answer begins, and what may be in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerStart {
    /// The prompt ends inside the model's thoughts.
    pub in_thoughts: bool,
    /// Tools were offered; without, whatever looks like a call is text.
    pub has_tools: bool,
    /// A grammar lets it make calls only, as bare JSON.
    pub only_calls: bool,
    /// Calls beyond the first are dropped.
    pub one_call: bool,
}

/// Reads one answer.
#[derive(Debug)]
pub struct AnswerParser {
    format: AnswerFormat,
    start: AnswerStart,
    mode: Mode,
    /// Text that is not understood yet.
    held: String,
    /// White space that counts only if more of the same follows.
    space: String,
    /// What was passed over in search of a call, in case that there is none.
    skipped: String,
    /// Something was said.
    has_spoken: bool,
    /// Something was thought.
    has_thought: bool,
    /// Thoughts have ended: the white space behind them is none of what is said.
    trims: bool,
    calls: u32,
}

#[derive(Debug)]
enum Mode {
    Text,
    Thoughts,
    /// Between calls, or before the first.
    Calls,
    /// Inside the call of this number.
    Call(CallReader, u32),
    /// Inside of calls that are read as a whole.
    Block,
}

impl AnswerParser {
    /// A parser for an answer in this format.
    pub fn new(format: AnswerFormat, start: AnswerStart) -> AnswerParser {
        let mode = match &format.thoughts {
            Some(_) if start.in_thoughts => Mode::Thoughts,
            None if start.only_calls => Mode::Calls,
            _ => Mode::Text,
        };
        AnswerParser {
            format,
            start,
            mode,
            held: String::new(),
            space: String::new(),
            skipped: String::new(),
            has_spoken: false,
            has_thought: false,
            trims: false,
            calls: 0,
        }
    }

    /// Whether what comes next is a thought.
    pub fn is_thinking(&self) -> bool {
        matches!(self.mode, Mode::Thoughts)
    }

    /// How many calls have begun.
    pub fn calls(&self) -> u32 {
        self.calls
    }

    /// Takes the next text of the answer.
    pub fn push(&mut self, text: &str) -> Vec<AnswerPiece> {
        self.held.push_str(text);
        let mut pieces = Vec::new();
        while self.step(&mut pieces) {}
        pieces
    }

    /// What is left when no text follows.
    pub fn finish(&mut self) -> Vec<AnswerPiece> {
        let mut pieces = Vec::new();
        let held = std::mem::take(&mut self.held);
        match std::mem::replace(&mut self.mode, Mode::Text) {
            Mode::Thoughts => self.think(&held, &mut pieces),
            Mode::Call(reader, _) if !reader.has_begun() => {
                self.give_back(reader.raw(), &mut pieces)
            }
            Mode::Block => self.read_block(&held, "", &mut pieces),
            Mode::Calls if self.calls == 0 => self.give_back(&held, &mut pieces),
            Mode::Call(..) | Mode::Calls => {}
            Mode::Text => self.say(&held, &mut pieces),
        }
        // White space at the end of what was said is real, where nothing else follows.
        if self.has_spoken && self.calls == 0 && !self.space.is_empty() {
            pieces.push(AnswerPiece::Text(std::mem::take(&mut self.space)));
        }
        pieces
    }

    /// Understands more of the held text; `false` when more must come first.
    fn step(&mut self, pieces: &mut Vec<AnswerPiece>) -> bool {
        match &mut self.mode {
            Mode::Text => self.text_step(pieces),
            Mode::Thoughts => self.thoughts_step(pieces),
            Mode::Calls => self.calls_step(pieces),
            Mode::Call(..) => self.call_step(pieces),
            Mode::Block => self.block_step(pieces),
        }
    }

    fn text_step(&mut self, pieces: &mut Vec<AnswerPiece>) -> bool {
        let at_start = !self.has_spoken && self.calls == 0;
        if at_start && self.start_step() {
            return true;
        }
        if at_start && self.may_start_with_marker() {
            return false;
        }
        let syntax = self.format.calls.filter(|_| self.start.has_tools);
        let Some(marker) = syntax.map(CallSyntax::marker) else {
            let held = std::mem::take(&mut self.held);
            self.say(&held, pieces);
            return false;
        };
        if let Some(at) = self.held.find(marker) {
            let said = self.held[..at].to_string();
            self.held.drain(..at + marker.len());
            self.say(&said, pieces);
            self.skipped = std::mem::take(&mut self.space) + marker;
            let is_block = syntax.is_some_and(|syntax| syntax.block_end().is_some());
            self.mode = if is_block { Mode::Block } else { Mode::Calls };
            return true;
        }
        let rest = self.held.split_off(self.held.len() - overlap_bytes(&self.held, marker));
        let said = std::mem::replace(&mut self.held, rest);
        self.say(&said, pieces);
        false
    }

    /// What an answer may begin with: thoughts, or calls without a marker.
    fn start_step(&mut self) -> bool {
        let held = self.held.trim_start();
        if let Some((open, _)) = &self.format.thoughts
            && let Some(rest) = held.strip_prefix(open.as_str())
        {
            self.held = rest.to_string();
            self.mode = Mode::Thoughts;
            return true;
        }
        let is_json = held.starts_with('{') || (self.start.only_calls && held.starts_with('['));
        if is_json && self.is_bare() {
            self.mode = Mode::Calls;
            return true;
        }
        false
    }

    /// Whether the text so far may still become what an answer may begin with.
    fn may_start_with_marker(&self) -> bool {
        let held = self.held.trim_start();
        let thoughts = self.format.thoughts.as_ref();
        thoughts.is_some_and(|(open, _)| open.starts_with(held))
            || (held.is_empty() && self.is_bare())
    }

    /// Whether calls may come without a marker.
    fn is_bare(&self) -> bool {
        let llama = self.format.calls == Some(CallSyntax::Llama3);
        self.start.only_calls || (self.start.has_tools && llama)
    }

    fn thoughts_step(&mut self, pieces: &mut Vec<AnswerPiece>) -> bool {
        let close = self.format.thoughts.as_ref().map_or("", |(_, close)| close.as_str());
        if let Some(at) = self.held.find(close) {
            let thought = self.held[..at].to_string();
            self.held.drain(..at + close.len());
            self.think(&thought, pieces);
            self.space.clear();
            self.format.thoughts = None;
            self.trims = true;
            self.mode = if self.start.only_calls { Mode::Calls } else { Mode::Text };
            return true;
        }
        let rest = self.held.split_off(self.held.len() - overlap_bytes(&self.held, close));
        let thought = std::mem::replace(&mut self.held, rest);
        self.think(&thought, pieces);
        false
    }

    /// Looks for the next call, or the end of calls.
    fn calls_step(&mut self, pieces: &mut Vec<AnswerPiece>) -> bool {
        let syntax = self.format.calls.unwrap_or(CallSyntax::Hermes);
        loop {
            let held = self.held.trim_start();
            let space_bytes = self.held.len() - held.len();
            let passed = if held.starts_with(syntax.marker()) {
                syntax.marker().len()
            } else if syntax.marker().starts_with(held) {
                return false;
            } else {
                usize::from(held.starts_with(['[', ']', ',', ';']))
            };
            self.skipped.extend(self.held.drain(..space_bytes + passed));
            if passed == 0 {
                break;
            }
        }
        if let Some(end) = syntax.end() {
            if self.calls > 0
                && let Some(rest) = self.held.strip_prefix(end)
            {
                self.held = rest.to_string();
                self.mode = Mode::Text;
                return true;
            }
            if end.starts_with(self.held.as_str()) {
                return false;
            }
        }
        let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
        if self.held.starts_with('{') {
            self.mode = Mode::Call(CallReader::object(), self.calls);
            return true;
        }
        if syntax == CallSyntax::Mistral && self.held.starts_with(is_name) {
            self.mode = Mode::Call(CallReader::named(), self.calls);
            return true;
        }
        let held = std::mem::take(&mut self.held);
        self.give_back(&held, pieces);
        false
    }

    /// Waits for the end of calls that are read as a whole.
    fn block_step(&mut self, pieces: &mut Vec<AnswerPiece>) -> bool {
        let end = self.format.calls.and_then(CallSyntax::block_end).unwrap_or_default();
        let Some(at) = self.held.find(end) else { return false };
        let block = self.held[..at].to_string();
        self.held.drain(..at + end.len());
        self.read_block(&block, end, pieces);
        true
    }

    /// Tells the calls of a block, or says it if there are none.
    fn read_block(&mut self, block: &str, end: &str, pieces: &mut Vec<AnswerPiece>) {
        let calls = self.format.calls.map(|syntax| block::read(syntax, block, &self.format.texts));
        let calls = calls.unwrap_or_default();
        self.mode = Mode::Text;
        if calls.is_empty() {
            self.give_back(&format!("{block}{end}"), pieces);
            return;
        }
        self.skipped.clear();
        for (name, text) in calls {
            let index = self.calls;
            self.calls += 1;
            if !(self.start.one_call && index > 0) {
                pieces.push(AnswerPiece::CallStart { index, name });
                pieces.push(AnswerPiece::CallArguments { index, text });
            }
        }
    }

    /// No call after all: what was passed over and what follows are text.
    fn give_back(&mut self, text: &str, pieces: &mut Vec<AnswerPiece>) {
        self.mode = Mode::Text;
        let skipped = std::mem::take(&mut self.skipped);
        self.say(&format!("{skipped}{text}"), pieces);
        self.has_spoken = true;
    }

    fn call_step(&mut self, pieces: &mut Vec<AnswerPiece>) -> bool {
        let Mode::Call(reader, index) = &mut self.mode else { return false };
        let index = *index;
        let (progress, read) = reader.read(&self.held);
        self.held.drain(..read);
        let is_told = !(self.start.one_call && index > 0);
        if let Some(name) = reader.take_name() {
            self.calls = index + 1;
            self.skipped.clear();
            if is_told {
                pieces.push(AnswerPiece::CallStart { index, name });
            }
        }
        let text = reader.take_arguments();
        if !text.is_empty() && is_told {
            pieces.push(AnswerPiece::CallArguments { index, text });
        }
        match progress {
            Progress::More => return false,
            Progress::Done => self.mode = Mode::Calls,
            Progress::Broken => {
                let raw = if reader.has_begun() { String::new() } else { reader.raw().to_string() };
                self.give_back(&raw, pieces);
            }
        }
        true
    }

    /// Says a text, but keeps the white space at its end until more follows.
    fn say(&mut self, text: &str, pieces: &mut Vec<AnswerPiece>) {
        let is_first = self.trims && !self.has_spoken && self.calls == 0;
        let text = if is_first { text.trim_start() } else { text };
        if let Some(text) = self.with_space(text, self.start.has_tools) {
            self.has_spoken = true;
            pieces.push(AnswerPiece::Text(text));
        }
    }

    fn think(&mut self, text: &str, pieces: &mut Vec<AnswerPiece>) {
        let text = if self.has_thought { text } else { text.trim_start() };
        if let Some(text) = self.with_space(text, true) {
            self.has_thought = true;
            pieces.push(AnswerPiece::Reasoning(text));
        }
    }

    /// The text behind the white space that was kept before it; keeps the white space at its end.
    fn with_space(&mut self, text: &str, keeps: bool) -> Option<String> {
        let core = if keeps { text.trim_end() } else { text };
        if core.is_empty() {
            self.space.push_str(text);
            return None;
        }
        let mut whole = std::mem::take(&mut self.space);
        whole.push_str(core);
        self.space.push_str(&text[core.len()..]);
        Some(whole)
    }
}

#[cfg(test)]
mod tests;
