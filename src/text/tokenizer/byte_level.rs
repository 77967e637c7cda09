//! The alphabet in which byte-level vocabularies (GPT-2 and all its heirs) write bytes.
//!
//! Printable Latin-1 characters stand for themselves; the other 68 byte values are written as the
//! characters from U+0100 on, in order.

/// The bytes behind a vocabulary entry; `None` if a character is not of the alphabet.
pub(super) fn bytes(entry: &str) -> Option<Vec<u8>> {
    entry.chars().map(byte).collect()
}

fn byte(letter: char) -> Option<u8> {
    match u32::from(letter) {
        code @ 0..=0xff => u8::try_from(code).ok().filter(|&byte| stands_for_itself(byte)),
        code => {
            let place = usize::try_from(code - 0x100).ok()?;
            (0..=u8::MAX).filter(|&byte| !stands_for_itself(byte)).nth(place)
        }
    }
}

fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_has_a_character_for_every_byte() {
        let mut seen: Vec<u8> = (0..0x200).filter_map(char::from_u32).filter_map(byte).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..=u8::MAX).collect::<Vec<u8>>());
    }

    #[test]
    fn well_known_entries_read_as_their_bytes() {
        assert_eq!(bytes("Ġhello").as_deref(), Some(b" hello".as_slice()));
        assert_eq!(bytes("Ċ").as_deref(), Some(b"\n".as_slice()));
        assert_eq!(bytes("é").as_deref(), Some([0xe9].as_slice()));
        assert_eq!(bytes("▁"), None);
    }
}
