//! The answer under way, whatever dialect it comes in: keeps the promises of [`Event`] about order
//! and number, names calls that have no name, and does not believe every number.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::estimate::{Guess, estimate};
use super::{MAX_LINE_BYTES, Read, Refusal};
use crate::event::{Aside, Event, FinishReason, TokenLogprob, Usage};
use crate::request::{Citation, Family, Foreign, GenerateRequest, MAX_CALLS, MAX_CHOICES, Seal};

/// More tokens than any model has room for; a provider that counts more has counted wrong.
const MAX_TOKENS: u64 = 100_000_000;

/// The state that every reader keeps.
#[derive(Debug)]
pub(super) struct Answer {
    id: String,
    prompt_guess: u32,
    stops: Vec<String>,
    has_started: bool,
    choices: Vec<Choice>,
    told: Told,
    guess: Guess,
    /// Of all calls: some dialects tell a call only when it is whole.
    argument_bytes: usize,
}

#[derive(Debug, Default)]
struct Choice {
    /// Begun calls: by what the provider knows each.
    calls: Vec<CallKey>,
    /// Whether the last of them has arguments so far.
    has_arguments: bool,
    reason: Option<FinishReason>,
}

/// How a provider tells its calls apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CallKey {
    pub(super) index: u64,
    pub(super) id: String,
}

/// The numbers that a provider tells.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) prompt: Option<u32>,
    pub(super) completion: Option<u32>,
    pub(super) reasoning: Option<u32>,
    pub(super) cached: Option<u32>,
    pub(super) cache_write: Option<u32>,
}

impl Told {
    /// Where what was found in a cache or kept there is not part of the prompt's number.
    pub(super) fn beside_cache(
        prompt: Count,
        completion: Count,
        [cached, written]: [Count; 2],
    ) -> Told {
        let whole = prompt.plus(cached).plus(written);
        Told {
            prompt: prompt.0.and(whole.0),
            completion: completion.0,
            reasoning: None,
            cached: cached.0,
            cache_write: written.0,
        }
    }
}

impl Answer {
    pub(super) fn new(request: &GenerateRequest) -> Answer {
        Answer {
            id: request.id.0.clone(),
            prompt_guess: estimate(request),
            stops: request.stop.clone(),
            has_started: false,
            choices: Vec::new(),
            told: Told::default(),
            guess: Guess::default(),
            argument_bytes: 0,
        }
    }

    /// The answer has begun; told once, however often it is called.
    pub(super) fn start(&mut self, out: &mut Vec<Event>) {
        if !self.has_started {
            self.has_started = true;
            let prompt_tokens = self.told.prompt.unwrap_or(self.prompt_guess);
            out.push(Event::Started { prompt_tokens });
        }
    }

    /// Takes over the numbers that are told; later ones win.
    pub(super) fn tell(&mut self, told: Told) {
        let mine = &mut self.told;
        mine.prompt = told.prompt.or(mine.prompt);
        mine.completion = told.completion.or(mine.completion);
        mine.reasoning = told.reasoning.or(mine.reasoning);
        mine.cached = told.cached.or(mine.cached);
        mine.cache_write = told.cache_write.or(mine.cache_write);
    }

    pub(super) fn text(
        &mut self,
        choice: u16,
        text: String,
        tokens: Vec<TokenLogprob>,
        out: &mut Vec<Event>,
    ) -> Read<()> {
        self.choice(choice, out)?;
        if !text.is_empty() || !tokens.is_empty() {
            self.guess.text(&text);
            out.push(Event::Text { choice, text, tokens });
        }
        Ok(())
    }

    pub(super) fn think(&mut self, choice: u16, text: String, out: &mut Vec<Event>) -> Read<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.guess.text(&text);
        self.aside(choice, Aside::Reasoning(text), out)
    }

    pub(super) fn seal(&mut self, choice: u16, seal: Seal, out: &mut Vec<Event>) -> Read<()> {
        self.aside(choice, Aside::Seal(Box::new(seal)), out)
    }

    pub(super) fn refuse(&mut self, choice: u16, text: String, out: &mut Vec<Event>) -> Read<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.guess.text(&text);
        self.aside(choice, Aside::Refusal(text), out)
    }

    pub(super) fn cite(
        &mut self,
        choice: u16,
        citation: Citation,
        out: &mut Vec<Event>,
    ) -> Read<()> {
        self.aside(choice, Aside::Citation(Box::new(citation)), out)
    }

    pub(super) fn foreign(
        &mut self,
        choice: u16,
        (family, value): (Family, Value),
        out: &mut Vec<Event>,
    ) -> Read<()> {
        self.aside(choice, Aside::Foreign(Box::new(Foreign { family, value, text: None })), out)
    }

    pub(super) fn aside(&mut self, choice: u16, aside: Aside, out: &mut Vec<Event>) -> Read<()> {
        self.choice(choice, out)?;
        out.push(Event::Aside { choice, aside, tokens: Vec::new() });
        Ok(())
    }

    /// Part of a call: begins it if it has not. A provider that says the same key again goes on
    /// with that call; one that gives another id begins the next.
    pub(super) fn call(
        &mut self,
        choice: u16,
        key: CallKey,
        (name, arguments): (Option<&str>, String),
        out: &mut Vec<Event>,
    ) -> Read<()> {
        let id = self.id.clone();
        let mine = self.choice(choice, out)?;
        let calls = &mut mine.calls;
        let is_same =
            |known: &CallKey| known.index == key.index && (key.id.is_empty() || known.id == key.id);
        let index = match calls.last().is_some_and(is_same) {
            true => calls.len() - 1,
            false => {
                let Some(name) = name.filter(|name| !name.is_empty()) else {
                    return Err(Refusal::broken("The provider mixes up the calls of an answer."));
                };
                end_call(choice, calls.len(), mine.has_arguments, out);
                mine.has_arguments = false;
                if calls.len() >= MAX_CALLS {
                    return Err(Refusal::broken("The provider's answer makes too many calls."));
                }
                let number = calls.len() as u32;
                let name = name.to_owned();
                let id = match key.id.is_empty() {
                    true => made_up(&id, choice, number),
                    false => key.id.clone(),
                };
                calls.push(key);
                let aside = Aside::CallStart { index: number, id, name };
                out.push(Event::Aside { choice, aside, tokens: Vec::new() });
                calls.len() - 1
            }
        };
        if !arguments.is_empty() {
            mine.has_arguments = true;
            self.argument_bytes += arguments.len();
            if self.argument_bytes > MAX_LINE_BYTES {
                return Err(Refusal::broken("The provider's calls have too long arguments."));
            }
            self.guess.text(&arguments);
            let aside = Aside::CallArguments { index: index as u32, text: arguments };
            out.push(Event::Aside { choice, aside, tokens: Vec::new() });
        }
        Ok(())
    }

    /// Calls of a choice so far.
    pub(super) fn calls(&self, choice: u16) -> usize {
        self.choices.get(usize::from(choice)).map_or(0, |choice| choice.calls.len())
    }

    /// Why a choice has ended; told at the end, because more may come behind it.
    pub(super) fn finish(
        &mut self,
        choice: u16,
        reason: FinishReason,
        out: &mut Vec<Event>,
    ) -> Read<()> {
        let index = choice;
        let choice = self.choice(index, out)?;
        end_call(index, choice.calls.len(), choice.has_arguments, out);
        choice.has_arguments = true;
        choice.reason = Some(match (reason, choice.calls.is_empty()) {
            // Some say that they have stopped when they wait for calls.
            (FinishReason::Stop | FinishReason::Other, false) => FinishReason::ToolCalls,
            (FinishReason::ToolCalls, true) => FinishReason::Stop,
            (reason, _) => reason,
        });
        Ok(())
    }

    /// The stop text of the request that this is.
    pub(super) fn stop_text(&self, text: &str) -> FinishReason {
        let index = self.stops.iter().position(|stop| stop == text);
        match index.and_then(|index| u16::try_from(index).ok()) {
            Some(index) => FinishReason::StopText(index),
            None => FinishReason::Stop,
        }
    }

    /// Whether all choices that have begun have ended.
    pub(super) fn has_finished(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|choice| choice.reason.is_some())
    }

    /// Ends the answer. A provider that stops in the middle has broken off.
    pub(super) fn end(&mut self, out: &mut Vec<Event>) -> Read<()> {
        if !self.has_finished() {
            return Err(Refusal::broken("The provider broke off before the end of its answer."));
        }
        for (choice, ended) in (0u16..).zip(&self.choices) {
            if let Some(reason) = ended.reason {
                out.push(Event::Finished { choice, reason });
            }
        }
        out.push(Event::Done(self.usage()));
        Ok(())
    }

    fn usage(&self) -> Usage {
        let Told { prompt, completion, reasoning, cached, cache_write } = self.told;
        let prompt_tokens = prompt.unwrap_or(self.prompt_guess);
        let completion_tokens = completion.unwrap_or_else(|| self.guess.total());
        let cached_tokens = cached.unwrap_or(0).min(prompt_tokens);
        Usage {
            prompt_tokens,
            completion_tokens,
            reasoning_tokens: reasoning.unwrap_or(0).min(completion_tokens),
            cached_tokens,
            cache_write_tokens: cache_write.unwrap_or(0).min(prompt_tokens - cached_tokens),
            is_estimated: prompt.is_none() || completion.is_none(),
            ..Usage::default()
        }
    }

    fn choice(&mut self, choice: u16, out: &mut Vec<Event>) -> Read<&mut Choice> {
        if choice >= MAX_CHOICES {
            return Err(Refusal::broken("The provider's answer has too many choices."));
        }
        self.start(out);
        let at = usize::from(choice);
        if self.choices.len() <= at {
            self.choices.resize_with(at + 1, Choice::default);
        }
        Ok(&mut self.choices[at])
    }
}

/// The last of so many calls has ended. One without arguments has an empty object of them: clients
/// parse what they get.
fn end_call(choice: u16, calls: usize, has_arguments: bool, out: &mut Vec<Event>) {
    if calls > 0 && !has_arguments {
        let aside = Aside::CallArguments { index: calls as u32 - 1, text: "{}".to_owned() };
        out.push(Event::Aside { choice, aside, tokens: Vec::new() });
    }
}

/// A name for a call that its provider gave none: nine letters and digits, the same for the same
/// request.
fn made_up(id: &str, choice: u16, number: u32) -> String {
    let mut hasher = DefaultHasher::new();
    (id, choice, number).hash(&mut hasher);
    let mut rest = hasher.finish();
    let letters = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut letter = || {
        let letter = letters[(rest % 36) as usize];
        rest /= 36;
        char::from(letter)
    };
    std::iter::repeat_with(&mut letter).take(9).collect()
}

/// A number of tokens as a provider writes it. What is negative, absurd or no number was not told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count(pub(super) Option<u32>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Count, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(Count::of(&value))
    }
}

impl Count {
    pub(super) fn of(value: &Value) -> Count {
        let whole = value.as_u64().or_else(|| {
            let number = value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0)?;
            Some(number as u64)
        });
        Count(whole.filter(|count| *count <= MAX_TOKENS).and_then(|count| count.try_into().ok()))
    }

    /// The sum of what was told; nothing if nothing was.
    pub(super) fn plus(self, other: Count) -> Count {
        match (self.0, other.0) {
            (Some(one), Some(two)) => Count(Some(one.saturating_add(two))),
            (one, two) => Count(one.or(two)),
        }
    }
}
