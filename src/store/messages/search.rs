//! Finds messages by their words, in any language.
//!
//! SQLite's tokenizers take a run of Chinese as one word or want three characters of it. So words
//! are made here: of scripts without spaces each pair of neighbours and the last character alone
//! (`天气很好` is `天气 气很 很好 好`); a question of two characters or more is a phrase of pairs, one of a
//! single character the beginning of pairs. Everything else is left to SQLite.

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use super::{MessageId, Messages};
use crate::chats::{self, Chat, ChatId};
use crate::error::Result;
use crate::users::UserId;

/// Characters of a message that are searched.
const MAX_LISTED_CHARS: usize = 100_000;
/// Words of a question that count.
const MAX_WORDS: usize = 16;
/// Messages looked at for one answer, the newest first.
const MAX_HITS: i64 = 400;
/// Chats found by their titles.
const MAX_TITLES: i64 = 20;
/// Characters shown before and after what was found.
const AROUND_CHARS: usize = 60;
/// Messages that are listed together after a crash or an import of an older file.
const CAUGHT_UP: i64 = 500;

/// A chat in which something was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// The chat.
    pub chat: Chat,
    /// The newest message with the words; `None` if they are in the title alone.
    pub message_id: Option<MessageId>,
    /// The message around the words.
    pub excerpt: String,
}

impl Messages<'_> {
    /// The user's chats with all of these words, the newest first: by title, then by messages.
    pub async fn search(&self, owner: UserId, question: String, most: usize) -> Result<Vec<Hit>> {
        self.0
            .read(move |connection| {
                let snapshot = connection.unchecked_transaction()?;
                let mut hits = by_title(&snapshot, owner, question.trim())?;
                let terms = terms_of(&question);
                if !terms.is_empty() {
                    by_words(&snapshot, owner, &terms, most, &mut hits)?;
                }
                hits.truncate(most);
                Ok(hits)
            })
            .await
    }
}

fn by_title(connection: &Connection, owner: UserId, question: &str) -> Result<Vec<Hit>> {
    if question.is_empty() {
        return Ok(Vec::new());
    }
    let mut escaped = String::with_capacity(question.len());
    for letter in question.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    let mut statement = connection.prepare_cached(
        "SELECT * FROM chats WHERE user_id = ?1 AND title LIKE '%' || ?2 || '%' ESCAPE '\\'
         ORDER BY updated_at DESC, id DESC LIMIT ?3",
    )?;
    let chats: rusqlite::Result<Vec<Chat>> =
        statement.query_map((owner, escaped, MAX_TITLES), chats::read_chat)?.collect();
    let hit = |chat| Hit { chat, message_id: None, excerpt: String::new() };
    Ok(chats?.into_iter().map(hit).collect())
}

fn by_words(
    connection: &Connection,
    owner: UserId,
    terms: &[Term],
    most: usize,
    hits: &mut Vec<Hit>,
) -> Result<()> {
    let wanted: Vec<String> =
        terms.iter().map(|term| format!(" AND words : {}", term.expression())).collect();
    let expression = format!("owner : \"{}\"{}", owner_word(owner), wanted.concat());
    let mut statement = connection.prepare_cached(
        "SELECT m.chat_id, m.id FROM message_search s JOIN messages m ON m.number = s.rowid
         WHERE message_search MATCH ?1 ORDER BY s.rowid DESC LIMIT ?2",
    )?;
    // Row by row: once there are enough chats, the index is not read further.
    let mut rows = statement.query((expression, MAX_HITS))?;
    while let Some(row) = rows.next()? {
        let (chat, message): (ChatId, MessageId) = (row.get(0)?, row.get(1)?);
        if let Some(hit) = hits.iter_mut().find(|hit| hit.chat.id == chat) {
            if hit.message_id.is_none() {
                hit.excerpt = excerpt_of(connection, &message, terms)?;
                hit.message_id = Some(message);
            }
            continue;
        }
        if hits.len() >= most {
            break;
        }
        hits.push(Hit {
            chat: chats::find(connection, owner, &chat)?,
            excerpt: excerpt_of(connection, &message, terms)?,
            message_id: Some(message),
        });
    }
    Ok(())
}

fn excerpt_of(connection: &Connection, id: &MessageId, terms: &[Term]) -> Result<String> {
    let content: Option<String> = connection
        .prepare_cached("SELECT content FROM messages WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(cut(&content.unwrap_or_default(), terms))
}

/// Lists a message under its owner, in place of what was listed of it before.
pub(super) fn list(
    connection: &Connection,
    owner: UserId,
    id: &MessageId,
    content: &str,
) -> Result<()> {
    let known: Option<i64> = connection
        .prepare_cached("SELECT number FROM messages WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    let number = match known {
        Some(number) => {
            connection
                .prepare_cached("DELETE FROM message_search WHERE rowid = ?1")?
                .execute([number])?;
            number
        }
        None => {
            let number = connection
                .prepare_cached(
                    "SELECT coalesce(max(number), 0) + 1 FROM messages WHERE number IS NOT NULL",
                )?
                .query_row([], |row| row.get(0))?;
            connection
                .prepare_cached("UPDATE messages SET number = ?2 WHERE id = ?1")?
                .execute((id, number))?;
            number
        }
    };
    connection
        .prepare_cached("INSERT INTO message_search (rowid, owner, words) VALUES (?1, ?2, ?3)")?
        .execute((number, owner_word(owner), words_of(content)))?;
    Ok(())
}

/// Lists what a crash or an older version has left out; says whether there may be more.
pub(crate) fn catch_up(connection: &Connection) -> Result<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT c.user_id, m.id, m.content FROM messages m JOIN chats c ON c.id = m.chat_id
         WHERE m.number IS NULL ORDER BY m.created_at LIMIT ?1",
    )?;
    let left: rusqlite::Result<Vec<(UserId, MessageId, String)>> = statement
        .query_map([CAUGHT_UP], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect();
    let left = left?;
    for (owner, id, content) in &left {
        list(connection, *owner, id, content)?;
    }
    Ok(left.len() as i64 == CAUGHT_UP)
}

/// A word that no text has: the tokenizer keeps digits together.
fn owner_word(owner: UserId) -> String {
    format!("u{}", owner.0)
}

/// Whether words of this script are written without spaces.
fn is_dense(letter: char) -> bool {
    matches!(letter,
        '\u{1100}'..='\u{11ff}' | '\u{3040}'..='\u{30ff}' | '\u{3130}'..='\u{318f}'
        | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// A text as it is listed.
fn words_of(text: &str) -> String {
    let mut words = String::with_capacity(text.len() * 2);
    let mut letters = text.chars().take(MAX_LISTED_CHARS).peekable();
    let mut was_dense = false;
    while let Some(letter) = letters.next() {
        let dense = is_dense(letter);
        if dense || was_dense {
            words.push(' ');
        }
        words.push(letter);
        if dense && let Some(next) = letters.peek().filter(|next| is_dense(**next)) {
            words.push(*next);
        }
        was_dense = dense;
    }
    words
}

/// A part of a question: letters of one kind.
#[derive(Debug, PartialEq, Eq)]
struct Term {
    text: String,
    is_dense: bool,
}

impl Term {
    /// As FTS5 reads it. A term holds only letters and digits, so nothing in it ends the quotes.
    fn expression(&self) -> String {
        let letters: Vec<char> = self.text.chars().collect();
        if !self.is_dense || letters.len() == 1 {
            return format!("\"{}\" *", self.text);
        }
        let pairs: Vec<String> = letters.windows(2).map(|pair| pair.iter().collect()).collect();
        format!("\"{}\"", pairs.join(" "))
    }
}

fn terms_of(question: &str) -> Vec<Term> {
    let mut terms: Vec<Term> = Vec::new();
    let mut goes_on = false;
    for letter in question.chars().take(1_000) {
        let dense = is_dense(letter);
        if !letter.is_alphanumeric() && !dense {
            goes_on = false;
            continue;
        }
        let begins = !goes_on || terms.last().is_none_or(|last| last.is_dense != dense);
        if begins && terms.len() == MAX_WORDS {
            break;
        }
        if begins {
            terms.push(Term { text: String::new(), is_dense: dense });
        }
        if let Some(last) = terms.last_mut() {
            last.text.push(letter);
        }
        goes_on = true;
    }
    terms
}

/// The text around the first of these words, on one line.
fn cut(text: &str, terms: &[Term]) -> String {
    let lower = text.to_lowercase();
    // Lower case may be longer or shorter; then the beginning has to do.
    let aligned = lower.len() == text.len();
    let found = terms.iter().filter_map(|term| lower.find(&term.text.to_lowercase())).min();
    let at = found.filter(|at| aligned && text.is_char_boundary(*at)).unwrap_or(0);
    let start =
        text[..at].char_indices().rev().take(AROUND_CHARS).last().map_or(at, |(start, _)| start);
    let shown = text[start..].chars().take(3 * AROUND_CHARS).map(|letter| match letter {
        letter if letter.is_whitespace() => ' ',
        letter => letter,
    });
    let line: String = shown.collect();
    line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_scripts_become_pairs_and_others_stay() {
        assert_eq!(words_of("天气很好").trim(), "天气 气很 很好 好");
        assert_eq!(words_of("用GPU跑, ok"), " 用 GPU 跑 , ok");
        assert_eq!(words_of("plain words"), "plain words");
    }

    #[test]
    fn questions_become_prefixes_and_phrases() {
        let expressions: Vec<String> =
            terms_of("GPU服务器 \"x\"* 好").iter().map(Term::expression).collect();
        assert_eq!(expressions, ["\"GPU\" *", "\"服务 务器\"", "\"x\" *", "\"好\" *"]);
        assert!(terms_of("\"*() -- ").is_empty());
        assert_eq!(terms_of(&"a ".repeat(100)).len(), MAX_WORDS);
    }

    #[test]
    fn an_excerpt_shows_the_first_word_found() {
        let text = format!("{} the Needle\n is here", "hay ".repeat(100));
        let shown = cut(&text, &terms_of("needle"));
        assert!(shown.contains("the Needle is here"), "{shown}");
        assert_eq!(cut("short", &terms_of("absent")), "short");
        assert!(cut("İİİ needle", &terms_of("needle")).contains("needle"));
    }
}
