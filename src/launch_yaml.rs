//! Changes single lines of a YAML file; every other byte stays, comments too. What it does not
//! understand for certain it refuses.

use anyhow::{Result, ensure};
use serde_json::json;

/// The text with these keys of its top level; texts are written in quotes.
pub(crate) fn with_keys(text: &str, keys: &[(&str, &str)]) -> Result<String> {
    let mut lines = checked(text)?;
    for (key, value) in keys {
        let line = format!("{key}: {}", json!(value));
        match position(&lines, key)? {
            None => lines.push(line),
            Some(at) => {
                ensure!(!has_block(&lines, at), "`{key}` has several lines there");
                lines[at] = line;
            }
        }
    }
    Ok(joined(&lines))
}

/// The text with an item at the head of the list under `key`; one of ours that is there goes. The
/// item's first line says who it is.
pub(crate) fn with_item(text: &str, key: &str, item: &[String]) -> Result<String> {
    let mut lines = checked(text)?;
    let at = match position(&lines, key)? {
        Some(at) => at,
        None => {
            lines.push(format!("{key}:"));
            lines.len() - 1
        }
    };
    let rest = lines[at].split_once(':').map_or("", |(_, rest)| rest);
    let rest = rest.split(" #").next().unwrap_or_default().trim();
    ensure!(matches!(rest, "" | "[]"), "`{key}` is written in one line there");
    if rest == "[]" {
        lines[at] = format!("{key}:");
    }
    // Items stand at the indentation of the first.
    let is_item = |line: &String| line.trim_start().starts_with("- ");
    let first = lines[at + 1..].iter().find(|line| is_content(line)).filter(|line| is_item(line));
    let indent = first.map_or(2, |line| line.len() - line.trim_start().len());
    let spaces = " ".repeat(indent);
    let head = format!("{spaces}- {}", item.first().map_or("", String::as_str));
    if let Some(old) = lines.iter().position(|line| *line == head) {
        let inner = |line: &String| line.starts_with(&format!("{spaces}  "));
        let end = lines[old + 1..].iter().position(|line| !inner(line));
        lines.drain(old..end.map_or(lines.len(), |end| old + 1 + end));
    }
    let others = item.iter().skip(1).map(|line| format!("{spaces}  {line}"));
    let added: Vec<String> = std::iter::once(head).chain(others).collect();
    lines.splice(at + 1..at + 1, added);
    Ok(joined(&lines))
}

/// The lines of a single document that is a map, as far as that can be told.
fn checked(text: &str) -> Result<Vec<String>> {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let documents = lines.iter().filter(|line| line.trim_end() == "---").count();
    let starts =
        lines.iter().find(|line| is_content(line)).is_none_or(|line| line.trim_end() == "---");
    ensure!(documents == 0 || (documents == 1 && starts), "it has several documents");
    let is_map =
        |line: &&String| line.contains(':') && !line.starts_with(['{', '[', '-', '?', '"', '\'']);
    let top = lines
        .iter()
        .filter(|line| is_content(line) && !line.starts_with([' ', '\t', '-', '}', ']']));
    ensure!(top.clone().all(|line| is_map(&line)), "it is no map of plain keys");
    ensure!(!lines.iter().any(|line| line.starts_with('\t')), "it is indented with tabs");
    Ok(lines)
}

fn is_content(line: &str) -> bool {
    let trimmed = line.trim();
    !trimmed.is_empty() && !trimmed.starts_with('#')
}

/// The line of a key of the top level.
fn position(lines: &[String], key: &str) -> Result<Option<usize>> {
    let is_key = |line: &String| {
        line.strip_prefix(key).is_some_and(|rest| rest == ":" || rest.starts_with(": "))
    };
    ensure!(lines.iter().filter(|line| is_key(line)).count() <= 1, "`{key}` stands there twice");
    Ok(lines.iter().position(is_key))
}

/// Whether what belongs to this key goes on in the next lines.
fn has_block(lines: &[String], at: usize) -> bool {
    let next = lines[at + 1..].iter().find(|line| is_content(line));
    next.is_some_and(|line| line.starts_with([' ', '-']))
}

fn joined(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    text.push('\n');
    text
}
