//! What commands print and read: lines, tables, sizes, passwords.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};

/// Longest line that is read from standard input, in bytes.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// Prints one line to standard output.
pub(crate) fn line(text: &str) -> Result<()> {
    print(&format!("{text}\n"))
}

/// Whoever read standard output reads no more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub(crate) struct ReaderGone;

/// Prints to standard output at once, without a line end. Fails with [`ReaderGone`] where a pipe
/// was closed, which is no failure of the command.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        printed => printed.context("cannot print"),
    }
}

/// The width of the terminal behind standard output; `None` if there is none.
pub(crate) fn columns() -> Option<usize> {
    let console = console::Term::stdout();
    let (_, columns) = console.is_term().then(|| console.size_checked()).flatten()?;
    Some(columns.into())
}

/// Prints one line to standard error, for people beside what programs read.
pub(crate) fn note(text: &str) -> Result<()> {
    writeln!(io::stderr().lock(), "{text}").context("cannot print")
}

/// Words of a model or of strangers, in which whatever could command a terminal, or turn the
/// reading order, is shown as a sign for it.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter_map(harmless).collect()
}

fn harmless(c: char) -> Option<char> {
    match c {
        '\n' | '\t' => Some(c),
        // Part of a line's end in many texts; alone it would write over the line.
        '\r' => None,
        // Each has a picture.
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)),
        '\u{7f}' => Some('\u{2421}'),
        '\u{80}'..='\u{9f}' => Some(char::REPLACEMENT_CHARACTER),
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some(char::REPLACEMENT_CHARACTER),
        _ => Some(c),
    }
}

/// Prints columns under their headings.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// A bar for bytes, with speed and remaining time, on standard error.
pub(crate) fn bar() -> Result<ProgressBar> {
    let style =
        ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}")?;
    Ok(ProgressBar::new(0).with_style(style))
}

/// `4.0 MB`, in powers of ten as file managers show it.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// `5.2 GiB`, as memory is told.
pub(crate) fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// One line of standard input without its end; `None` at the end of the input.
pub(crate) fn read_line() -> Result<Option<String>> {
    let mut text = String::new();
    let read = io::Read::take(io::stdin().lock(), MAX_LINE_BYTES)
        .read_line(&mut text)
        .context("cannot read standard input")?;
    Ok((read > 0).then(|| text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// A password: from standard input, or asked for twice without showing it.
pub(crate) fn password(from_stdin: bool) -> Result<String> {
    if from_stdin {
        return read_line()?.context("standard input has no password");
    }
    ensure!(
        io::stdin().is_terminal(),
        "there is no terminal to ask for the password; use --password-stdin"
    );
    let first = rpassword::prompt_password("Password: ")?;
    ensure!(first == rpassword::prompt_password("Again: ")?, "the two passwords differ");
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_words_cannot_command_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n\tc"), "a\u{241b}[2Jb\n\tc");
        // OSC 52 writes the clipboard; C1 has a one-byte CSI; the last turns the reading order.
        let hostile = "\u{1b}]52;c;ZXZpbA==\u{7}\u{9b}2J\u{8}\u{7f}\u{202e}abc";
        let shown = printable(hostile);
        assert!(shown.chars().all(|c| !c.is_control()), "{shown:?}");
        assert!(shown.contains("ZXZpbA==\u{2407}") && shown.ends_with("abc"), "{shown:?}");
        assert!(!shown.contains('\u{202e}'));
    }

    #[test]
    fn sizes_read_like_a_file_manager() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_234_567), "1.2 MB");
        assert_eq!(size(u64::MAX), "18446744.1 TB");
    }
}
