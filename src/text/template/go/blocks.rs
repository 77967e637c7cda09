//! Whether every block of a template has its end. The parser takes the end of the text for one,
//! and an end too many for the end of the text.

use crate::error::{Error, Result};

/// Words that begin a block.
const OPENING: [&str; 5] = ["if", "range", "with", "define", "block"];

/// Refuses a template whose blocks and ends do not match.
pub(super) fn check(source: &str) -> Result<()> {
    let broken = |problem: &str| Err(Error::BrokenTemplate(problem.to_owned()));
    let (mut depth, mut rest) = (0_usize, source);
    while let Some(start) = rest.find("{{") {
        let tag = &rest[start + 2..];
        let code = tag.strip_prefix('-').unwrap_or(tag).trim_start();
        let word = code.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
        if OPENING.contains(&word) {
            depth += 1;
        } else if word == "end" {
            let Some(left) = depth.checked_sub(1) else { return broken("unexpected {{end}}") };
            depth = left;
        }
        rest = match end(tag, code) {
            Some(end) => end,
            None => return broken("unclosed action"),
        };
    }
    if depth > 0 { broken("unexpected EOF") } else { Ok(()) }
}

/// What follows the tag; `code` is the tag without its beginning.
fn end<'a>(tag: &'a str, code: &'a str) -> Option<&'a str> {
    if code.starts_with("/*") {
        let end = code.find("*/")?;
        let behind = &code[end..];
        return behind.find("}}").map(|at| &behind[at + 2..]);
    }
    let bytes = tag.as_bytes();
    let (mut at, mut quote) = (0, None);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"' | b'\''), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, byte @ (b'"' | b'\'' | b'`')) => quote = Some(byte),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return tag.get(at + 2..),
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_ends_are_counted_outside_of_texts_and_comments() {
        for good in [
            "",
            "{{- if .A -}}{{ else if .B }}{{ end }}",
            "{{ range $x := .A }}{{ with $x }}{{ . }}{{end}}{{- end -}}",
            "{{/* {{ if }} */}}{{ \"{{ end }}\" }}{{ `}}{{ if` }}{{ .endless }}",
            "{{ define \"a\" }}{{ end }}{{ printf \"\\\"}}\" }}",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["{{ if .A }}", "{{ end }}", "a{{ if .A }}{{ end }}{{ end }}b", "{{ \"}}"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
