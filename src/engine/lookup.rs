//! Guesses how a text goes on from how it went on before: prompt lookup.
//!
//! Answers that quote their prompt, edit code or fill in lists repeat long runs of tokens. Where the
//! last tokens stood once before, what followed them then is a good guess now; whether it is right is
//! found by the model itself (`scheduler/speculation.rs`). Integers only.

/// Tokens that must have stood there before.
const LEAST_MATCH: usize = 2;
/// Longer matches are not told apart.
const MOST_MATCH: usize = 16;
/// Places farther back are not looked at.
const MOST_BACK: usize = 1 << 16;

/// Up to `most` tokens that may follow `tokens`: those that followed the longest earlier run that
/// ends like `tokens` does, the latest of equally long ones. Empty if there is none.
///
/// A run that repeats itself is followed beyond its end.
pub(crate) fn guess(tokens: &[u32], most: usize) -> Vec<u32> {
    let Some(&last) = tokens.last() else { return Vec::new() };
    // How many tokens are alike, and where the next one stands.
    let mut best = (LEAST_MATCH - 1, None);
    let first = tokens.len().saturating_sub(MOST_BACK);
    for next in (first + 1..tokens.len()).rev() {
        if tokens[next - 1] != last {
            continue;
        }
        let alike = alike(&tokens[first..next], tokens);
        if alike > best.0 {
            best = (alike, Some(next));
            if alike == MOST_MATCH {
                break;
            }
        }
    }
    let Some(next) = best.1 else { return Vec::new() };
    let mut guessed: Vec<u32> = tokens[next..].iter().copied().take(most).collect();
    let period = tokens.len() - next;
    while guessed.len() < most {
        guessed.push(guessed[guessed.len() - period]);
    }
    guessed
}

/// Tokens that are equal at the ends of both, at most [`MOST_MATCH`].
fn alike(one: &[u32], two: &[u32]) -> usize {
    let pairs = one.iter().rev().zip(two.iter().rev());
    pairs.take(MOST_MATCH).take_while(|(one, two)| one == two).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_before_is_guessed() {
        assert_eq!(guess(&[1, 2, 3, 4, 5, 9, 2, 3], 2), [4, 5]);
    }

    #[test]
    fn the_longest_match_is_followed_before_the_latest() {
        let tokens = [7, 1, 2, 30, 9, 5, 1, 2, 40, 9, 1, 2, 50, 8, 7, 1, 2];
        assert_eq!(guess(&tokens, 1), [30]);
        let tokens = [5, 1, 2, 30, 9, 5, 1, 2, 40, 9, 8, 5, 1, 2];
        assert_eq!(guess(&tokens, 1), [40], "of equals the latest");
    }

    #[test]
    fn one_token_alone_is_no_match() {
        assert_eq!(guess(&[1, 2, 3, 1], 4), [0; 0]);
        assert_eq!(guess(&[1], 4), [0; 0]);
        assert_eq!(guess(&[], 4), [0; 0]);
    }

    #[test]
    fn a_run_that_repeats_itself_goes_on_repeating() {
        assert_eq!(guess(&[9, 1, 2, 3, 1, 2, 3], 7), [1, 2, 3, 1, 2, 3, 1]);
        assert_eq!(guess(&[4, 4, 4], 5), [4; 5]);
    }
}
