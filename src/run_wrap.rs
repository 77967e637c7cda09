//! Breaks lines between words, though text comes in pieces and each is shown at once: a word that
//! turns out too long is taken back from the line's end and written anew on the next.

use console::measure_text_width;

/// Columns that are left free, so that a word is seldom taken back.
const MARGIN: usize = 5;

/// Where the next letter goes.
pub(crate) struct Wrap {
    /// `None`: lines are left as they are.
    columns: Option<usize>,
    /// Of the line so far.
    width: usize,
    /// What follows the last space.
    word: String,
}

impl Wrap {
    /// For a terminal of this width; without one, nothing is changed.
    pub(crate) fn new(columns: Option<usize>) -> Wrap {
        let columns = columns.map(|columns| columns.saturating_sub(MARGIN)).filter(|&c| c > MARGIN);
        Wrap { columns, width: 0, word: String::new() }
    }

    /// A line begins.
    pub(crate) fn restart(&mut self) {
        self.width = 0;
        self.word.clear();
    }

    /// The next piece as it is to be written.
    pub(crate) fn lay(&mut self, text: &str) -> String {
        let Some(columns) = self.columns else { return text.to_owned() };
        let mut laid = String::new();
        for letter in text.chars() {
            let wide = measure_text_width(letter.encode_utf8(&mut [0; 4]));
            if letter != '\n' && self.width + wide > columns {
                if letter == ' ' {
                    laid.push('\n');
                    self.restart();
                    continue;
                }
                self.begin_line(columns, &mut laid);
            }
            laid.push(letter);
            self.width += wide;
            match letter {
                '\n' => self.restart(),
                ' ' | '\t' => self.word.clear(),
                letter => self.word.push(letter),
            }
        }
        laid
    }

    fn begin_line(&mut self, columns: usize, laid: &mut String) {
        let width = measure_text_width(&self.word);
        if width > 0 && width + MARGIN < columns {
            // As many columns back, and what stands there away.
            laid.push_str(&format!("\u{1b}[{width}D\u{1b}[K\n{}", self.word));
            self.width = width;
        } else {
            laid.push('\n');
            self.restart();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal shows, which knows the two commands that are used.
    fn shown(laid: &str) -> String {
        let mut rest = laid;
        let mut screen = String::new();
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            screen.push_str(before);
            let (count, after) = after.split_once("D\u{1b}[K").expect("back, then away");
            for _ in 0..count.parse().expect("a number") {
                screen.pop();
            }
            rest = after;
        }
        screen + rest
    }

    #[test]
    fn words_that_come_in_pieces_stay_whole() {
        let mut wrap = Wrap::new(Some(25));
        let pieces = ["The quick br", "own fox ju", "mps over", " the lazy dog.\nNext line"];
        let laid: String = pieces.iter().map(|piece| wrap.lay(piece)).collect();
        let shown = shown(&laid);
        assert_eq!(
            shown.replace('\n', " ").replace("  ", " "),
            "The quick brown fox jumps over the lazy dog. Next line"
        );
        for line in shown.lines() {
            assert!(measure_text_width(line) <= 20, "{line:?} of {shown:?}");
            assert!(!line.ends_with("ju") && !line.ends_with("br"), "{shown:?}");
        }
    }

    #[test]
    fn a_word_longer_than_a_line_is_cut_and_no_terminal_changes_nothing() {
        let mut wrap = Wrap::new(Some(25));
        let laid = wrap.lay(&"x".repeat(50));
        assert!(shown(&laid).lines().all(|line| line.len() <= 20), "{laid:?}");
        let wide = wrap.lay("\n\u{5b57}\u{5b57}\u{5b57}\u{5b57}\u{5b57}\u{5b57}\u{5b57}\u{5b57}\u{5b57}\u{5b57}\u{5b57}");
        assert_eq!(shown(&wide).trim().lines().count(), 2, "{wide:?}");
        assert_eq!(Wrap::new(None).lay("a b\n"), "a b\n");
    }
}
