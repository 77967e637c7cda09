//! What a caller asks of a model.

use std::sync::Arc;

use hearth_text::Grammar;

use crate::error::{Error, Result};

/// Stands for whoever asks, without saying who that is. Sequences of one caller share what they
/// have in common; nobody else can find out what that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallerKey(pub u64);

/// Stands for the credential with which a caller asks: lanes share what is the caller's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneKey(pub u64);

/// How urgent a sequence is, most urgent first. Who waits long comes to count as more urgent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Somebody sits in front of it.
    Interactive,
    #[default]
    Default,
    /// Whenever there is room.
    Background,
}

/// A prompt to continue.
#[derive(Clone, Debug, Default)]
pub struct SequenceRequest {
    pub caller: CallerKey,
    pub lane: LaneKey,
    /// The caller's part of what is shared, against other callers' weights; 0 counts as 1.
    pub weight: u16,
    pub priority: Priority,
    /// The prompt's token ids; never empty, all within the vocabulary.
    pub prompt: Vec<u32>,
    /// Whether the answer goes on in the prompt's own text, so that a space before its first word
    /// is real. `false` for the answer to a chat.
    pub continues_text: bool,
    pub sampling: Sampling,
    /// Most tokens to generate; `None` goes on to the end of the context.
    pub max_tokens: Option<u32>,
    /// Texts that end the sequence and are not part of it.
    pub stop: Vec<String>,
    /// `Some(k)`: report each token's log probability and the `k` likeliest.
    pub logprobs: Option<u8>,
    /// What the answer is held to, at its beginning.
    pub grammar: Option<Box<Grammar>>,
    /// Control tokens whose text is part of the answer's text: marks of thoughts and calls.
    pub shown_controls: Arc<[u32]>,
}

/// How the next token is drawn. The default is the model's own distribution.
///
/// Order: bias and penalties on the logits, temperature, `top_k`, `top_p`, `min_p`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 is greedy: the likeliest token, the lowest id of equals.
    pub temperature: f32,
    /// Keeps the k likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Keeps the likeliest tokens that together reach this mass; 1 keeps all.
    pub top_p: f32,
    /// Drops tokens below this share of the likeliest one's probability; 0 drops none.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens in prompt and answer; 1 is off.
    pub repetition_penalty: f32,
    /// Subtracted once from the logit of every generated token.
    pub presence_penalty: f32,
    /// Subtracted from the logit of every generated token for each time it was generated.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// Same seed, same text, whatever else runs. `None` draws a seed.
    pub seed: Option<u64>,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

/// Most alternatives reported for a token.
const MAX_LOGPROBS: u8 = 20;
/// Most stop texts, and the longest, in bytes.
const MAX_STOPS: usize = 64;
const MAX_STOP_BYTES: usize = 1024;

impl SequenceRequest {
    /// Checks the request against a model's vocabulary and context.
    pub(crate) fn check(&self, vocab: usize, context_tokens: u32) -> Result<()> {
        let invalid = |problem: &str| Err(Error::InvalidRequest(problem.to_string()));
        if self.prompt.is_empty() {
            return invalid("the prompt has no tokens");
        }
        if self.prompt.len() >= context_tokens as usize {
            let prompt_tokens = u32::try_from(self.prompt.len()).unwrap_or(u32::MAX);
            return Err(Error::ContextFull { prompt_tokens, context_tokens });
        }
        if let Some(token) = self.prompt.iter().find(|&&token| token as usize >= vocab) {
            return invalid(&format!("token {token} is not in the vocabulary of {vocab}"));
        }
        if self.max_tokens == Some(0) {
            return invalid("max_tokens must be at least 1");
        }
        if self.logprobs.is_some_and(|count| count > MAX_LOGPROBS) {
            return invalid(&format!("at most {MAX_LOGPROBS} log probabilities are reported"));
        }
        let stops_fit = |stop: &String| !stop.is_empty() && stop.len() <= MAX_STOP_BYTES;
        if self.stop.len() > MAX_STOPS || !self.stop.iter().all(stops_fit) {
            return invalid(&format!(
                "at most {MAX_STOPS} stop texts of 1 to {MAX_STOP_BYTES} bytes are taken"
            ));
        }
        self.sampling.check(vocab)
    }
}

impl Sampling {
    fn check(&self, vocab: usize) -> Result<()> {
        let sane = self.temperature >= 0.0
            && self.temperature.is_finite()
            && (0.0..=1.0).contains(&self.top_p)
            && (0.0..=1.0).contains(&self.min_p)
            && self.repetition_penalty > 0.0
            && self.repetition_penalty.is_finite()
            && self.presence_penalty.is_finite()
            && self.frequency_penalty.is_finite()
            && self.logit_bias.iter().all(|(_, bias)| bias.is_finite());
        if !sane {
            return Err(Error::InvalidRequest("a sampling number is out of its range".into()));
        }
        match self.logit_bias.iter().find(|(token, _)| *token as usize >= vocab) {
            Some((token, _)) => Err(Error::InvalidRequest(format!(
                "logit_bias names token {token}, the vocabulary has {vocab}"
            ))),
            None => Ok(()),
        }
    }
}
