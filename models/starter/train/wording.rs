//! Turns a question pattern into one of its wordings, as a hurried human would type it.
//!
//! A pattern holds `(a|b)` for a choice and `{name}` for a shared list; both may nest.

use anyhow::{Context, Result, bail};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::corpus::{Language, Wordings};

const BEFORE: [&str; 26] = [
    "hi, ",
    "hello, ",
    "hey, ",
    "please ",
    "hello! ",
    "hi ",
    "ok, ",
    "sorry, ",
    "excuse me, ",
    "so ",
    "one question: ",
    "quick question: ",
    "and ",
    "I am new here. ",
    "I wonder, ",
    "can you help? ",
    "good morning, ",
    "now, ",
    "question: ",
    "but ",
    "well, ",
    "Hi! ",
    "also, ",
    "I'm new, ",
    "um, ",
    "hello guide, ",
];
const AFTER: [&str; 22] = [
    " please",
    ", please",
    " in Hearth",
    " with Hearth",
    " in hearth",
    " here",
    " on this server",
    " on hearth",
    " thanks",
    ", thank you",
    " exactly",
    " then",
    " now",
    " on this machine",
    " with this",
    " for hearth",
    " on Hearth",
    " myself",
    " quickly",
    " in this app",
    " at all",
    " on my machine",
];
const BEFORE_CHINESE: [&str; 7] =
    ["请问", "请问，", "你好，", "你好！", "那", "我想问", "请教一下，"];
const AFTER_CHINESE: [&str; 5] = ["呢", "啊", "，谢谢", "呀", "？谢谢"];
/// Words that people leave out without changing the question.
const SKIPPED: [&str; 9] = ["the", "a", "an", "do", "to", "I", "is", "my", "of"];

/// One wording of `pattern`.
pub fn expand(pattern: &str, wordings: &Wordings, rng: &mut StdRng) -> Result<String> {
    let mut text = String::new();
    expand_into(pattern, wordings, rng, &mut text)?;
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn expand_into(
    pattern: &str,
    wordings: &Wordings,
    rng: &mut StdRng,
    text: &mut String,
) -> Result<()> {
    let mut rest = pattern;
    while let Some(at) = rest.find(['(', '{']) {
        text.push_str(&rest[..at]);
        let opened = &rest[at + 1..];
        if rest[at..].starts_with('{') {
            let (name, after) = opened.split_once('}').context("a `{` is not closed")?;
            let choices = wordings.get(name).with_context(|| format!("no wordings `{name}`"))?;
            let choice = choices.choose(rng).with_context(|| format!("`{name}` is empty"))?;
            expand_into(choice, wordings, rng, text)?;
            rest = after;
        } else {
            let (choices, after) = split_group(opened)?;
            let choice = choices.choose(rng).context("an empty group")?;
            expand_into(choice, wordings, rng, text)?;
            rest = after;
        }
    }
    text.push_str(rest);
    Ok(())
}

/// Alternatives of a group whose `(` has been read, and what follows its `)`.
fn split_group(opened: &str) -> Result<(Vec<&str>, &str)> {
    let (mut depth, mut from, mut choices) = (0, 0, Vec::new());
    for (at, letter) in opened.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            ')' => {
                choices.push(&opened[from..at]);
                return Ok((choices, &opened[at + 1..]));
            }
            '|' if depth == 0 => {
                choices.push(&opened[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    bail!("a `(` is not closed in `{opened}`")
}

/// `question` as it may really be typed: with a greeting, without capitals, with a slip.
pub fn disturb(question: String, language: Language, plain: bool, rng: &mut StdRng) -> String {
    match language {
        Language::English => disturb_english(question, plain, rng),
        Language::Chinese => disturb_chinese(question, plain, rng),
    }
}

fn disturb_english(mut text: String, plain: bool, rng: &mut StdRng) -> String {
    if rng.random_bool(0.1) {
        text = skip_a_word(&text, rng);
    }
    if !plain && rng.random_bool(0.12) {
        text.push_str(AFTER.choose(rng).unwrap_or(&""));
    }
    if !plain && rng.random_bool(0.15) {
        text.insert_str(0, BEFORE.choose(rng).unwrap_or(&""));
    }
    text = match rng.random_range(0..20) {
        0..9 => capitalise(&text),
        9..17 => text.to_lowercase(),
        _ => text,
    };
    if rng.random_bool(0.15) {
        text = slip(&text, rng);
    }
    let end = match rng.random_range(0..20) {
        0..9 => "?",
        9 => "??",
        10 => "!",
        11..13 => ".",
        13 => " ?",
        _ => "",
    };
    text + end
}

fn disturb_chinese(mut text: String, plain: bool, rng: &mut StdRng) -> String {
    if !plain && rng.random_bool(0.2) {
        text.insert_str(0, BEFORE_CHINESE.choose(rng).unwrap_or(&""));
    }
    if !plain && rng.random_bool(0.1) {
        text.push_str(AFTER_CHINESE.choose(rng).unwrap_or(&""));
    }
    let end = match rng.random_range(0..10) {
        0..5 => "？",
        5 => "?",
        6 => "。",
        7 => "！",
        _ => "",
    };
    text + end
}

fn skip_a_word(text: &str, rng: &mut StdRng) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let skippable: Vec<usize> =
        (0..words.len()).filter(|at| SKIPPED.contains(&words[*at])).collect();
    let Some(skipped) = skippable.choose(rng) else { return text.to_owned() };
    let kept = words.iter().enumerate().filter(|(at, _)| at != skipped).map(|(_, word)| *word);
    kept.collect::<Vec<_>>().join(" ")
}

fn capitalise(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// One slip of the keyboard inside a word: swapped, lost, doubled or wrong.
fn slip(text: &str, rng: &mut StdRng) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let inside = |at: &usize| letters[at - 1..at + 2].iter().all(|letter| letter.is_alphabetic());
    let places: Vec<usize> = (1..letters.len().saturating_sub(1)).filter(inside).collect();
    let Some(&at) = places.choose(rng) else { return text.to_owned() };
    match rng.random_range(0..4) {
        0 => letters.swap(at, at + 1),
        1 => drop(letters.remove(at)),
        2 => letters.insert(at, letters[at]),
        _ => letters[at] = rng.random_range(b'a'..=b'z').into(),
    }
    letters.into_iter().collect()
}

/// The words alone: two questions with the same key say the same.
pub fn key(question: &str) -> String {
    let letters =
        question.chars().map(|letter| if letter.is_alphanumeric() { letter } else { ' ' });
    let text = letters.collect::<String>().to_lowercase();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn patterns_nest_and_name_lists() {
        let wordings = Wordings::from([("pet".to_owned(), vec!["(big|small) dog".to_owned()])]);
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..20 {
            let text = expand("a ({pet}|cat(s|)) sat", &wordings, &mut rng).unwrap();
            let known = ["a big dog sat", "a small dog sat", "a cat sat", "a cats sat"];
            assert!(known.contains(&text.as_str()), "{text}");
        }
        assert!(expand("{none}", &wordings, &mut rng).is_err());
        assert!(expand("(open", &wordings, &mut rng).is_err());
    }

    #[test]
    fn key_sees_through_capitals_and_marks() {
        assert_eq!(key("Hi,  how DO I\tstart?"), "hi how do i start");
        assert_eq!(key("你好！"), key("你好"));
    }
}
