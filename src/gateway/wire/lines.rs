//! Splits the bytes of a streamed answer into lines and into server-sent events, however they were
//! cut. None of the crates for it puts a limit on a line, and all want a stream of their own; what
//! is kept here is one line and one event.

use memchr::memchr2;

use super::{MAX_LINE_BYTES, Read, Refusal};

/// Lines that end with LF, CR LF or CR.
#[derive(Debug)]
pub(super) struct Lines {
    /// Longest line, in bytes.
    limit: usize,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    /// Whether the last line ended with CR, so that an LF which comes next is part of its end.
    after_cr: bool,
}

impl Default for Lines {
    fn default() -> Lines {
        Lines::within(MAX_LINE_BYTES)
    }
}

impl Lines {
    /// Lines of at most so many bytes.
    pub(super) fn within(limit: usize) -> Lines {
        Lines { limit, begun: Vec::new(), after_cr: false }
    }

    /// Gives each line that has ended to `each`.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(&[u8]) -> Read<()>,
    ) -> Read<()> {
        if self.after_cr && !bytes.is_empty() {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            self.after_cr = false;
        }
        while let Some(at) = memchr2(b'\n', b'\r', bytes) {
            let (line, rest) = (&bytes[..at], &bytes[at + 1..]);
            if self.begun.len() + line.len() > self.limit {
                return Err(too_long(self.limit));
            }
            if self.begun.is_empty() {
                each(line)?;
            } else {
                self.begun.extend_from_slice(line);
                let whole = std::mem::take(&mut self.begun);
                each(&whole)?;
                // The same memory for the next one, unless this was a giant.
                if whole.capacity() <= 1 << 16 {
                    self.begun = whole;
                    self.begun.clear();
                }
            }
            bytes = match (bytes[at], rest) {
                (b'\r', []) => {
                    self.after_cr = true;
                    rest
                }
                (b'\r', rest) => rest.strip_prefix(b"\n").unwrap_or(rest),
                _ => rest,
            };
        }
        if self.begun.len() + bytes.len() > self.limit {
            return Err(too_long(self.limit));
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    /// The last line, if nothing ended it.
    pub(super) fn end(&mut self) -> Option<Vec<u8>> {
        let last = std::mem::take(&mut self.begun);
        (!last.is_empty()).then_some(last)
    }
}

/// The data of server-sent events; names, ids and comments say nothing that the data does not.
#[derive(Debug, Default)]
pub(super) struct Sse {
    lines: Lines,
    data: Data,
}

#[derive(Debug, Default)]
struct Data {
    bytes: Vec<u8>,
    has_any: bool,
}

impl Sse {
    /// Events of at most so many bytes.
    pub(super) fn within(limit: usize) -> Sse {
        Sse { lines: Lines::within(limit), data: Data::default() }
    }

    /// Gives the data of each event that has ended to `each`.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&[u8]) -> Read<()>,
    ) -> Read<()> {
        let (data, limit) = (&mut self.data, self.lines.limit);
        self.lines.feed(bytes, |line| data.line(line, limit, &mut each))
    }

    /// Gives the last event to `each`, though no empty line ended it.
    pub(super) fn end(&mut self, mut each: impl FnMut(&[u8]) -> Read<()>) -> Read<()> {
        let limit = self.lines.limit;
        if let Some(line) = self.lines.end() {
            self.data.line(&line, limit, &mut each)?;
        }
        self.data.line(b"", limit, &mut each)
    }
}

impl Data {
    fn line(
        &mut self,
        line: &[u8],
        limit: usize,
        each: &mut impl FnMut(&[u8]) -> Read<()>,
    ) -> Read<()> {
        if line.is_empty() {
            let has_any = std::mem::take(&mut self.has_any);
            if has_any {
                let bytes = std::mem::take(&mut self.bytes);
                each(&bytes)?;
                if bytes.capacity() <= 1 << 16 {
                    self.bytes = bytes;
                    self.bytes.clear();
                }
            }
            return Ok(());
        }
        let Some(rest) = line.strip_prefix(b"data") else { return Ok(()) };
        let value = match rest {
            [] => rest,
            [b':', value @ ..] => value.strip_prefix(b" ").unwrap_or(value),
            _ => return Ok(()),
        };
        if self.bytes.len() + value.len() > limit {
            return Err(too_long(limit));
        }
        if self.has_any {
            self.bytes.push(b'\n');
        }
        self.has_any = true;
        self.bytes.extend_from_slice(value);
        Ok(())
    }
}

fn too_long(limit: usize) -> Refusal {
    let most = limit >> 20;
    Refusal::broken(format!("The provider sent a line of more than {most} MiB."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let (mut sse, mut found) = (Sse::default(), Vec::new());
        let mut each = |data: &[u8]| {
            found.push(String::from_utf8(data.to_vec()).unwrap());
            Ok(())
        };
        for piece in pieces {
            sse.feed(piece, &mut each).unwrap();
        }
        sse.end(&mut each).unwrap();
        found
    }

    #[test]
    fn every_end_of_line_and_every_cut_gives_the_same_events() {
        let plain =
            "\u{feff}: hi\nevent: a\ndata: 1é\ndata:2\nid: 7\n\ndata\n\n\ndatax: 3\ndata:  [DONE]";
        for ending in ["\n", "\r\n", "\r"] {
            let text = plain.replace('\n', ending);
            let bytes = text.as_bytes();
            for at in 0..=bytes.len() {
                let (one, two) = bytes.split_at(at);
                assert_eq!(events(&[one, two]), ["1é\n2", "", " [DONE]"], "{ending:?} {at}");
            }
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(events(&singles), ["1é\n2", "", " [DONE]"]);
        }
    }

    #[test]
    fn a_line_or_an_event_that_is_too_long_is_refused_before_it_is_kept() {
        let mut sse = Sse::default();
        let piece = vec![b'a'; 1 << 20];
        let mut fed = 0;
        while sse.feed(&piece, |_| Ok(())).is_ok() {
            fed += piece.len();
            assert!(fed <= MAX_LINE_BYTES);
        }
        let mut sse = Sse::default();
        let line = [b"data: ".as_slice(), &piece, b"\n"].concat();
        let fed = (0..10).take_while(|_| sse.feed(&line, |_| Ok(())).is_ok()).count();
        assert!((3..=4).contains(&fed), "{fed}");
    }
}
