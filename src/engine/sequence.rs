//! One request inside a model's thread: its tokens, how it draws and what its reader has heard.

use std::time::{Duration, Instant};

use hearth_text::{Detokenizer, Grammar, Mask, StopMatcher, Tokenizer};
use tokio::sync::mpsc;

use crate::error::Result;
use crate::event::{Event, FinishReason, Finished, TokenLogprob};
use crate::lookup;
use crate::queue::Ticket;
use crate::request::{CallerKey, LaneKey, Priority, SequenceRequest};
use crate::sampler::Sampler;

/// Events that one token can cause: its text, and the end.
const EVENTS_PER_TOKEN: usize = 2;

/// A sequence from submission to its last event.
pub(crate) struct ActiveSequence {
    /// Prompt and answer.
    pub(crate) tokens: Vec<u32>,
    pub(crate) sampler: Sampler,
    pub(crate) caller: CallerKey,
    pub(crate) lane: LaneKey,
    pub(crate) weight: u16,
    pub(crate) priority: Priority,
    prompt_tokens: usize,
    cached_tokens: usize,
    /// Length at which it ends, at most the context.
    most_tokens: usize,
    detokenizer: Detokenizer,
    stops: StopMatcher,
    grammar: Option<Box<Grammar>>,
    /// How the text may go on; made for each step anew.
    guesses: Vec<u32>,
    events: mpsc::Sender<Result<Event>>,
    /// Until the first step that runs it.
    ticket: Option<Ticket>,
    submitted: Instant,
    started: Option<Instant>,
    first_token: Option<Instant>,
    lagging: Option<Instant>,
}

/// How a sequence's reader is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// There is room for what the next token brings.
    Listens,
    /// The buffer is full; since when is remembered.
    Lags(Duration),
    /// Nobody will ever read: cancelled.
    Gone,
}

impl ActiveSequence {
    /// The request has been checked against the model.
    pub(crate) fn new(
        request: SequenceRequest,
        context_tokens: u32,
        events: mpsc::Sender<Result<Event>>,
        ticket: Ticket,
    ) -> ActiveSequence {
        let prompt_tokens = request.prompt.len();
        let context_tokens = context_tokens as usize;
        let most_tokens = request.max_tokens.map_or(context_tokens, |most| {
            prompt_tokens.saturating_add(most as usize).min(context_tokens)
        });
        // What a grammar admits is shown as it is, a space at its beginning too.
        let detokenizer = match request.continues_text || request.grammar.is_some() {
            true => Detokenizer::continuing(),
            false => Detokenizer::new(),
        };
        let detokenizer = detokenizer.showing(request.shown_controls);
        ActiveSequence {
            sampler: Sampler::new(request.sampling, request.logprobs, &request.prompt),
            tokens: request.prompt,
            caller: request.caller,
            lane: request.lane,
            weight: request.weight,
            priority: request.priority,
            prompt_tokens,
            cached_tokens: 0,
            most_tokens,
            detokenizer,
            stops: StopMatcher::new(request.stop),
            grammar: request.grammar,
            guesses: Vec::new(),
            events,
            ticket: Some(ticket),
            submitted: Instant::now(),
            started: None,
            first_token: None,
            lagging: None,
        }
    }

    /// Notes that a step runs this sequence from this token on; `true` the first time.
    pub(crate) fn start(&mut self, token: usize) -> bool {
        let is_first = self.started.is_none();
        if is_first {
            self.started = Some(Instant::now());
            // What stands before the first token that is run was found computed.
            self.cached_tokens = token;
            self.ticket = None;
        }
        is_first
    }

    /// How long ago it began to run, if it has.
    pub(crate) fn running_for(&self) -> Option<Duration> {
        self.started.map(|started| started.elapsed())
    }

    /// Tells who asks how many are to be admitted before it; 1 is next.
    pub(crate) fn set_position(&self, position: usize) {
        if let Some(ticket) = &self.ticket {
            ticket.set_position(position);
        }
    }

    pub(crate) fn reader(&mut self) -> Reader {
        if self.events.is_closed() {
            return Reader::Gone;
        }
        if self.events.capacity() >= EVENTS_PER_TOKEN {
            self.lagging = None;
            return Reader::Listens;
        }
        Reader::Lags(self.lagging.get_or_insert_with(Instant::now).elapsed())
    }

    /// Guesses up to `most` tokens that follow, as far as the sequence may go and its reader has
    /// room for them. Says how many these are.
    pub(crate) fn look_ahead(&mut self, most: usize) -> usize {
        self.guesses = lookup::guess(&self.tokens, self.most_guesses(most));
        self.guesses.len()
    }

    /// How many of `most` guesses could be of use.
    pub(crate) fn most_guesses(&self, most: usize) -> usize {
        // The last token that may be drawn is never guessed: none follows it.
        let left = (self.most_tokens - self.tokens.len()).saturating_sub(1);
        let room = self.events.capacity().saturating_sub(EVENTS_PER_TOKEN);
        most.min(left).min(room)
    }

    pub(crate) fn set_guesses(&mut self, guesses: Vec<u32>) {
        self.guesses = guesses;
    }

    pub(crate) fn guesses(&self) -> &[u32] {
        &self.guesses
    }

    /// Draws the next token, of those that the grammar allows.
    pub(crate) fn draw(&mut self, logits: &[f32]) -> Result<(u32, Option<TokenLogprob>)> {
        let Some(grammar) = &mut self.grammar else { return self.sampler.sample(logits, None) };
        let left = self.most_tokens - self.tokens.len();
        let mut drawn = self.sampler.sample(logits, Some(&grammar.mask()?))?;
        let settled = grammar.settle(drawn.0, left)?;
        if settled != drawn.0 {
            drawn = self.sampler.sample(logits, Some(&Mask::only(settled)))?;
        }
        grammar.accept(drawn.0)?;
        Ok(drawn)
    }

    /// Adds a drawn token and tells the reader its text. If the sequence has ended with it, gives
    /// the event that says so, to be told once the sequence's pages are free.
    pub(crate) fn push(
        &mut self,
        token: u32,
        logprob: Option<TokenLogprob>,
        tokenizer: &Tokenizer,
    ) -> Option<Event> {
        self.first_token.get_or_insert_with(Instant::now);
        self.tokens.push(token);
        let is_end = tokenizer.eos_ids().contains(&token);
        let piece = match is_end {
            true => String::new(),
            false => self.detokenizer.push(tokenizer, token),
        };
        let step = self.stops.push(&piece);
        let mut text = step.text;
        let reason = if step.stopped {
            let met = self.stops.met().and_then(|index| u16::try_from(index).ok());
            Some(FinishReason::StopText(met.unwrap_or_default()))
        } else if is_end {
            Some(FinishReason::Stop)
        } else if self.tokens.len() >= self.most_tokens {
            Some(FinishReason::Length)
        } else {
            None
        };
        if reason.is_some() && !step.stopped {
            let rest = self.detokenizer.finish();
            let last = self.stops.push(&rest);
            text.push_str(&last.text);
            if !last.stopped {
                text.push_str(&self.stops.finish());
            }
        }
        // The token that ends a sequence is not part of the answer, nor of its log probabilities.
        let tokens: Vec<TokenLogprob> = logprob.filter(|_| !is_end).into_iter().collect();
        if !text.is_empty() || !tokens.is_empty() {
            let generated = self.generated();
            self.tell(Ok(Event::Text { text, tokens, generated }));
        }
        reason.map(|reason| Event::Finished(self.finished(reason)))
    }

    /// Room was seen before the token was computed, so only a reader that left can refuse.
    pub(crate) fn tell(&self, event: Result<Event>) {
        if self.events.try_send(event).is_err() {
            tracing::debug!("a reader left before the last event");
        }
    }

    /// Tokens generated so far. Contexts are bounded far below u32.
    fn generated(&self) -> u32 {
        (self.tokens.len() - self.prompt_tokens) as u32
    }

    fn finished(&self, reason: FinishReason) -> Finished {
        let now = Instant::now();
        let started = self.started.unwrap_or(now);
        let first_token = self.first_token.unwrap_or(now);
        // Contexts are bounded far below u32.
        Finished {
            reason,
            prompt_tokens: self.prompt_tokens as u32,
            cached_tokens: self.cached_tokens as u32,
            completion_tokens: self.generated(),
            queue: started - self.submitted,
            prefill: first_token - started,
            first_token: first_token - self.submitted,
            total: now - self.submitted,
        }
    }
}
