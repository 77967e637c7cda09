//! Vectors and scores: what the engine's encoders are asked for, and what becomes of their answers.

use hearth_engine::{EncoderText, Model, Vectors};
use hearth_gateway::backend::only_scores;
use hearth_gateway::embedding::{EmbedInput, EmbedRequest, Wanted};
use hearth_gateway::error::sentence;
use hearth_gateway::{Error, Result};
use hearth_text::Specials;

/// The texts of a request as an encoder's own tokens, and what is made of their vectors.
pub(crate) struct VectorPlan {
    pub(crate) texts: Vec<EncoderText>,
    pub(crate) ending: Ending,
    /// Tokens that were cut off.
    pub(crate) dropped_tokens: u32,
}

pub(crate) enum Ending {
    /// Vectors as they are.
    Vectors,
    /// How much the vectors after the first are like it.
    Likeness,
    /// One number each, from a head that was trained to tell yes from no.
    Logits,
}

impl VectorPlan {
    /// Refuses what the model cannot do. Takes a while for long texts.
    pub(crate) fn new(model: &Model, request: EmbedRequest) -> Result<VectorPlan> {
        let mut dropped_tokens = 0u32;
        let mut one = |input| -> Result<EncoderText> {
            let (tokens, dropped) = tokens(model, input)?;
            dropped_tokens = dropped_tokens.saturating_add(dropped);
            Ok(EncoderText { tokens, second_from: None })
        };
        let inputs = request.inputs.into_iter();
        let (ending, texts) = match request.wanted {
            Wanted::Vector if model.is_cross_encoder() => return Err(only_scores(&request.model)),
            Wanted::Vector => {
                let texts = inputs.map(&mut one);
                (Ending::Vectors, texts.collect::<Result<_>>()?)
            }
            Wanted::Score { question } if model.is_cross_encoder() => {
                let first = first_of_pairs(model, &question)?;
                let texts = inputs.map(|input| pair(model, &first, input));
                (Ending::Logits, texts.collect::<Result<_>>()?)
            }
            Wanted::Score { question } => {
                let all = std::iter::once(EmbedInput::Text(question)).chain(inputs);
                let texts = all.map(&mut one);
                (Ending::Likeness, texts.collect::<Result<_>>()?)
            }
        };
        Ok(VectorPlan { texts, ending, dropped_tokens })
    }
}

impl Ending {
    /// One vector or score per input.
    pub(crate) fn apply(&self, mut vectors: Vectors) -> Vectors {
        match self {
            Ending::Vectors => vectors,
            Ending::Likeness => {
                let question = vectors.remove(0);
                vectors.iter().map(|document| vec![cosine(&question, document)]).collect()
            }
            Ending::Logits => {
                vectors.iter_mut().flatten().for_each(|logit| *logit = sigmoid(*logit));
                vectors
            }
        }
    }
}

/// A text as an encoder's own tokens, and how many were cut off; what a text says never becomes a
/// control token.
fn tokens(model: &Model, input: EmbedInput) -> Result<(Vec<u32>, u32)> {
    let (text, cuts) = match input {
        EmbedInput::Tokens(ids) => return Ok((ids, 0)),
        EmbedInput::Text(text) => (text, false),
        EmbedInput::Cut(text) => (text, true),
    };
    let mut ids = model.tokenizer().encode_framed(&text, Specials::AsText).map_err(unreadable)?;
    let (whole, most) = (ids.len(), model.info().context_tokens as usize);
    if cuts
        && ids.len() > most
        && let Some(&last) = ids.last()
    {
        // The frame stays whole.
        ids.truncate(most.saturating_sub(1));
        ids.push(last);
    }
    let dropped_tokens = u32::try_from(whole - ids.len()).unwrap_or(u32::MAX);
    Ok((ids, dropped_tokens))
}

/// The question, made tokens once for all documents. One that leaves no room is refused before
/// any document is read.
fn first_of_pairs(model: &Model, question: &str) -> Result<Vec<u32>> {
    let first = model.tokenizer().encode_first(question).map_err(unreadable)?;
    let (prompt_tokens, context_tokens) = (first.len(), model.info().context_tokens);
    if prompt_tokens > context_tokens as usize {
        let prompt_tokens = u32::try_from(prompt_tokens).unwrap_or(u32::MAX);
        return Err(Error::ContextFull { prompt_tokens, max_tokens: 0, context_tokens });
    }
    Ok(first)
}

fn pair(model: &Model, first: &[u32], document: EmbedInput) -> Result<EncoderText> {
    let tokens = match document {
        EmbedInput::Tokens(ids) => [first, &ids].concat(),
        EmbedInput::Text(text) | EmbedInput::Cut(text) => {
            model.tokenizer().encode_pair(first, &text).map_err(unreadable)?
        }
    };
    Ok(EncoderText { tokens, second_from: Some(first.len()) })
}

fn unreadable(error: hearth_text::Error) -> Error {
    Error::Invalid { param: None, message: sentence(&error) }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    // A vector of nothing is like no other.
    (dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt()).max(1e-12)) as f32
}

fn sigmoid(logit: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(logit)).exp())) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likeness_is_the_cosine_with_the_first() {
        let vectors = vec![vec![2.0, 0.0], vec![0.0, 3.0], vec![5.0, 0.0], vec![0.0, 0.0]];
        let scores = Ending::Likeness.apply(vectors);
        assert_eq!(scores, [[0.0], [1.0], [0.0]]);
    }

    #[test]
    fn logits_become_shares_and_never_something_else() {
        let scores = Ending::Logits.apply(vec![vec![0.0], vec![-1e4], vec![1e4]]);
        assert_eq!(scores, [[0.5], [0.0], [1.0]]);
    }
}
