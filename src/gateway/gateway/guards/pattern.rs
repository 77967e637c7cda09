//! What a rule looks for: an expression that is matched in linear time, with its own check where an
//! expression cannot say enough.

use std::ops::Range;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::meta::Regex;
use regex_automata::util::pool::Pool;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Longest expression, in bytes.
const MAX_REGEX_BYTES: usize = 4 << 10;
/// Most keywords of one rule, and the longest, in bytes.
const MAX_KEYWORDS: usize = 1_000;
const MAX_KEYWORD_BYTES: usize = 200;
/// Largest program that an expression may become, and the most memory of its states, in bytes.
const MAX_PROGRAM_BYTES: usize = 1 << 20;
const MAX_STATES_BYTES: usize = 2 << 20;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Find {
    /// What is known by its form.
    Known(Vec<Known>),
    /// A regular expression, without lookaround and backreferences.
    Regex(String),
    /// These words, whatever their case, wherever they stand.
    Keywords(Vec<String>),
}

/// What is known by its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// Keys of well-known services.
    ApiKey,
    /// Private keys in PEM.
    PrivateKey,
    Email,
    Phone,
    /// Numbers of payment cards, by their check digit.
    Card,
    /// Identity numbers of the People's Republic of China, by their check digit.
    ChineseId,
}

impl Known {
    fn name(self) -> &'static str {
        match self {
            Known::ApiKey => "api_key",
            Known::PrivateKey => "private_key",
            Known::Email => "email",
            Known::Phone => "phone",
            Known::Card => "card",
            Known::ChineseId => "chinese_id",
        }
    }

    fn expression(self) -> &'static str {
        match self {
            Known::ApiKey => {
                "sk-[A-Za-z0-9_-]{20,200}|sk_live_[A-Za-z0-9]{16,99}|gh[opsur]_[A-Za-z0-9]{36,99}\
                 |github_pat_[A-Za-z0-9_]{22,99}|glpat-[A-Za-z0-9_-]{20,64}\
                 |xox[abeoprs]-[A-Za-z0-9-]{10,99}|A[KS]IA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{35}\
                 |hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,200}"
            }
            // A key whose end is missing is one all the same. JSON writes line breaks as `\n`.
            Known::PrivateKey => {
                r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY-----(?:(?:[ \t\r\n]|\\[nr])*[A-Za-z0-9+/=]{16,})*(?:(?:[ \t\r\n]|\\[nr])*[A-Za-z0-9+/=]{1,15})?(?:(?:[ \t\r\n]|\\[nr])*-----END [A-Z0-9 ]{0,32}PRIVATE KEY-----)?"
            }
            Known::Email => r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}",
            Known::Phone => r"\+[1-9](?:[ ().-]{0,2}[0-9]){7,14}|1[3-9][0-9](?:[ -]?[0-9]{4}){2}",
            Known::Card => "[2-6](?:[ -]?[0-9]){12,18}",
            Known::ChineseId => "[1-9][0-9]{16}[0-9Xx]",
        }
    }

    /// Whether a match is what it looks like.
    fn holds(self, text: &str, found: &Range<usize>) -> bool {
        let digits = || text[found.clone()].bytes().filter(u8::is_ascii_digit);
        let digit_at = |at: Option<usize>| {
            at.and_then(|at| text.as_bytes().get(at)).is_some_and(u8::is_ascii_digit)
        };
        let stands_alone = !digit_at(found.start.checked_sub(1)) && !digit_at(Some(found.end));
        match self {
            Known::ApiKey | Known::PrivateKey | Known::Email => true,
            Known::Phone => stands_alone,
            Known::Card => stands_alone && has_luhn(digits()),
            Known::ChineseId => stands_alone && has_check_digit(text[found.clone()].as_bytes()),
        }
    }
}

/// The check digit of payment cards (ISO/IEC 7812-1).
fn has_luhn(digits: impl DoubleEndedIterator<Item = u8>) -> bool {
    let sum: u32 = digits
        .rev()
        .enumerate()
        .map(|(index, digit)| {
            let digit = u32::from(digit - b'0');
            match index % 2 {
                0 => digit,
                _ => digit * 2 / 10 + digit * 2 % 10,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The check digit of identity numbers (ISO 7064, MOD 11-2, as in GB 11643).
fn has_check_digit(number: &[u8]) -> bool {
    let value =
        |byte: u8| if byte.eq_ignore_ascii_case(&b'x') { 10 } else { u32::from(byte - b'0') };
    let sum = number.iter().fold(0, |sum, byte| (sum * 2 + value(*byte)) % 11);
    sum == 1
}

type CachePool = Pool<Cache, Box<dyn Fn() -> Cache + Send + Sync>>;

/// One thing that is looked for, ready to be found.
pub(super) struct Pattern {
    /// What stands in a masked text instead.
    pub(super) name: String,
    known: Option<Known>,
    regex: Regex,
    /// The same expression, for how far a match may still come about.
    dfa: DFA,
    caches: CachePool,
}

impl Pattern {
    /// The patterns of a rule of this name.
    pub(super) fn all(find: &Find, name: &str) -> Result<Vec<Pattern>> {
        match find {
            Find::Known(list) => {
                let pattern = |known: &Known| {
                    Pattern::new(known.name().to_owned(), known.expression(), Some(*known))
                };
                list.iter().map(pattern).collect()
            }
            Find::Regex(text) => Ok(vec![Pattern::new(name.to_owned(), text, None)?]),
            Find::Keywords(words) => {
                let is_fine = |word: &String| (1..=MAX_KEYWORD_BYTES).contains(&word.len());
                if !(1..=MAX_KEYWORDS).contains(&words.len()) || !words.iter().all(is_fine) {
                    let message = format!(
                        "`keywords` must be 1 to {MAX_KEYWORDS}, each of 1 to {MAX_KEYWORD_BYTES} \
                         bytes."
                    );
                    return Err(Error::invalid("keywords", message));
                }
                let escaped: Vec<String> = words.iter().map(|word| escape(word)).collect();
                Ok(vec![Pattern::new(
                    name.to_owned(),
                    &format!("(?i:{})", escaped.join("|")),
                    None,
                )?])
            }
        }
    }

    fn new(name: String, expression: &str, known: Option<Known>) -> Result<Pattern> {
        let wrong = |what: String| Error::invalid("regex", format!("The expression {what}."));
        if known.is_none() && expression.len() > MAX_KEYWORDS * (MAX_KEYWORD_BYTES + 1) {
            return Err(wrong("is too long".to_owned()));
        }
        let unusable = |error: &dyn std::fmt::Display| wrong(format!("cannot be used: {error}"));
        let limits = Regex::config()
            .nfa_size_limit(Some(MAX_PROGRAM_BYTES))
            .hybrid_cache_capacity(MAX_STATES_BYTES);
        let regex = Regex::builder().configure(limits).build(expression);
        let regex = regex.map_err(|error| unusable(&error))?;
        if regex.is_match("") {
            return Err(wrong("finds nothing at all".to_owned()));
        }
        let dfa = DFA::builder()
            .syntax(syntax::Config::new().utf8(true))
            .configure(
                DFA::config()
                    .cache_capacity(MAX_STATES_BYTES)
                    .skip_cache_capacity_check(true)
                    .unicode_word_boundary(true),
            )
            .build(expression)
            .map_err(|error| unusable(&error))?;
        let of = dfa.clone();
        let caches: CachePool = Pool::new(Box::new(move || of.create_cache()));
        Ok(Pattern { name, known, regex, dfa, caches })
    }

    /// Refuses an expression that people wrote too long.
    pub(super) fn check_length(find: &Find) -> Result<()> {
        match find {
            Find::Regex(text) if text.len() > MAX_REGEX_BYTES => {
                let message = format!("`regex` may have {MAX_REGEX_BYTES} bytes at most.");
                Err(Error::invalid("regex", message))
            }
            Find::Known(list) if list.is_empty() => {
                Err(Error::invalid("known", "`known` must name something."))
            }
            _ => Ok(()),
        }
    }

    /// What is found in a text from `from` on, in order, without overlaps.
    pub(super) fn find<'a>(
        &'a self,
        text: &'a str,
        from: usize,
    ) -> impl Iterator<Item = Range<usize>> + 'a {
        let input = Input::new(text).range(from..);
        let found = self.regex.find_iter(input).map(|found| found.range());
        found.filter(|range| {
            !range.is_empty() && self.known.is_none_or(|known| known.holds(text, range))
        })
    }

    /// The first place, from `from` on, where a match may begin that more text would make or change;
    /// the text's end if there is none.
    pub(super) fn undecided_from(&self, text: &str, from: usize) -> usize {
        let mut cache = self.caches.get();
        let starts = text[from..].char_indices().map(|(at, _)| from + at);
        for start in starts {
            if self.is_alive(&mut cache, text, start) {
                return start;
            }
        }
        text.len()
    }

    fn is_alive(&self, cache: &mut Cache, text: &str, start: usize) -> bool {
        let input = Input::new(text).range(start..).anchored(Anchored::Yes);
        // Whatever cannot be told is held back: that is bounded too.
        let Ok(mut state) = self.dfa.start_state_forward(cache, &input) else { return true };
        for byte in &text.as_bytes()[start..] {
            match self.dfa.next_state(cache, state, *byte) {
                Ok(next) if next.is_dead() => return false,
                Ok(next) if next.is_quit() => return true,
                Ok(next) => state = next,
                Err(_) => return true,
            }
        }
        true
    }
}

/// A text as an expression that matches it alone.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() * 2);
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(known: Known, text: &str) -> Vec<String> {
        let pattern = &Pattern::all(&Find::Known(vec![known]), "r").unwrap()[0];
        pattern.find(text, 0).map(|range| text[range].to_owned()).collect()
    }

    #[test]
    fn what_is_known_by_its_form_is_found_and_what_only_resembles_it_is_not() {
        let key = format!("sk-proj-{}", "a1B2".repeat(8));
        assert_eq!(found(Known::ApiKey, &format!("my key is {key}.")), [key]);
        assert_eq!(found(Known::ApiKey, "AKIAIOSFODNN7EXAMPLE!"), ["AKIAIOSFODNN7EXAMPLE"]);
        assert!(found(Known::ApiKey, "sk-short, task-force-of-many-words").is_empty());
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA1234\nabcd==\n-----END RSA PRIVATE KEY-----";
        assert_eq!(found(Known::PrivateKey, &format!("a\n{pem}\nb")), [pem]);
        let cut = "-----BEGIN PRIVATE KEY-----\\nMIIEowIBAAKCAQEA1234";
        assert_eq!(found(Known::PrivateKey, cut), [cut]);
        assert_eq!(
            found(Known::Email, "to ann.b+c@mail.example.org, now"),
            ["ann.b+c@mail.example.org"]
        );
        assert!(found(Known::Email, "a@b, @home").is_empty());
        assert_eq!(found(Known::Phone, "call +49 (30) 901820-12 or 138 1234 5678").len(), 2);
        assert!(found(Known::Phone, "20138123456789").is_empty());
        assert_eq!(found(Known::Card, "4111 1111 1111 1111"), ["4111 1111 1111 1111"]);
        assert!(found(Known::Card, "4111 1111 1111 1112").is_empty(), "its check digit is wrong");
        assert_eq!(found(Known::ChineseId, "11010519491231002X"), ["11010519491231002X"]);
        assert!(found(Known::ChineseId, "110105194912310021").is_empty());
    }

    #[test]
    fn expressions_are_bounded_and_words_are_taken_as_they_are() {
        for bad in ["(", "a{1000}{1000}", "x*", r"(a)\1", "(?=a)"] {
            let refused = Pattern::all(&Find::Regex(bad.to_owned()), "r");
            assert!(matches!(refused.err(), Some(Error::Invalid { .. })), "{bad}");
        }
        assert!(Pattern::check_length(&Find::Regex("a".repeat(MAX_REGEX_BYTES + 1))).is_err());
        let words = Find::Keywords(vec!["a.b".to_owned(), "(Grüße)".to_owned()]);
        let pattern = &Pattern::all(&words, "r").unwrap()[0];
        let text = "A.B axb (GRÜßE)";
        let found: Vec<&str> = pattern.find(text, 0).map(|range| &text[range]).collect();
        assert_eq!(found, ["A.B", "(GRÜßE)"]);
        assert!(Pattern::all(&Find::Keywords(vec![String::new()]), "r").is_err());
    }

    #[test]
    fn a_match_that_may_still_come_about_is_seen_and_nothing_else_is_held() {
        let pattern = &Pattern::all(&Find::Keywords(vec!["secret".to_owned()]), "r").unwrap()[0];
        for (text, expected) in
            [("a sec", 2), ("a sect", 6), ("secret", 0), ("secret ..", 9), ("sesec", 2), ("", 0)]
        {
            assert_eq!(pattern.undecided_from(text, 0), expected, "{text}");
        }
    }
}
