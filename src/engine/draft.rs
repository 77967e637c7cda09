//! A small model that guesses what a large one of the same vocabulary says next.
//!
//! It computes a sequence only when a guess is wanted, and then from where it last was. Its keys and
//! values lie in pages of the same numbers as the large model's: who holds a page holds it in both
//! caches, and nobody has to keep a second book.

use std::collections::BTreeMap;

use candle_core::Tensor;
use hearth_text::Tokenizer;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::sampler::likeliest;
use crate::scheduler::SequenceId;
use crate::tensors::with_values;
use crate::worker::Runner;

/// Tokens of one sequence that a step computes at most before its first guess: where it is farther
/// behind, it comes nearer and guesses nothing yet.
const MOST_BEHIND: usize = 128;

/// The small model, and how far it knows each sequence.
pub(crate) struct Draft {
    runner: Box<dyn Runner>,
    page_tokens: usize,
    /// Tokens that the small model knows, and those that the large one does.
    vocabs: (usize, usize),
    known: BTreeMap<SequenceId, Known>,
}

/// What the small model has computed of a sequence.
#[derive(Clone, Debug, Default)]
struct Known {
    tokens: usize,
    /// Where that lies.
    pages: Vec<u32>,
}

/// A sequence that wants guesses.
pub(crate) struct Wish<'a> {
    pub(crate) id: SequenceId,
    pub(crate) tokens: &'a [u32],
    /// With room for the guesses.
    pub(crate) pages: Vec<u32>,
    pub(crate) guesses: usize,
}

/// A wish that is being fulfilled.
struct Course<'a, 'b> {
    wish: &'b Wish<'a>,
    guessed: Vec<u32>,
}

impl Draft {
    /// `vocabs`: how many tokens this model knows, and the one that it guesses for.
    pub(crate) fn new(
        runner: Box<dyn Runner>,
        page_tokens: usize,
        vocabs: (usize, usize),
    ) -> Draft {
        Draft { runner, page_tokens, vocabs, known: BTreeMap::new() }
    }

    /// The likeliest tokens that follow each sequence, as many as it wishes; none where the model
    /// has to read first what it does not know.
    pub(crate) fn guess(&mut self, wishes: &[Wish]) -> Result<Vec<Vec<u32>>> {
        let mut courses: Vec<Course> =
            wishes.iter().map(|wish| Course { wish, guessed: Vec::new() }).collect();
        let mut batch = Batch::new(self.page_tokens);
        let mut running = Vec::new();
        for (index, wish) in wishes.iter().enumerate() {
            let start = self.known_tokens(wish);
            let end = wish.tokens.len().min(start + MOST_BEHIND);
            let is_near = end == wish.tokens.len();
            if wish.tokens[start..end].iter().any(|&token| token as usize >= self.vocabs.0) {
                continue;
            }
            batch.push(&wish.tokens[start..end], start, wish.pages.clone(), is_near);
            self.known.insert(wish.id, Known { tokens: end, pages: wish.pages.clone() });
            if is_near {
                running.push(index);
            }
        }
        while batch.rows() > 0 {
            let likeliest = self.likeliest(&batch)?;
            batch = Batch::new(self.page_tokens);
            for (index, token) in std::mem::take(&mut running).into_iter().zip(likeliest) {
                let course = &mut courses[index];
                course.guessed.push(token);
                if course.guessed.len() == course.wish.guesses {
                    continue;
                }
                let start = course.wish.tokens.len() + course.guessed.len() - 1;
                batch.push(&[token], start, course.wish.pages.clone(), true);
                running.push(index);
            }
        }
        Ok(courses.into_iter().map(|course| course.guessed).collect())
    }

    /// Notes how many of a sequence's guesses were right: they are known already, but for the last
    /// one that was made, which was never run.
    pub(crate) fn note(&mut self, id: SequenceId, guesses: usize, right: usize) {
        if let Some(known) = self.known.get_mut(&id) {
            known.tokens += right.min(guesses.saturating_sub(1));
        }
    }

    pub(crate) fn forget(&mut self, id: SequenceId) {
        self.known.remove(&id);
    }

    /// How many of a sequence's tokens are computed, in the pages that it has now. The last one
    /// never counts: its logits are wanted.
    fn known_tokens(&self, wish: &Wish) -> usize {
        let Some(known) = self.known.get(&wish.id) else { return 0 };
        let pairs = known.pages.iter().zip(&wish.pages);
        let same = pairs.take_while(|(one, other)| one == other).count();
        known.tokens.min(same * self.page_tokens).min(wish.tokens.len() - 1)
    }

    fn likeliest(&mut self, batch: &Batch) -> Result<Vec<u32>> {
        let Some(logits) = self.runner.run(batch)? else { return Ok(Vec::new()) };
        highest(&logits, self.vocabs.1)
    }
}

/// The index of each row's highest value, below a bound.
fn highest(logits: &Tensor, bound: usize) -> Result<Vec<u32>> {
    let (_, vocab) = logits.dims2()?;
    let mut tokens = Vec::new();
    with_values(logits, |logits| {
        tokens.extend(logits.chunks_exact(vocab).map(|row| likeliest(&row[..bound.min(vocab)])));
    })?;
    Ok(tokens)
}

/// Whether the small model's tokens mean what the large one's mean.
pub(crate) fn check_vocabulary(large: &Tokenizer, small: &Tokenizer) -> Result<()> {
    // Vocabularies of one family are padded to different sizes.
    let both = large.vocab().min(small.vocab()) as u32;
    let is_same = |id: &u32| large.token_bytes(*id) == small.token_bytes(*id);
    match (0..both).find(|id| !is_same(id)) {
        None => Ok(()),
        Some(id) => Err(Error::LoadFailed(format!(
            "the draft model has another vocabulary: token {id} is not the same text; \
             choose a draft model of the same family"
        ))),
    }
}
