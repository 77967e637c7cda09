//! Names pages of the KV cache by what they hold: a hash of all tokens up to the page's end.
//!
//! Two sequences of one caller that begin alike have equal hashes for as long as they are alike,
//! so that one's pages can serve the other. Integers only.

use sha2::{Digest, Sha256};

use crate::request::CallerKey;

/// 256 bits that stand for a page's tokens, all tokens before them, and the caller.
///
/// Chained, so that equal hashes mean equal keys and values, which depend on all tokens before.
/// Salted with the caller: what others asked cannot be found out by how fast an answer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PageHash([u8; 32]);

/// The tokens of one sequence: how many there are, and the hashes of the pages that they fill.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    page_tokens: usize,
    /// Of the last full page, or of the caller.
    parent: PageHash,
    full: Vec<PageHash>,
    /// Tokens behind the last full page.
    tail: Vec<u32>,
}

impl Chain {
    pub(crate) fn new(caller: CallerKey, page_tokens: usize, tokens: &[u32]) -> Chain {
        let parent = PageHash(Sha256::digest(caller.0.to_le_bytes()).into());
        let tail = Vec::with_capacity(page_tokens);
        let mut chain = Chain { page_tokens, parent, full: Vec::new(), tail };
        tokens.iter().for_each(|&token| chain.push(token));
        chain
    }

    pub(crate) fn push(&mut self, token: u32) {
        self.tail.push(token);
        if self.tail.len() < self.page_tokens {
            return;
        }
        let mut hasher = Sha256::new_with_prefix(self.parent.0);
        for token in self.tail.drain(..) {
            hasher.update(token.to_le_bytes());
        }
        self.parent = PageHash(hasher.finalize().into());
        self.full.push(self.parent);
    }

    pub(crate) fn tokens(&self) -> usize {
        self.full.len() * self.page_tokens + self.tail.len()
    }

    /// Hashes of the full pages, in order.
    pub(crate) fn full(&self) -> &[PageHash] {
        &self.full
    }

    /// Hashes of the pages that may come from elsewhere: the last token is always computed, since
    /// its logits are wanted.
    pub(crate) fn reusable(&self) -> &[PageHash] {
        &self.full[..self.tokens().saturating_sub(1) / self.page_tokens]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(caller: u64, tokens: &[u32]) -> Chain {
        Chain::new(CallerKey(caller), 4, tokens)
    }

    #[test]
    fn equal_beginnings_have_equal_hashes_and_no_others() {
        let one = chain(1, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let two = chain(1, &[1, 2, 3, 4, 5, 6, 7, 0, 9]);
        assert_eq!((one.tokens(), one.full().len()), (9, 2));
        assert_eq!(one.full()[0], two.full()[0]);
        assert_ne!(one.full()[1], two.full()[1]);
        // The same page after another one is another page.
        assert_ne!(chain(1, &[9, 9, 9, 9, 5, 6, 7, 8]).full()[1], one.full()[1]);
    }

    #[test]
    fn another_callers_hashes_are_others() {
        assert_ne!(chain(1, &[1, 2, 3, 4]).full(), chain(2, &[1, 2, 3, 4]).full());
    }

    #[test]
    fn pushed_tokens_hash_like_given_ones() {
        let mut grown = chain(1, &[1, 2, 3]);
        [4, 5, 6, 7, 8].into_iter().for_each(|token| grown.push(token));
        assert_eq!(grown.full(), chain(1, &[1, 2, 3, 4, 5, 6, 7, 8]).full());
    }

    #[test]
    fn the_last_token_is_never_reusable() {
        assert_eq!(chain(1, &[1, 2, 3, 4]).reusable().len(), 0);
        assert_eq!(chain(1, &[1, 2, 3, 4, 5]).reusable().len(), 1);
        assert_eq!(chain(1, &[1]).reusable().len(), 0);
    }
}
