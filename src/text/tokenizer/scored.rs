//! Sentencepiece's BPE with scores, as GGUF files of the llama family carry it.
//!
//! Text is cut into characters; then, again and again, the two neighbours that form the piece with
//! the highest score are joined, the leftmost pair first among equals. What is still no piece at
//! the end is spelled in bytes. A heap of candidate pairs makes that O(n log n).

use std::collections::{BinaryHeap, HashMap};

/// The mark that stands for a space inside pieces.
pub(super) const SPACE_MARK: char = '▁';

/// A vocabulary of scored pieces.
#[derive(Debug)]
pub(super) struct ScoredModel {
    /// Ordinary pieces only: control tokens, bytes and `<unk>` are not here.
    pub(super) pieces: HashMap<String, Piece>,
    /// The token of each byte value, where the vocabulary has one.
    pub(super) bytes: Vec<Option<u32>>,
    pub(super) unknown: Option<u32>,
    /// A space is put before every stretch of text.
    pub(super) add_space_prefix: bool,
}

/// A piece's id and score; finite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) id: u32,
    pub(super) score: f32,
}

/// A stretch of text that has been joined so far; a list linked in both directions.
struct Symbol {
    start: usize,
    /// Empty once joined to its left neighbour.
    end: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours that would form a piece. Ordered so that the heap yields the best first.
#[derive(PartialEq)]
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of both together: a pair is stale when either has changed since.
    bytes: usize,
}

impl Eq for Pair {}

impl Ord for Pair {
    fn cmp(&self, other: &Pair) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Pair) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl ScoredModel {
    pub(super) fn prefixes_space(&self) -> bool {
        self.add_space_prefix
    }

    /// Appends the ids of a stretch of ordinary text.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        let prefix = if self.add_space_prefix { " " } else { "" };
        let marked = format!("{prefix}{text}").replace(' ', "▁");
        let symbols = self.join(&marked);
        let mut at = Some(0);
        while let Some(symbol) = at.map(|at| &symbols[at]) {
            self.spell(&marked[symbol.start..symbol.end], ids);
            at = symbol.next;
        }
    }

    fn join(&self, text: &str) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(at, (start, letter))| Symbol {
                start,
                end: start + letter.len_utf8(),
                previous: at.checked_sub(1),
                next: Some(at + 1),
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = None;
        }
        let mut heap: BinaryHeap<Pair> = (1..symbols.len())
            .filter_map(|right| self.pair(text, &symbols, right - 1, right))
            .collect();
        while let Some(pair) = heap.pop() {
            let (left, right) = (&symbols[pair.left], &symbols[pair.right]);
            let gone = left.start == left.end || right.start == right.end;
            if gone || right.end - left.start != pair.bytes || left.next != Some(pair.right) {
                continue;
            }
            let (end, next) = (right.end, right.next);
            symbols[pair.right].end = symbols[pair.right].start;
            symbols[pair.left].end = end;
            symbols[pair.left].next = next;
            if let Some(next) = next {
                symbols[next].previous = Some(pair.left);
                heap.extend(self.pair(text, &symbols, pair.left, next));
            }
            if let Some(previous) = symbols[pair.left].previous {
                heap.extend(self.pair(text, &symbols, previous, pair.left));
            }
        }
        symbols
    }

    fn pair(&self, text: &str, symbols: &[Symbol], left: usize, right: usize) -> Option<Pair> {
        let (start, end) = (symbols[left].start, symbols[right].end);
        let piece = self.pieces.get(&text[start..end])?;
        Some(Pair { score: piece.score, left, right, bytes: end - start })
    }

    /// A piece's id, or its bytes' ids, or the unknown token.
    fn spell(&self, text: &str, ids: &mut Vec<u32>) {
        if let Some(piece) = self.pieces.get(text) {
            ids.push(piece.id);
            return;
        }
        let spelled: Option<Vec<u32>> =
            text.bytes().map(|byte| self.bytes.get(usize::from(byte)).copied().flatten()).collect();
        match spelled {
            Some(spelled) => ids.extend(spelled),
            None => ids.extend(self.unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(pieces: &[(&str, f32)]) -> ScoredModel {
        let pieces = pieces.iter().zip(0u32..);
        ScoredModel {
            pieces: pieces
                .map(|(&(text, score), id)| (text.to_string(), Piece { id, score }))
                .collect(),
            bytes: (1000..1256).map(Some).collect(),
            unknown: None,
            add_space_prefix: false,
        }
    }

    fn ids(model: &ScoredModel, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        model.encode(text, &mut ids);
        ids
    }

    #[test]
    fn the_highest_score_joins_first() {
        let model = model(&[("a", 0.0), ("b", 0.0), ("c", 0.0), ("ab", -2.0), ("bc", -1.0)]);
        assert_eq!(ids(&model, "abc"), [0, 4]);
    }

    #[test]
    fn the_leftmost_of_equals_joins_first() {
        let model = model(&[("a", 0.0), ("aa", -1.0)]);
        assert_eq!(ids(&model, "aaa"), [1, 0]);
    }

    #[test]
    fn characters_outside_the_vocabulary_are_spelled_in_bytes() {
        let model = model(&[("a", 0.0)]);
        assert_eq!(ids(&model, "aé"), [0, 1000 + 0xc3, 1000 + 0xa9]);
    }

    #[test]
    fn a_megabyte_of_one_letter_takes_no_quadratic_time() {
        let model = model(&[("a", 0.0), ("aa", -1.0), ("aaaa", -2.0)]);
        let start = std::time::Instant::now();
        assert_eq!(ids(&model, &"a".repeat(1 << 20)).len(), 1 << 18);
        assert!(start.elapsed().as_secs() < 20, "took {:?}", start.elapsed());
    }
}
