//! Finds stop texts in a stream of text pieces, wherever the borders between pieces fall.

/// Watches for the first of several stop texts.
#[derive(Clone, Debug, Default)]
pub struct StopMatcher {
    // Never empty strings: those would stop before the first word.
    stops: Vec<String>,
    /// Text that is not emitted yet because it may be the beginning of a stop text.
    held: String,
    met: Option<usize>,
}

/// What may be emitted after one more piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopStep {
    /// Text that is safe to show.
    pub text: String,
    /// A stop text was met; `text` ends right before it and nothing follows.
    pub stopped: bool,
}

impl StopMatcher {
    /// A matcher for these texts; empty ones are ignored.
    pub fn new(stops: impl IntoIterator<Item = String>) -> StopMatcher {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty()).collect();
        StopMatcher { stops, held: String::new(), met: None }
    }

    /// Which of the stop texts was met, counted from 0 without empty ones.
    pub fn met(&self) -> Option<usize> {
        self.met
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, piece: &str) -> StopStep {
        self.held.push_str(piece);
        let found = self.stops.iter().enumerate();
        let first = found.filter_map(|(index, stop)| Some((self.held.find(stop)?, index))).min();
        if let Some((start, index)) = first {
            self.met = Some(index);
            self.held.truncate(start);
            return StopStep { text: std::mem::take(&mut self.held), stopped: true };
        }
        let hold = self.stops.iter().map(|stop| overlap_bytes(&self.held, stop)).max();
        let rest = self.held.split_off(self.held.len() - hold.unwrap_or(0));
        StopStep { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// The text still held back, when nothing more will come.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes of the longest end of `text` that is a beginning of `stop`, shorter than `stop` itself.
pub(crate) fn overlap_bytes(text: &str, stop: &str) -> usize {
    stop.char_indices().map(|(at, _)| at).rev().find(|&at| text.ends_with(&stop[..at])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut matcher = StopMatcher::new(stops.iter().map(|stop| stop.to_string()));
        let mut text = String::new();
        for piece in pieces {
            let step = matcher.push(piece);
            text.push_str(&step.text);
            if step.stopped {
                return (text, true);
            }
        }
        text.push_str(&matcher.finish());
        (text, false)
    }

    #[test]
    fn a_stop_across_three_pieces_is_found_and_never_shown() {
        assert_eq!(run(&["END"], &["one E", "N", "D two"]), ("one ".into(), true));
    }

    #[test]
    fn a_false_start_is_shown_in_full() {
        assert_eq!(run(&["ENDE"], &["aEN", "DX"]), ("aENDX".into(), false));
        assert_eq!(run(&["aab"], &["aa", "ab!"]), ("a".into(), true));
    }

    #[test]
    fn text_that_is_no_prefix_is_not_delayed() {
        let mut matcher = StopMatcher::new(["###".to_string()]);
        assert_eq!(matcher.push("hello #").text, "hello ");
        assert_eq!(matcher.push("x").text, "#x");
    }

    #[test]
    fn the_earliest_of_several_stops_wins() {
        assert_eq!(run(&["world", "lo"], &["hello world"]), ("hel".into(), true));
        let mut matcher = StopMatcher::new(["world".to_string(), "lo".to_string()]);
        assert_eq!(matcher.met(), None);
        matcher.push("hello world");
        assert_eq!(matcher.met(), Some(1));
    }

    #[test]
    fn empty_stops_are_ignored() {
        assert_eq!(run(&[""], &["text"]), ("text".into(), false));
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(
            text in "[ab🦀]{0,24}", stop in "[ab🦀]{1,4}", cuts in prop::collection::vec(0usize..30, 0..6)
        ) {
            let mut borders: Vec<usize> =
                cuts.into_iter().filter(|&cut| text.is_char_boundary(cut)).collect();
            borders.extend([0, text.len()]);
            borders.sort_unstable();
            let pieces: Vec<&str> = borders.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let expected = match text.find(&stop) {
                Some(at) => (text[..at].to_string(), true),
                None => (text.clone(), false),
            };
            prop_assert_eq!(run(&[&stop], &pieces), expected);
        }
    }
}
