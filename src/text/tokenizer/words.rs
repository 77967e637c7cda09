//! WordPiece, as encoder models have it, by the `tokenizers` library: a word is a token, or the
//! longest tokens that it is made of, or unknown.

use std::collections::HashMap;

use tokenizers::models::bpe::Vocab;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper};

use crate::error::{Error, Result};

/// Longest word that is looked up piece by piece; the library's time for one is quadratic.
const MAX_WORD_CHARS: usize = 1000;

/// Everything that a WordPiece is built from.
pub(super) struct WordParts {
    /// Without control tokens; pieces inside words begin with `prefix`.
    pub(super) vocab: HashMap<String, u32>,
    pub(super) prefix: String,
    pub(super) unknown: String,
    /// Longer words are unknown.
    pub(super) max_word_chars: usize,
    pub(super) normalizer: Option<NormalizerWrapper>,
    pub(super) pre_tokenizer: Option<PreTokenizerWrapper>,
}

/// A ready WordPiece.
#[derive(Debug)]
pub(super) struct WordModel {
    library: tokenizers::Tokenizer,
}

impl WordModel {
    pub(super) fn new(parts: WordParts) -> Result<Box<WordModel>> {
        let broken = |problem: String| Error::BrokenTokenizer(problem);
        if !parts.vocab.contains_key(&parts.unknown) {
            return Err(broken("the unknown token is not in the vocabulary".into()));
        }
        if parts.max_word_chars > MAX_WORD_CHARS {
            return Err(broken(format!("words of over {MAX_WORD_CHARS} letters are looked up")));
        }
        let model = WordPiece::builder()
            .vocab(parts.vocab.into_iter().collect::<Vocab>())
            .continuing_subword_prefix(parts.prefix)
            .unk_token(parts.unknown)
            .max_input_chars_per_word(parts.max_word_chars)
            .build()
            .map_err(|problem| broken(problem.to_string()))?;
        let mut library = tokenizers::Tokenizer::new(model);
        library.with_normalizer(parts.normalizer).map_err(|problem| broken(problem.to_string()))?;
        library.with_pre_tokenizer(parts.pre_tokenizer);
        Ok(Box::new(WordModel { library }))
    }

    /// Appends the ids of a stretch of ordinary text.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let encoding = self
            .library
            .encode_fast(text, false)
            .map_err(|problem| Error::BrokenTokenizer(problem.to_string()))?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(())
    }
}
