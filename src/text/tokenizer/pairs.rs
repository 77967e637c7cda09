//! BPE with ranked merges, by the `tokenizers` library, behind checks that the library leaves out.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper};

use crate::error::{Error, Result};

/// Most merges; the largest vocabularies have half a million.
const MAX_MERGES: usize = 4 << 20;

/// Everything that a ranked BPE is built from.
#[derive(Clone, Default)]
pub(super) struct PairParts {
    /// Without control tokens.
    pub(super) vocab: HashMap<String, u32>,
    pub(super) merges: Vec<(String, String)>,
    pub(super) normalizer: Option<NormalizerWrapper>,
    pub(super) pre_tokenizer: Option<PreTokenizerWrapper>,
    /// How pieces differ from the first one of a text; `None` when they do not.
    pub(super) later_pre_tokenizer: Option<PreTokenizerWrapper>,
    pub(super) unknown: Option<String>,
    pub(super) fuse_unknown: bool,
    pub(super) byte_fallback: bool,
    pub(super) ignore_merges: bool,
    pub(super) prefixes_space: bool,
}

/// A ready BPE.
#[derive(Debug)]
pub(super) struct PairModel {
    first: tokenizers::Tokenizer,
    /// For pieces of a text that follow an added token, where they are treated differently.
    later: Option<tokenizers::Tokenizer>,
    prefixes_space: bool,
}

impl PairModel {
    pub(super) fn new(parts: PairParts) -> Result<Box<PairModel>> {
        check_merges(&parts)?;
        let later = parts.later_pre_tokenizer.clone();
        let prefixes_space = parts.prefixes_space;
        let later = match later {
            Some(later) => {
                Some(library(PairParts { pre_tokenizer: Some(later), ..parts.clone() })?)
            }
            None => None,
        };
        Ok(Box::new(PairModel { first: library(parts)?, later, prefixes_space }))
    }

    pub(super) fn prefixes_space(&self) -> bool {
        self.prefixes_space
    }

    /// Appends the ids of a stretch of ordinary text; `first`: nothing comes before it.
    pub(super) fn encode(&self, text: &str, first: bool, ids: &mut Vec<u32>) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let model = if first { &self.first } else { self.later.as_ref().unwrap_or(&self.first) };
        let encoding = model
            .encode_fast(text, false)
            .map_err(|problem| Error::BrokenTokenizer(problem.to_string()))?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(())
    }
}

/// The library copies both halves of a merge into a buffer of the longest token's length and
/// panics when that is too short, so every merge must give a token that exists.
fn check_merges(parts: &PairParts) -> Result<()> {
    if parts.merges.len() > MAX_MERGES {
        return Err(Error::BrokenTokenizer(format!("more than {MAX_MERGES} merges")));
    }
    let mut joined = String::new();
    for (left, right) in &parts.merges {
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        for text in [left, right, &joined] {
            if !parts.vocab.contains_key(text) {
                let problem = format!("a merge needs the token {text:?}, which does not exist");
                return Err(Error::BrokenTokenizer(problem));
            }
        }
    }
    if let Some(unknown) = parts.unknown.as_ref().filter(|text| !parts.vocab.contains_key(*text)) {
        let problem = format!("the unknown token {unknown:?} is not in the vocabulary");
        return Err(Error::BrokenTokenizer(problem));
    }
    Ok(())
}

fn library(parts: PairParts) -> Result<tokenizers::Tokenizer> {
    let mut builder = BPE::builder()
        .vocab_and_merges(parts.vocab.into_iter().collect::<Vocab>(), parts.merges)
        .fuse_unk(parts.fuse_unknown)
        .byte_fallback(parts.byte_fallback)
        .ignore_merges(parts.ignore_merges);
    if let Some(unknown) = parts.unknown {
        builder = builder.unk_token(unknown);
    }
    let model = builder.build().map_err(|problem| Error::BrokenTokenizer(problem.to_string()))?;
    let mut library = tokenizers::Tokenizer::new(model);
    library
        .with_normalizer(parts.normalizer)
        .map_err(|problem| Error::BrokenTokenizer(problem.to_string()))?;
    library.with_pre_tokenizer(parts.pre_tokenizer);
    Ok(library)
}
