//! What a sequence tells its reader.

use std::time::Duration;

/// One piece of news from a sequence: any number of `Text`, then one `Finished`.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// More text, in whole characters. May be empty when only `tokens` has news: text that could
    /// be the start of a stop text is held back, its tokens are not. `generated`: tokens of the
    /// sequence so far, those without text among them.
    Text { text: String, tokens: Vec<TokenLogprob>, generated: u32 },
    /// The sequence has ended; the last event.
    Finished(Finished),
}

/// A generated token and how likely the model found it.
///
/// Log probabilities are natural, and of the model's own distribution: before temperature,
/// penalties, biases and cuts.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    pub id: u32,
    pub logprob: f32,
    /// The likeliest tokens, best first, as many as were asked for.
    pub top: Vec<(u32, f32)>,
}

/// How a sequence ended, and what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    pub reason: FinishReason,
    pub prompt_tokens: u32,
    /// Part of `prompt_tokens` that an earlier sequence had computed.
    pub cached_tokens: u32,
    /// Tokens generated, with the one that ended the sequence.
    pub completion_tokens: u32,
    /// From submission until the first step that ran the sequence.
    pub queue: Duration,
    /// From then until the first token.
    pub prefill: Duration,
    /// From submission until the first token.
    pub first_token: Duration,
    /// From submission until the end.
    pub total: Duration,
}

/// Why a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// An end-of-sequence token.
    Stop,
    /// This one of the request's stop texts.
    StopText(u16),
    /// `max_tokens` or the end of the context.
    Length,
}
