//! The neutral request for vectors or scores of texts. Dialects parse into it, backends answer it.

use hearth_store::ChannelId;
use tokio::sync::oneshot;

use crate::error::Result;
use crate::request::RequestId;

/// Most texts of one request; OpenAI's own limit.
pub const MAX_TEXTS: usize = 2048;

/// A request for vectors.
#[derive(Clone, Debug)]
pub struct EmbedRequest {
    pub id: RequestId,
    /// The model's public name, as the caller wrote it.
    pub model: String,
    /// 1..=[`MAX_TEXTS`].
    pub inputs: Vec<EmbedInput>,
    pub wanted: Wanted,
    /// The Hearths that the request has come through, this one included.
    pub path: Vec<String>,
}

/// What is wanted of each input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Vector,
    /// How well it answers this question: one number, the higher the better.
    Score {
        question: String,
    },
}

/// What to make a vector of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbedInput {
    /// The model's own first and last tokens are put around it.
    Text(String),
    /// The same, cut off where the model's context ends.
    Cut(String),
    /// Taken as they are; never empty.
    Tokens(Vec<u32>),
}

/// Vectors under way: the texts were accepted. Dropping it cancels what has not run.
#[derive(Debug)]
pub struct Embedding {
    /// Tokens of all texts.
    pub prompt_tokens: u32,
    /// Tokens that were cut off.
    pub dropped_tokens: u32,
    /// Whether the provider told no counts, so that they were made here.
    pub is_estimated: bool,
    /// Who makes them; `None` is this machine.
    pub channel: Option<ChannelId>,
    pub vectors: oneshot::Receiver<Result<Vec<Vec<f32>>>>,
}

/// The answer to a request for vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// One per input, in their order, all of one length: 1 where scores were wanted.
    pub vectors: Vec<Vec<f32>>,
    pub usage: crate::event::Usage,
}

impl Embedded {
    /// Puts the vectors of further texts behind these.
    pub fn append(&mut self, mut more: Embedded) {
        self.vectors.append(&mut more.vectors);
        let sum = &mut self.usage;
        sum.prompt_tokens = sum.prompt_tokens.saturating_add(more.usage.prompt_tokens);
        sum.dropped_tokens = sum.dropped_tokens.saturating_add(more.usage.dropped_tokens);
        sum.is_estimated |= more.usage.is_estimated;
    }
}

/// The first `wanted` numbers of a vector, scaled to length 1 anew.
pub fn shorten(vector: &[f32], wanted: usize) -> Vec<f32> {
    let kept = &vector[..wanted.min(vector.len())];
    let length = kept.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    // A vector of nothing stays one.
    let scale = 1.0 / length.max(1e-12);
    kept.iter().map(|x| (f64::from(*x) * scale) as f32).collect()
}
