//! The unigram model of a GGUF file, which llama.cpp calls `t5`.

use std::collections::HashMap;

use hearth_formats::gguf::{Array, Metadata};
use tokenizers::NormalizerWrapper;
use tokenizers::normalizers::prepend::Prepend;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::strip::Strip;
use tokenizers::normalizers::utils::Sequence;

use super::{Kind, Vocabulary, broken, id};
use crate::error::{Error, Result};
use crate::tokenizer::charsmap;
use crate::tokenizer::scored::SPACE_MARK;
use crate::tokenizer::unigram::UnigramParts;

pub(super) fn parts(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<UnigramParts> {
    let key = "tokenizer.ggml.scores";
    let scores = metadata.f32s(key)?.ok_or_else(|| broken(key, "is missing"))?;
    if scores.len() != vocabulary.texts.len() {
        return Err(broken(key, "must hold one number for each token"));
    }
    let unknown = id(metadata, "unknown", vocabulary.texts.len())?;
    let unknown = unknown.ok_or_else(|| broken("tokenizer.ggml.unknown_token_id", "is missing"))?;
    let mut pieces = HashMap::new();
    for ((id, text, kind), score) in vocabulary.rows().zip(scores) {
        if kind == Kind::Normal && id != unknown {
            pieces.entry(text.clone()).or_insert((id, f64::from(score)));
        }
    }
    let lowest = pieces.values().map(|&(_, score)| score).fold(0.0, f64::min);
    let flag = |name: &str| metadata.bool(&format!("tokenizer.ggml.{name}"));
    let prefixes_space = flag("add_space_prefix")?.unwrap_or(true);
    let mut steps = cleaning(metadata, flag("remove_extra_whitespaces")?.unwrap_or(false))?;
    // A library's part would leave the mark out before a text that begins with one.
    if prefixes_space {
        steps.push(Prepend::new(SPACE_MARK.to_string()).into());
    }
    steps.push(replace(ReplacePattern::String(" ".into()), &SPACE_MARK.to_string())?);
    Ok(UnigramParts {
        pieces,
        lowest,
        unknown,
        normalizer: Some(Sequence::new(steps).into()),
        prefixes_space,
        ..UnigramParts::default()
    })
}

/// What is done to a text before its spaces are marked.
fn cleaning(metadata: &Metadata, trims: bool) -> Result<Vec<NormalizerWrapper>> {
    let mut steps: Vec<NormalizerWrapper> = Vec::new();
    let key = "tokenizer.ggml.precompiled_charsmap";
    match metadata.array(key)? {
        Some(Array::Fixed { kind, bytes }) if kind.bytes() == 1 => {
            steps.push(charsmap::normalizer(bytes)?.into());
        }
        Some(_) => return Err(broken(key, "is not a list of bytes")),
        None => {}
    }
    if trims {
        steps.push(Strip::new(true, true).into());
        steps.push(replace(ReplacePattern::Regex(" {2,}".into()), " ")?);
    }
    Ok(steps)
}

fn replace(what: ReplacePattern, with: &str) -> Result<NormalizerWrapper> {
    Replace::new(what, with)
        .map(NormalizerWrapper::from)
        .map_err(|problem| Error::BrokenTokenizer(problem.to_string()))
}
