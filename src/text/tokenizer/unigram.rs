//! Sentencepiece's unigram model: of all ways to cut a text into pieces, the one whose scores have
//! the highest sum.
//!
//! The library prepares the text (its charsmap, its spaces) and we cut it: the library's own model
//! keeps a hash table per letter of its vocabulary, 260 MB for XLM-RoBERTa's 250,000 pieces, where
//! a sorted list of them has 9.

use std::collections::HashMap;

use tokenizers::tokenizer::{NormalizedString, OffsetReferential, OffsetType, PreTokenizedString};
use tokenizers::{Normalizer, NormalizerWrapper, PreTokenizer, PreTokenizerWrapper};

use crate::error::{Error, Result};

/// How much worse than the worst piece a letter is that no piece has; sentencepiece's number.
const UNKNOWN_PENALTY: f64 = 10.0;
/// Longest piece, in bytes; sentencepiece's trainer allows 16 letters.
const MAX_PIECE_BYTES: usize = 512;
/// All pieces together; XLM-RoBERTa's have 2.5 MB.
const MAX_TEXT_BYTES: usize = 1 << 30;

/// Everything that a unigram model is built from.
#[derive(Clone, Default)]
pub(super) struct UnigramParts {
    /// Without control tokens.
    pub(super) pieces: HashMap<String, (u32, f64)>,
    /// Of all scores, those of control tokens too where the file counts them.
    pub(super) lowest: f64,
    pub(super) unknown: u32,
    /// The token of each byte value, for letters that no piece has; empty for none.
    pub(super) bytes: Vec<u32>,
    pub(super) normalizer: Option<NormalizerWrapper>,
    pub(super) pre_tokenizer: Option<PreTokenizerWrapper>,
    /// How pieces differ from the first one of a text; `None` when they do not.
    pub(super) later_pre_tokenizer: Option<PreTokenizerWrapper>,
    pub(super) prefixes_space: bool,
}

/// A ready unigram model.
#[derive(Debug)]
pub(super) struct UnigramModel {
    pieces: Pieces,
    unknown: u32,
    unknown_score: f64,
    bytes: Vec<u32>,
    normalizer: Option<NormalizerWrapper>,
    first: Option<PreTokenizerWrapper>,
    later: Option<PreTokenizerWrapper>,
    prefixes_space: bool,
}

/// Pieces in the order of their bytes.
#[derive(Debug)]
struct Pieces {
    /// All texts, one behind the other.
    text: String,
    rows: Vec<Piece>,
    /// Where the rows begin whose first byte is this or higher.
    starts: Box<[u32; 257]>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u32,
    bytes: u16,
    id: u32,
    score: f64,
}

/// The best way to cut a text up to some place.
#[derive(Clone, Copy)]
struct Best {
    score: f64,
    /// Where its last piece begins; `None` while nothing reaches this place.
    from: Option<usize>,
    /// `None` for a letter that no piece has.
    id: Option<u32>,
}

impl UnigramModel {
    pub(super) fn new(parts: UnigramParts) -> Result<Box<UnigramModel>> {
        let broken = |problem: String| Err(Error::BrokenTokenizer(problem));
        if parts.pieces.values().any(|(_, score)| !score.is_finite()) || !parts.lowest.is_finite() {
            return broken("a piece's score is no number".into());
        }
        if parts.pieces.keys().any(|text| text.len() > MAX_PIECE_BYTES) {
            return broken(format!("a piece has more than {MAX_PIECE_BYTES} bytes"));
        }
        if parts.pieces.keys().map(String::len).sum::<usize>() > MAX_TEXT_BYTES {
            return broken("the pieces are too long together".into());
        }
        debug_assert!(matches!(parts.bytes.len(), 0 | 256), "all bytes or none");
        Ok(Box::new(UnigramModel {
            pieces: Pieces::new(parts.pieces),
            unknown: parts.unknown,
            unknown_score: parts.lowest - UNKNOWN_PENALTY,
            bytes: parts.bytes,
            normalizer: parts.normalizer,
            later: parts.later_pre_tokenizer.or_else(|| parts.pre_tokenizer.clone()),
            first: parts.pre_tokenizer,
            prefixes_space: parts.prefixes_space,
        }))
    }

    pub(super) fn prefixes_space(&self) -> bool {
        self.prefixes_space
    }

    /// Appends the ids of a stretch of ordinary text; `first`: nothing comes before it.
    pub(super) fn encode(&self, text: &str, first: bool, ids: &mut Vec<u32>) -> Result<()> {
        let failed = |problem: tokenizers::Error| Error::BrokenTokenizer(problem.to_string());
        let mut normalized = NormalizedString::from(text);
        if let Some(normalizer) = &self.normalizer {
            normalizer.normalize(&mut normalized).map_err(failed)?;
        }
        if normalized.is_empty() {
            return Ok(());
        }
        let mut words = PreTokenizedString::from(normalized);
        let pre_tokenizer = if first { &self.first } else { &self.later };
        if let Some(pre_tokenizer) = pre_tokenizer {
            pre_tokenizer.pre_tokenize(&mut words).map_err(failed)?;
        }
        for (word, ..) in words.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            self.cut(word, ids);
        }
        Ok(())
    }

    /// Appends the ids of the best pieces of a word.
    fn cut(&self, word: &str, ids: &mut Vec<u32>) {
        let none = Best { score: 0.0, from: None, id: None };
        let mut best = vec![none; word.len() + 1];
        for (at, letter) in word.char_indices() {
            let score = best[at].score;
            let mut offer = |end: usize, id: Option<u32>, score: f64| {
                // Of equals the one that was found first stays.
                if best[end].from.is_none() || score > best[end].score {
                    best[end] = Best { score, from: Some(at), id };
                }
            };
            let mut has_letter = false;
            self.pieces.prefixes(&word.as_bytes()[at..], |bytes, piece| {
                has_letter |= bytes == letter.len_utf8();
                offer(at + bytes, Some(piece.id), score + piece.score);
            });
            if !has_letter {
                offer(at + letter.len_utf8(), None, score + self.unknown_score);
            }
        }
        let mut cuts = Vec::new();
        let mut end = word.len();
        while let Some(from) = best[end].from {
            cuts.push((from, best[end].id));
            end = from;
        }
        self.spell(word, &cuts, ids);
    }

    /// `cuts`: where pieces begin and what they are, the last first. Unknown neighbours are one.
    fn spell(&self, word: &str, cuts: &[(usize, Option<u32>)], ids: &mut Vec<u32>) {
        let mut was_unknown = false;
        for (index, &(from, id)) in cuts.iter().enumerate().rev() {
            let end = if index == 0 { word.len() } else { cuts[index - 1].0 };
            match id {
                Some(id) => ids.push(id),
                None if !self.bytes.is_empty() => {
                    ids.extend(word[from..end].bytes().map(|byte| self.bytes[usize::from(byte)]));
                }
                None if was_unknown => {}
                None => ids.push(self.unknown),
            }
            was_unknown = id.is_none();
        }
    }
}

impl Pieces {
    fn new(pieces: HashMap<String, (u32, f64)>) -> Pieces {
        let mut sorted: Vec<(String, (u32, f64))> = pieces.into_iter().collect();
        sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        sorted.retain(|(text, _)| !text.is_empty());
        let (mut text, mut rows) = (String::new(), Vec::with_capacity(sorted.len()));
        let mut starts = Box::new([0; 257]);
        for (piece, (id, score)) in sorted {
            // At most `MAX_TEXT_BYTES` and `MAX_PIECE_BYTES`.
            let (start, bytes) = (text.len() as u32, piece.len() as u16);
            rows.push(Piece { start, bytes, id, score });
            starts[usize::from(piece.as_bytes()[0]) + 1] = rows.len() as u32;
            text.push_str(&piece);
        }
        for byte in 1..starts.len() {
            starts[byte] = starts[byte].max(starts[byte - 1]);
        }
        Pieces { text, rows, starts }
    }

    /// Calls `found` with each piece that `text` begins with and its length, the shortest first.
    fn prefixes(&self, text: &[u8], mut found: impl FnMut(usize, &Piece)) {
        let Some(&byte) = text.first() else { return };
        let [start, end] = [0, 1].map(|next| self.starts[usize::from(byte) + next] as usize);
        // The rows that agree with the first `depth` bytes; a piece of just these is the first.
        let mut rows = &self.rows[start..end];
        for depth in 1..=text.len().min(MAX_PIECE_BYTES) {
            let Some(row) = rows.first() else { return };
            if usize::from(row.bytes) == depth {
                found(depth, row);
                rows = &rows[1..];
            }
            let Some(&next) = text.get(depth) else { return };
            let at = |row: &Piece| self.text.as_bytes()[row.start as usize + depth];
            rows = &rows[rows.partition_point(|row| at(row) < next)..];
            rows = &rows[..rows.partition_point(|row| at(row) == next)];
        }
    }
}

#[cfg(test)]
mod tests;
