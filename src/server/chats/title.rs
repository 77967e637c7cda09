//! What a chat is called until its owner calls it otherwise.

/// Longest title, in characters.
const MAX_CHARS: usize = 60;

/// The first line that says something, cut at the end of a word.
pub(super) fn from_message(content: &str) -> String {
    let line = content.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let Some((cut, _)) = line.char_indices().nth(MAX_CHARS) else { return line.to_owned() };
    let start = &line[..cut];
    let ends_word = line[cut..].starts_with(char::is_whitespace);
    match start.rfind(char::is_whitespace) {
        Some(space) if !ends_word => start[..space].trim_end().to_owned(),
        // Whole already, or one long word, as in languages without spaces.
        _ => start.trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_end_with_a_word_of_the_first_line() {
        assert_eq!(from_message("\n  How do I add a user?\nThanks"), "How do I add a user?");
        assert_eq!(from_message("  \n "), "");
        let words = "one two three four five six seven eight nine ten eleven twelve thirteen";
        assert_eq!(from_message(words), "one two three four five six seven eight nine ten eleven");
        let exact = format!("{} more", "a".repeat(60));
        assert_eq!(from_message(&exact), "a".repeat(60));
        assert_eq!(from_message(&"模".repeat(80)), "模".repeat(60));
    }
}
