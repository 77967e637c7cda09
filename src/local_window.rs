//! How prompt and answer share a model's context: what a prompt that is too long loses, and how
//! long an answer may become.

use hearth_engine::Model;
use hearth_gateway::request::{GenerateRequest, Message, Overflow, Part, Role, Window};
use hearth_gateway::{Error, Result};
use hearth_text::{Prompt, Specials};

use crate::local_rules::wrong;

/// Of a context that overflows, the part that is kept free for the answer: one in so many.
const ANSWER_PART: usize = 4;
/// Bytes that hardly any token is longer than; of a message that is too long no more are looked at.
const TOKEN_BYTES: usize = 16;

/// The tokens that a request has, and how it shares them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Prompt and answer together.
    limit: usize,
    /// Whether the request's own limit is the narrower one.
    is_narrowed: bool,
    max_tokens: Option<u32>,
}

/// A prompt that fits.
#[derive(Debug)]
pub(crate) struct Fitted {
    pub(crate) prompt: Vec<u32>,
    pub(crate) dropped_tokens: u32,
}

impl Room {
    pub(crate) fn of(model: &Model, request: &GenerateRequest) -> Room {
        let context = model.info().context_tokens;
        let limit = request.window.limit_tokens.unwrap_or(context).min(context);
        let max_tokens = request.max_tokens;
        Room { limit: limit as usize, is_narrowed: limit < context, max_tokens }
    }

    /// Most tokens of the answer to this prompt.
    pub(crate) fn max_tokens(&self, prompt: &[u32]) -> Option<u32> {
        if !self.is_narrowed {
            return self.max_tokens;
        }
        let left = u32::try_from(self.limit.saturating_sub(prompt.len())).unwrap_or(u32::MAX);
        Some(self.max_tokens.map_or(left, |most| most.min(left)))
    }

    /// The text, without its oldest tokens if it is too long and the request allows it.
    pub(crate) fn fit_text(
        &self,
        model: &Model,
        text: Vec<u32>,
        window: &Window,
    ) -> Result<Fitted> {
        let first = model.tokenizer().encode_prompt("", Specials::AsText).map_err(wrong)?;
        let text = follow(&window.before, text, &first);
        if text.len() < self.limit {
            return Ok(Fitted { prompt: text, dropped_tokens: 0 });
        }
        if window.overflow == Overflow::Refuse {
            return Err(self.full(text.len()));
        }
        let kept = if text.starts_with(&first) { first.len() } else { 0 };
        let most = self.room_for_prompt();
        if most <= kept {
            return Err(self.full(text.len()));
        }
        let dropped = text.len() - most;
        let prompt = [&text[..kept], &text[kept + dropped..]].concat();
        Ok(Fitted { prompt, dropped_tokens: u32::try_from(dropped).unwrap_or(u32::MAX) })
    }

    /// The chat as `render` makes it, without its oldest messages if it is too long and the
    /// request allows it; and how its text ends.
    pub(crate) fn fit_chat(
        &self,
        model: &Model,
        messages: &[Message],
        window: &Window,
        render: impl Fn(&[Message]) -> Result<Prompt>,
    ) -> Result<(Fitted, String)> {
        let whole = render(messages)?;
        if !window.before.is_empty() {
            return Ok((self.fit_text(model, whole.ids, window)?, whole.ending));
        }
        if whole.ids.len() < self.limit {
            return Ok((Fitted { prompt: whole.ids, dropped_tokens: 0 }, whole.ending));
        }
        let whole_tokens = whole.ids.len();
        if window.overflow == Overflow::Refuse {
            return Err(self.full(whole_tokens));
        }
        // A chat that begins with an answer, or with the result of a call that it does not show,
        // is none that templates know: it is cut before what a user says.
        let cuts: Vec<usize> =
            (1..messages.len()).filter(|&at| messages[at].role == Role::User).collect();
        let shortened = |cut: usize| {
            let kept = messages
                .iter()
                .enumerate()
                .filter(|(at, message)| *at >= cut || message.role == Role::System);
            render(&kept.map(|(_, message)| message.clone()).collect::<Vec<_>>())
        };
        // Of the cuts that fit, the first; the last one may take the room of the answer.
        let (mut low, mut high) = (0, cuts.len().saturating_sub(1));
        while low < high {
            let middle = usize::midpoint(low, high);
            match shortened(cuts[middle])?.ids.len() <= self.room_for_prompt() {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        let mut prompt = match cuts.get(low) {
            Some(&cut) => shortened(cut)?,
            None => render(messages)?,
        };
        if prompt.ids.len() >= self.limit {
            prompt = self.fit_last(messages, cuts.last().copied().unwrap_or(0), &render)?;
        }
        let dropped = whole_tokens.saturating_sub(prompt.ids.len());
        let dropped_tokens = u32::try_from(dropped).unwrap_or(u32::MAX);
        Ok((Fitted { prompt: prompt.ids, dropped_tokens }, prompt.ending))
    }

    /// The system messages and what begins at `cut`, of whose first message only the end is left: as
    /// much as fits. That is what a question in it most likely stands at.
    fn fit_last(
        &self,
        messages: &[Message],
        cut: usize,
        render: &impl Fn(&[Message]) -> Result<Prompt>,
    ) -> Result<Prompt> {
        let is_kept = |at: usize| at >= cut || messages[at].role == Role::System;
        let mut kept: Vec<Message> =
            (0..messages.len()).filter(|&at| is_kept(at)).map(|at| messages[at].clone()).collect();
        let Some(long) = kept.iter().position(|message| message.role == Role::User) else {
            return Err(self.full(render(messages)?.ids.len()));
        };
        let text = kept[long].joined_text();
        let mut from = |at: usize| {
            let at = (at..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
            kept[long].parts = vec![Part::Text(text[at..].to_owned())];
            render(&kept)
        };
        // The first byte from which it fits.
        let mut low = text.len().saturating_sub(self.limit.saturating_mul(TOKEN_BYTES));
        let mut high = text.len();
        while low < high {
            let middle = usize::midpoint(low, high);
            match from(middle)?.ids.len() <= self.room_for_prompt() {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        let prompt = from(high)?;
        match prompt.ids.len() < self.limit && high < text.len() {
            true => Ok(prompt),
            // What is around it leaves no room.
            false => Err(self.full(prompt.ids.len())),
        }
    }

    /// Tokens that a prompt may have which does not fit as a whole.
    fn room_for_prompt(&self) -> usize {
        let wanted = self.max_tokens.map_or(usize::MAX, |most| most as usize);
        let answer = wanted.min(self.limit / ANSWER_PART).max(1);
        self.limit.saturating_sub(answer)
    }

    fn full(&self, prompt_tokens: usize) -> Error {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (prompt_tokens, context_tokens) = (count(prompt_tokens), count(self.limit));
        Error::ContextFull { prompt_tokens, max_tokens: 0, context_tokens }
    }
}

/// The prompt behind an earlier conversation; what every prompt begins with stands only once.
fn follow(before: &[u32], prompt: Vec<u32>, first: &[u32]) -> Vec<u32> {
    if before.is_empty() {
        return prompt;
    }
    let rest = prompt.strip_prefix(first).unwrap_or(&prompt);
    [before, rest].concat()
}
