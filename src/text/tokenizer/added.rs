//! Tokens that are found as whole texts before anything else is done: control tokens and the like.

use std::ops::Range;

use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind, StartKind};

use crate::error::{Error, Result};

/// Most added tokens; gemma 3, the richest in sight, has 6,400.
const MAX_ADDED_TOKENS: usize = 16_384;
/// Longest text of one.
const MAX_ADDED_BYTES: usize = 512;
/// All texts together; the automaton takes about thirty times as much.
const MAX_ADDED_TOTAL_BYTES: usize = 1 << 20;

/// A token with a text of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) text: String,
    /// It steers the model, so people's text must never become it.
    pub(super) control: bool,
    /// Swallows white space before it.
    pub(super) strip_before: bool,
    /// Swallows white space after it.
    pub(super) strip_after: bool,
    /// Counts only where no letter or digit touches it.
    pub(super) whole_word: bool,
}

/// All added tokens of a model, ready to be searched for at once.
#[derive(Debug)]
pub(super) struct AddedTokens {
    tokens: Vec<AddedToken>,
    /// Finds any of `tokens`; its patterns are numbered like them.
    any: AhoCorasick,
    /// Finds the texts of control tokens.
    control: AhoCorasick,
    /// Finds those that are no control tokens, at a given place only.
    ordinary: AhoCorasick,
    /// The place in `tokens` of each pattern of `ordinary`.
    ordinary_at: Vec<usize>,
}

/// An added token in a text, with the white space that it swallows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) id: u32,
}

impl AddedTokens {
    pub(super) fn new(mut tokens: Vec<AddedToken>) -> Result<AddedTokens> {
        tokens.retain(|token| !token.text.is_empty());
        let total_bytes: usize = tokens.iter().map(|token| token.text.len()).sum();
        let longest = tokens.iter().map(|token| token.text.len()).max().unwrap_or(0);
        if tokens.len() > MAX_ADDED_TOKENS
            || longest > MAX_ADDED_BYTES
            || total_bytes > MAX_ADDED_TOTAL_BYTES
        {
            return Err(Error::BrokenTokenizer("too many or too long added tokens".into()));
        }
        let ordinary_at: Vec<usize> = (0..tokens.len()).filter(|&at| !tokens[at].control).collect();
        let any = automaton(tokens.iter(), StartKind::Unanchored)?;
        let steering = tokens.iter().filter(|token| token.control);
        let control = automaton(steering, StartKind::Unanchored)?;
        let ordinary = automaton(ordinary_at.iter().map(|&at| &tokens[at]), StartKind::Anchored)?;
        Ok(AddedTokens { tokens, any, control, ordinary, ordinary_at })
    }

    /// The texts of the control tokens.
    pub(super) fn control_texts(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().filter(|token| token.control).map(|token| token.text.as_str())
    }

    /// The control token of this text.
    pub(super) fn control_id(&self, text: &str) -> Option<u32> {
        self.tokens.iter().find(|token| token.control && token.text == text).map(|token| token.id)
    }

    /// Where the texts of control tokens stand in a text, from left to right.
    pub(super) fn control_spans(&self, text: &str) -> Vec<Range<usize>> {
        self.control.find_iter(text).map(|hit| hit.range()).collect()
    }

    /// Every added token in the text, from left to right, the longest where two begin together.
    /// A control token counts only where `may_steer(start, end)` agrees.
    pub(super) fn find(&self, text: &str, may_steer: impl Fn(usize, usize) -> bool) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        let mut from = 0;
        while let Some(hit) = self.any.find(Input::new(text).range(from..)) {
            let start = hit.start();
            let next = start + text[start..].chars().next().map_or(1, char::len_utf8);
            let mut hit = Some((hit.end(), hit.pattern().as_usize()));
            // Letters that only look like a control token may still begin with an ordinary one.
            if hit.is_some_and(|(end, at)| self.tokens[at].control && !may_steer(start, end)) {
                hit = self
                    .ordinary
                    .find(Input::new(text).range(start..).anchored(Anchored::Yes))
                    .map(|hit| (hit.end(), self.ordinary_at[hit.pattern().as_usize()]));
            }
            let Some((end, at)) = hit else {
                from = next;
                continue;
            };
            let token = &self.tokens[at];
            if token.whole_word && touches_word(text, start, end) {
                from = next;
                continue;
            }
            let floor = found.last().map_or(0, |last| last.end);
            let before = &text[floor..start];
            let start = if token.strip_before { floor + before.trim_end().len() } else { start };
            let after = &text[end..];
            let swallowed =
                if token.strip_after { after.len() - after.trim_start().len() } else { 0 };
            from = end + swallowed;
            found.push(Found { start, end: from, id: token.id });
        }
        found
    }
}

fn automaton<'a>(
    tokens: impl Iterator<Item = &'a AddedToken>,
    start: StartKind,
) -> Result<AhoCorasick> {
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .start_kind(start)
        .build(tokens.map(|token| token.text.as_str()))
        .map_err(|problem| Error::BrokenTokenizer(format!("added tokens: {problem}")))
}

fn touches_word(text: &str, start: usize, end: usize) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    text[..start].chars().next_back().is_some_and(is_word)
        || text[end..].chars().next().is_some_and(is_word)
}
