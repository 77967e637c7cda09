//! The one neutral event stream. Every backend produces it, every dialect prints it.

use hearth_store::ChannelId;
use tokio::sync::mpsc;

use crate::error::Result;
use crate::request::{Citation, Foreign, Seal};

/// What happens to a request, in order: `Served` if a channel answers, `Started`, then `Text`, `Aside` and `Finished` of each choice
/// (choices may interleave), then `Done` once. After an `Err` nothing follows.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// This channel answers; at most once, first. What is hosted here says nothing. `ignored`: the
    /// fields that it was not told ([`crate::wire::Call::warnings`]). `drain_s`: how long it is
    /// read on for what was used, once nobody listens any more.
    Served { channel: ChannelId, ignored: Vec<String>, drain_s: u32 },
    /// The prompt was accepted and queued; its exact length is known.
    Started { prompt_tokens: u32 },
    /// More text of one choice. Whole UTF-8 characters only; may be empty when only
    /// `tokens` has news. One per generated token where possible: of a request that its client
    /// stopped, the gateway counts these.
    Text { choice: u16, text: String, tokens: Vec<TokenLogprob> },
    /// More of what a choice thinks or calls, in the same way.
    Aside { choice: u16, aside: Aside, tokens: Vec<TokenLogprob> },
    /// Prompt and answer as tokens, where the request asked for them; once, before `Done`.
    Context { tokens: Vec<u32> },
    /// One choice has ended; exactly once per choice.
    Finished { choice: u16, reason: FinishReason },
    /// Everything has ended; exactly once, last.
    Done(Usage),
}

/// What an answer has besides its text.
#[derive(Clone, Debug, PartialEq)]
pub enum Aside {
    /// What the model thinks before it speaks.
    Reasoning(String),
    /// Ends what was thought, if anything: its maker wants it back with this.
    Seal(Box<Seal>),
    /// The model declines in these words.
    Refusal(String),
    /// Where the text that came last is from: all since the last break.
    Citation(Box<Citation>),
    /// The next text is a piece of its own.
    Break,
    /// A piece that only the provider's own dialect knows.
    Foreign(Box<Foreign>),
    /// A call of a tool begins; calls of a choice are counted from 0.
    CallStart { index: u32, id: String, name: String },
    /// More of the arguments of this call: JSON text.
    CallArguments { index: u32, text: String },
}

/// Why a choice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// End-of-sequence token.
    Stop,
    /// This one of the request's stop texts.
    StopText(u16),
    /// `max_tokens` or the context was reached.
    Length,
    /// The model has called tools and waits for what they give.
    ToolCalls,
    /// The provider's rules have cut it off.
    Filtered(Filter),
    /// The model itself declines.
    Refusal,
    /// The provider pauses a long turn; sent back as it is, the turn goes on.
    Paused,
    /// The model wrote a call that is none.
    BadCall,
    /// The provider gives a reason that has no name here.
    Other,
}

/// Which rule has cut an answer off, as far as the provider says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    #[default]
    Safety,
    /// It repeats a protected text.
    Recitation,
    Language,
    Blocklist,
    Prohibited,
    PersonalData,
}

/// A generated token with its log probability, natural logarithm.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    pub id: u32,
    /// The token's own text; bytes that are no whole character appear as U+FFFD.
    pub text: String,
    pub bytes: Vec<u8>,
    pub logprob: f32,
    /// The likeliest alternatives, best first.
    pub top: Vec<(u32, String, Vec<u8>, f32)>,
}

/// Exact token counts and times of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: u32,
    /// Sum over all choices.
    pub completion_tokens: u32,
    /// Part of `completion_tokens` that was thought, with the mark that ends it.
    pub reasoning_tokens: u32,
    /// Part of `prompt_tokens` that was not computed again.
    pub cached_tokens: u32,
    /// Part of `prompt_tokens` that a provider has kept for later and takes extra money for.
    pub cache_write_tokens: u32,
    pub queue_ms: u64,
    pub first_token_ms: u64,
    pub total_ms: u64,
    /// Whether the tokens were counted here because the provider did not tell them.
    pub is_estimated: bool,
    /// Tokens of the prompt that were left out because it did not fit; not in `prompt_tokens`.
    pub dropped_tokens: u32,
    /// Until the model was loaded; almost nothing if it was.
    pub load_ns: u64,
    /// From the first step that ran the request until its first token.
    pub prompt_ns: u64,
    /// From the first token until the end.
    pub answer_ns: u64,
}

/// Events of one request. Dropping it cancels the request within one step of the engine.
pub type EventStream = mpsc::Receiver<Result<Event>>;
