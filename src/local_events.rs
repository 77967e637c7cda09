//! Merges the events of one request's sequences into one neutral stream.

use std::hash::{BuildHasher, RandomState};

use futures_util::StreamExt;
use futures_util::stream::{select_all, unfold};
use hearth_engine::{Finished, Model, Sequence};
use hearth_gateway::event::{Aside, Event, FinishReason, TokenLogprob, Usage};
use hearth_gateway::{Error, Result};
use hearth_text::{AnswerFormat, AnswerParser, AnswerPiece, AnswerStart};
use tokio::sync::mpsc::Sender;

use crate::local::{nanos, run_error};

/// Turns the engine's events of one request into neutral ones.
pub(crate) struct Answer {
    model: Model,
    has_logprobs: bool,
    /// How each choice is told apart, if it is.
    reading: Option<(AnswerFormat, AnswerStart)>,
    /// Makes the ids of calls.
    ids: RandomState,
    /// Prompt and answer so far, where the request wants to know them.
    context: Option<Vec<u32>>,
    /// Nobody wants more than the prompt computed: the one token behind it is not told.
    is_prompt_only: bool,
    usage: Usage,
}

impl Answer {
    /// An answer whose `usage` says what is known before it begins.
    pub(crate) fn new(model: Model, usage: Usage, has_logprobs: bool) -> Answer {
        let ids = RandomState::new();
        let (reading, context, is_prompt_only) = (None, None, false);
        Answer { model, has_logprobs, reading, ids, context, is_prompt_only, usage }
    }

    /// The same, that ends with all tokens from `prompt` on.
    pub(crate) fn telling(self, prompt: Option<Vec<u32>>) -> Answer {
        Answer { context: prompt, ..self }
    }

    /// The same, that tells no answer if this is so.
    pub(crate) fn only_prompt(self, is_prompt_only: bool) -> Answer {
        Answer { is_prompt_only, ..self }
    }

    /// The same, told apart into text, thoughts and calls.
    pub(crate) fn reading(self, reading: Option<(AnswerFormat, AnswerStart)>) -> Answer {
        Answer { reading, ..self }
    }

    /// Sends everything that happens, up to `Done` or the first error.
    pub(crate) async fn forward(
        mut self,
        sequences: Vec<Sequence>,
        echo: Option<String>,
        sender: &Sender<Result<Event>>,
    ) {
        // A closed channel means that the reader is gone; the caller sees that too.
        if self.run(sequences, echo, sender).await.is_none() {
            tracing::debug!("the reader went away");
        }
    }

    async fn run(
        &mut self,
        sequences: Vec<Sequence>,
        echo: Option<String>,
        sender: &Sender<Result<Event>>,
    ) -> Option<()> {
        let prompt_tokens = self.usage.prompt_tokens;
        sender.send(Ok(Event::Started { prompt_tokens })).await.ok()?;
        let mut left = sequences.len();
        let mut parsers: Vec<AnswerParser> = match self.reading.take() {
            Some((format, start)) => {
                (0..left).map(|_| AnswerParser::new(format.clone(), start)).collect()
            }
            None => Vec::new(),
        };
        for choice in 0..if echo.is_some() { left } else { 0 } {
            let (choice, text) = (choice as u16, echo.clone().unwrap_or_default());
            sender.send(Ok(Event::Text { choice, text, tokens: Vec::new() })).await.ok()?;
        }
        let streams = sequences.into_iter().enumerate().map(|(choice, sequence)| {
            Box::pin(unfold(sequence, move |mut sequence| async move {
                let event = sequence.recv().await?;
                Some(((choice as u16, event), sequence))
            }))
        });
        let mut events = select_all(streams);
        // Tokens of each choice that have been seen.
        let mut seen = vec![0; left];
        while let Some((choice, event)) = events.next().await {
            match event {
                Ok(hearth_engine::Event::Text { .. }) if self.is_prompt_only => {}
                Ok(hearth_engine::Event::Text { text, tokens, generated }) => {
                    let before = std::mem::replace(&mut seen[usize::from(choice)], generated);
                    if let Some(context) = &mut self.context {
                        context.extend(tokens.iter().map(|token| token.id));
                    }
                    let tokens = self.named(tokens);
                    match parsers.get_mut(usize::from(choice)) {
                        None => sender.send(Ok(Event::Text { choice, text, tokens })).await.ok()?,
                        Some(parser) => {
                            let pieces = self.read(parser, &text, generated - before);
                            self.tell(sender, choice, pieces, tokens).await?;
                        }
                    }
                }
                Ok(hearth_engine::Event::Finished(finished)) => {
                    let mut reason = self.count(&finished);
                    if self.is_prompt_only {
                        (reason, self.usage.completion_tokens) = (FinishReason::Length, 0);
                    } else if let Some(parser) = parsers.get_mut(usize::from(choice)) {
                        let pieces = parser.finish();
                        self.tell(sender, choice, pieces, Vec::new()).await?;
                        if reason != FinishReason::Length && parser.calls() > 0 {
                            reason = FinishReason::ToolCalls;
                        }
                    }
                    sender.send(Ok(Event::Finished { choice, reason })).await.ok()?;
                    left -= 1;
                }
                Err(error) => return sender.send(Err(run_error(error))).await.ok(),
            }
        }
        if let Some(tokens) = self.context.take() {
            sender.send(Ok(Event::Context { tokens })).await.ok()?;
        }
        let last = match left {
            0 => Ok(Event::Done(self.usage)),
            _ => Err(Error::Internal("a sequence ended without its last event".to_owned())),
        };
        sender.send(last).await.ok()
    }

    /// What a text of so many tokens comes to; counts those of thoughts.
    fn read(&mut self, parser: &mut AnswerParser, text: &str, tokens: u32) -> Vec<AnswerPiece> {
        let was_thinking = parser.is_thinking();
        let pieces = parser.push(text);
        if was_thinking || parser.is_thinking() {
            self.usage.reasoning_tokens += tokens;
        }
        pieces
    }

    /// Sends the pieces of one choice; the first carries the tokens, which are told in any case.
    async fn tell(
        &self,
        sender: &Sender<Result<Event>>,
        choice: u16,
        pieces: Vec<AnswerPiece>,
        mut tokens: Vec<TokenLogprob>,
    ) -> Option<()> {
        if pieces.is_empty() && !tokens.is_empty() {
            let event = Event::Text { choice, text: String::new(), tokens };
            return sender.send(Ok(event)).await.ok();
        }
        for piece in pieces {
            let tokens = std::mem::take(&mut tokens);
            let aside = match piece {
                AnswerPiece::Text(text) => {
                    sender.send(Ok(Event::Text { choice, text, tokens })).await.ok()?;
                    continue;
                }
                AnswerPiece::Reasoning(text) => Aside::Reasoning(text),
                AnswerPiece::CallStart { index, name } => {
                    Aside::CallStart { index, id: self.call_id(choice, index), name }
                }
                AnswerPiece::CallArguments { index, text } => Aside::CallArguments { index, text },
            };
            sender.send(Ok(Event::Aside { choice, aside, tokens })).await.ok()?;
        }
        Some(())
    }

    /// A call's id: nine letters and digits, which is what some chat templates insist on.
    fn call_id(&self, choice: u16, index: u32) -> String {
        let mut number = self.ids.hash_one((choice, index));
        let letters = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut id = String::new();
        for _ in 0..9 {
            id.push(char::from(letters[(number % 36) as usize]));
            number /= 36;
        }
        id
    }

    /// Adds one choice to the usage.
    fn count(&mut self, finished: &Finished) -> FinishReason {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let first = self.usage.completion_tokens == 0;
        self.usage.completion_tokens += finished.completion_tokens;
        // What the first choice computed the others found: only what none of them computed counts.
        let cached_tokens = finished.cached_tokens;
        self.usage.cached_tokens =
            if first { cached_tokens } else { self.usage.cached_tokens.min(cached_tokens) };
        self.usage.queue_ms = self.usage.queue_ms.max(ms(finished.queue));
        self.usage.prompt_ns = self.usage.prompt_ns.max(nanos(finished.prefill));
        let answered = finished.total.saturating_sub(finished.first_token);
        self.usage.answer_ns = self.usage.answer_ns.max(nanos(answered));
        self.usage.total_ms = self.usage.total_ms.max(ms(finished.total));
        let first_token_ms = ms(finished.first_token);
        self.usage.first_token_ms =
            if first { first_token_ms } else { self.usage.first_token_ms.min(first_token_ms) };
        match finished.reason {
            hearth_engine::FinishReason::Stop => FinishReason::Stop,
            hearth_engine::FinishReason::StopText(index) => FinishReason::StopText(index),
            hearth_engine::FinishReason::Length => FinishReason::Length,
        }
    }

    /// Gives tokens their texts.
    fn named(&self, tokens: Vec<hearth_engine::TokenLogprob>) -> Vec<TokenLogprob> {
        if !self.has_logprobs {
            return Vec::new();
        }
        let tokenizer = self.model.tokenizer();
        let name = |id: u32| {
            let bytes = tokenizer.token_bytes(id).to_vec();
            (String::from_utf8_lossy(&bytes).into_owned(), bytes)
        };
        tokens
            .into_iter()
            .map(|token| {
                let (text, bytes) = name(token.id);
                let top = token.top.into_iter().map(|(id, logprob)| {
                    let (text, bytes) = name(id);
                    (id, text, bytes, logprob)
                });
                TokenLogprob {
                    id: token.id,
                    text,
                    bytes,
                    logprob: token.logprob,
                    top: top.collect(),
                }
            })
            .collect()
    }
}
