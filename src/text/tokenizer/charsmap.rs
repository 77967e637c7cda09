//! Sentencepiece's table of characters and what they are replaced with, checked before the library
//! gets it: it follows the table's numbers without looking where they lead.
//!
//! Layout: u32 bytes of the trie, the trie (darts-clone, u32 units), then all replacements, each
//! ended by a zero byte.

use tokenizers::normalizers::Precompiled;

use crate::error::{Error, Result};

/// Longest replacement; of Unicode's own the longest has 33 bytes.
const MAX_REPLACEMENT_BYTES: usize = 64;

/// The library's normaliser of a table.
pub(super) fn normalizer(table: &[u8]) -> Result<Precompiled> {
    let broken = |problem: &str| Error::BrokenTokenizer(format!("the charsmap {problem}"));
    let cut_short = || broken("is cut short");
    let (size, rest) = table.split_first_chunk::<4>().ok_or_else(cut_short)?;
    let size = u32::from_le_bytes(*size) as usize;
    let (trie, replacements) = rest.split_at_checked(size).ok_or_else(cut_short)?;
    let (units, odd) = trie.as_chunks::<4>();
    let units: Vec<u32> = units.iter().map(|&unit| u32::from_le_bytes(unit)).collect();
    let replacements = std::str::from_utf8(replacements)
        .map_err(|_| broken("replaces with something else than text"))?;
    if !odd.is_empty() || !leads_nowhere_else(&units, replacements) {
        return Err(broken("leads out of itself"));
    }
    Precompiled::from(table).map_err(|problem| broken(&problem.to_string()))
}

/// Whether every step from a unit that a text can reach ends in the trie, and every replacement is
/// a short text of its own.
fn leads_nowhere_else(units: &[u32], replacements: &str) -> bool {
    let is_text = |start: usize| {
        let Some(text) = replacements.get(start..) else { return false };
        text.bytes().take(MAX_REPLACEMENT_BYTES + 1).position(|byte| byte == 0).is_some()
            || text.len() <= MAX_REPLACEMENT_BYTES
    };
    !units.is_empty()
        && units.iter().enumerate().all(|(at, &unit)| {
            // Bit 31 marks a value, which no letter leads to. The root is read without a letter.
            if unit >> 31 == 1 && at > 0 {
                return true;
            }
            let offset = ((unit >> 10) as usize) << ((unit & 1 << 9) >> 6);
            let next = at ^ offset;
            if next | 0xff >= units.len() {
                return false;
            }
            let has_value = unit >> 8 & 1 == 1;
            !has_value || is_text((units[next] & !(1 << 31)) as usize)
        })
}
