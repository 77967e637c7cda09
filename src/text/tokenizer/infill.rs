//! The control tokens with which models were trained to fill a gap between two texts.

use hearth_formats::GAP_MARKS;

use crate::error::Result;
use crate::tokenizer::added::AddedTokens;
use crate::tokenizer::{Specials, Tokenizer};

/// What stands before the text in front of the gap, before the one behind it, and where the gap's
/// text begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Infill {
    front: u32,
    back: u32,
    gap: u32,
}

impl Infill {
    /// The three that the metadata name, or that have a known text.
    pub(super) fn find(named: [Option<u32>; 3], added: &AddedTokens) -> Option<Infill> {
        let of = |ids: [Option<u32>; 3]| match ids {
            [Some(front), Some(back), Some(gap)] => Some(Infill { front, back, gap }),
            _ => None,
        };
        let known =
            || GAP_MARKS.iter().find_map(|texts| of(texts.map(|text| added.control_id(text))));
        of(named).or_else(known)
    }
}

impl Tokenizer {
    /// The ids of a prompt whose answer stands between two texts; `None` if the model was not
    /// trained to fill gaps.
    pub fn encode_infill(&self, prompt: &str, suffix: &str) -> Option<Result<Vec<u32>>> {
        let marks = self.infill?;
        Some(self.encode_gap(marks, prompt, suffix))
    }

    fn encode_gap(&self, marks: Infill, prompt: &str, suffix: &str) -> Result<Vec<u32>> {
        let mut ids = self.encode_prompt("", Specials::AsText)?;
        for (mark, text) in [(marks.front, prompt), (marks.back, suffix)] {
            ids.push(mark);
            ids.extend(self.encode(text, Specials::AsText)?);
        }
        ids.push(marks.gap);
        Ok(ids)
    }
}
