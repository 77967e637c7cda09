//! What a name may look like.

use crate::error::{Error, Result};

/// Longest name, in characters.
const MAX_CHARACTERS: usize = 64;

/// The name without the spaces around it, if it can be one.
pub(super) fn parse(name: &str) -> Result<String> {
    let name = name.trim();
    // Counting stops at the limit, so that a long name costs nothing.
    let characters = name.chars().take(MAX_CHARACTERS + 1).count();
    if characters == 0 || characters > MAX_CHARACTERS {
        return Err(Error::InvalidName(format!("A name has 1 to {MAX_CHARACTERS} characters.")));
    }
    if name.chars().any(|letter| letter.is_control() || is_invisible(letter)) {
        return Err(Error::InvalidName(
            "A name has no line breaks, control characters or invisible characters.".to_owned(),
        ));
    }
    Ok(name.to_owned())
}

/// Characters that make one name look like another: zero-width and direction marks.
fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_script_are_taken_and_trimmed() {
        for name in ["a", "Ann Example", "李雷", "Ólafur", "o'neil", &"ü".repeat(64)] {
            assert_eq!(parse(&format!("  {name} ")).unwrap(), name);
        }
    }

    #[test]
    fn names_that_would_break_a_header_or_deceive_are_refused() {
        for name in
            ["", "  ", "a\r\nSet-Cookie: x", "a\0", "a\u{7f}", "ad\u{200b}min", "\u{202e}nimda"]
        {
            assert!(matches!(parse(name), Err(Error::InvalidName(_))), "{name:?}");
        }
        assert!(parse(&"x".repeat(65)).is_err());
    }
}
