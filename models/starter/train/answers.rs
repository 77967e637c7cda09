//! All answers in tokens, and how much of each is needed to tell it from the others.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use crate::corpus::Corpus;
use crate::vocabulary::Vocabulary;

/// An answer in tokens.
pub struct Answer {
    pub tokens: Vec<u32>,
    /// So many tokens from the start no other answer shares: the choice is made in them.
    pub deciding: usize,
}

/// Every answer of a corpus, by its text.
pub struct Answers(BTreeMap<String, Answer>);

impl Answers {
    /// Encodes the answers of `corpus`.
    pub fn new(corpus: &Corpus, vocabulary: &Vocabulary) -> Result<Self> {
        let texts: BTreeSet<&str> = corpus.answers().collect();
        let encoded: Vec<(&str, Vec<u32>)> = texts
            .into_iter()
            .map(|text| Ok((text, vocabulary.encode(text)?)))
            .collect::<Result<_>>()?;
        let deciding = |at: usize| {
            let (_, own) = &encoded[at];
            let others = encoded.iter().enumerate().filter(|(other, _)| *other != at);
            let shared = others.map(|(_, (_, other))| shared_start(own, other)).max().unwrap_or(0);
            (shared + 1).min(own.len())
        };
        let answers = encoded.iter().enumerate().map(|(at, (text, tokens))| {
            let answer = Answer { tokens: tokens.clone(), deciding: deciding(at) };
            ((*text).to_owned(), answer)
        });
        Ok(Self(answers.collect()))
    }

    /// The answer with this text.
    pub fn get(&self, text: &str) -> Result<&Answer> {
        self.0.get(text).with_context(|| format!("no such answer: {text}"))
    }
}

fn shared_start(left: &[u32], right: &[u32]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}
