//! The rows of one step: tokens of several sequences, each with its own count of new tokens.

use std::ops::Range;

/// What one forward pass computes. Rows of one sequence lie together, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) tokens: Vec<u32>,
    /// Position of each row in its own sequence.
    pub(crate) positions: Vec<u32>,
    pub(crate) spans: Vec<Span>,
    /// Rows whose logits are wanted.
    pub(crate) logit_rows: Vec<u32>,
    pub(crate) page_tokens: usize,
}

/// The rows of one sequence.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) rows: Range<usize>,
    /// The sequence's pages, from its first token on.
    pub(crate) pages: Vec<u32>,
}

impl Batch {
    pub(crate) fn new(page_tokens: usize) -> Batch {
        Batch { page_tokens, ..Batch::default() }
    }

    /// Adds the tokens of one sequence that stand at `start` and after it.
    pub(crate) fn push(&mut self, tokens: &[u32], start: usize, pages: Vec<u32>, samples: bool) {
        debug_assert!(start + tokens.len() <= pages.len() * self.page_tokens, "pages are leased");
        let first = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        let end = start + tokens.len();
        // Contexts are bounded far below u32.
        self.positions.extend((start..end).map(|position| position as u32));
        if samples {
            self.logit_rows.push(self.tokens.len() as u32 - 1);
        }
        self.spans.push(Span { rows: first..self.tokens.len(), pages });
    }

    /// Adds guesses how the sequence that was added last goes on: rows behind its last one, each
    /// with its logits.
    pub(crate) fn guess(&mut self, guesses: &[u32]) {
        let (Some(span), Some(&last)) = (self.spans.last_mut(), self.positions.last()) else {
            return;
        };
        for (position, &token) in (last + 1..).zip(guesses) {
            self.logit_rows.push(self.tokens.len() as u32);
            self.tokens.push(token);
            self.positions.push(position);
        }
        span.rows.end = self.tokens.len();
        debug_assert!(span.pages.len() * self.page_tokens > last as usize + guesses.len());
    }

    pub(crate) fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Cached tokens that a row attends to: all before it and itself.
    pub(crate) fn visible(&self, row: usize) -> usize {
        self.positions[row] as usize + 1
    }

    /// Where a row's key and value go: page and place in it.
    pub(crate) fn slot(&self, span: &Span, row: usize) -> (usize, usize) {
        let position = self.positions[row] as usize;
        (span.pages[position / self.page_tokens] as usize, position % self.page_tokens)
    }
}
