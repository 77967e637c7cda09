//! The unigram part of a `tokenizer.json`, whose vocabulary is a list of texts with scores.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::pipeline::{after_first, marks_first_word, part, walk};
use super::{ModelPart, TokenizerFile, broken_vocabulary};
use crate::error::{Error, Result};
use crate::tokenizer::charsmap;
use crate::tokenizer::unigram::UnigramParts;

impl ModelPart {
    /// Texts and scores; a text's place is its id.
    pub(super) fn scored(&self) -> Result<Vec<(String, f64)>> {
        serde_json::from_value(self.vocab.clone()).map_err(|problem| broken_vocabulary(&problem))
    }
}

impl TokenizerFile {
    pub(super) fn unigram_parts(
        self,
        vocab: HashMap<String, u32>,
        control: &HashSet<String>,
    ) -> Result<UnigramParts> {
        let broken = |problem: &str| Error::BrokenTokenizer(problem.into());
        let scored = self.model.scored()?;
        let unknown = self.model.unk_id.filter(|&id| id < scored.len());
        // An id is below `MAX_ID`, which was checked.
        let unknown = unknown.ok_or_else(|| broken("the unknown token does not exist"))? as u32;
        let bytes: Vec<u32> = match self.model.byte_fallback {
            true => (0..=u8::MAX)
                .map_while(|byte| vocab.get(&format!("<0x{byte:02X}>")))
                .copied()
                .collect(),
            false => Vec::new(),
        };
        let lowest = scored.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
        let mut pieces: HashMap<String, (u32, f64)> =
            (0..).zip(scored).map(|(id, (text, score))| (text, (id, score))).collect();
        pieces.retain(|text, (id, _)| *id != unknown && !control.contains(text));
        let later = after_first(&self.pre_tokenizer);
        let later = later.map(|later| part(later, "pre-tokenizer")).transpose()?.flatten();
        Ok(UnigramParts {
            pieces,
            lowest,
            unknown,
            bytes: if bytes.len() == 256 { bytes } else { Vec::new() },
            prefixes_space: marks_first_word(&self.pre_tokenizer),
            normalizer: part(self.normalizer, "normaliser")?,
            pre_tokenizer: part(self.pre_tokenizer, "pre-tokenizer")?,
            later_pre_tokenizer: later,
        })
    }
}

/// Says no to a table of characters that the library would come to grief with.
pub(super) fn check_charsmaps(normalizer: &Value) -> Result<()> {
    let mut checked = Ok(());
    walk(normalizer, &mut |kind, object| {
        if kind != "Precompiled" || checked.is_err() {
            return;
        }
        let table = object.get("precompiled_charsmap").and_then(Value::as_str);
        let table = table.and_then(|table| STANDARD.decode(table).ok());
        let absent = || Error::BrokenTokenizer("the charsmap is not written in base64".into());
        checked = table.ok_or_else(absent).and_then(|table| charsmap::normalizer(&table)).map(drop);
    });
    checked
}
