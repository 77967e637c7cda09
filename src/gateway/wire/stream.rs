//! Feeds the bytes of an answer, framed in one of the ways that providers have, to what reads the
//! JSON in it.

use serde_json::Value;

use super::lines::{Lines, Sse};
use super::{MAX_BODY_BYTES, MAX_LINE_BYTES, Read, Reader, Refusal, Shape, refusals};
use crate::event::Event;

/// Reads the JSON of one dialect.
pub(super) trait Parse: Send {
    /// One piece of a stream.
    fn piece(&mut self, data: &[u8], out: &mut Vec<Event>) -> Read<()>;

    /// An answer that came at once.
    fn whole(&mut self, body: &[u8], out: &mut Vec<Event>) -> Read<()>;

    /// Nothing more comes.
    fn end(&mut self, out: &mut Vec<Event>) -> Read<()>;
}

/// A reader of framed JSON.
pub(super) struct Framed<P> {
    framing: Framing,
    parse: P,
}

enum Framing {
    /// Server-sent events, unless the answer begins as JSON does: then it is an error, or comes
    /// from a provider that does not stream.
    Sniff,
    Sse(Sse),
    Lines(Lines),
    Whole(Vec<u8>),
}

impl<P: Parse> Framed<P> {
    pub(super) fn sse(parse: P) -> Framed<P> {
        Framed { framing: Framing::Sniff, parse }
    }

    /// One JSON object per line.
    pub(super) fn lines(parse: P, shape: Shape) -> Framed<P> {
        let framing = match shape {
            Shape::Whole => Framing::Whole(Vec::new()),
            Shape::Stream => Framing::Lines(Lines::default()),
        };
        Framed { framing, parse }
    }
}

impl<P: Parse> Reader for Framed<P> {
    fn feed(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Read<()> {
        if matches!(self.framing, Framing::Sniff) {
            match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
                None => return Ok(()),
                Some(b'{' | b'[') => self.framing = Framing::Whole(Vec::new()),
                Some(_) => self.framing = Framing::Sse(Sse::default()),
            }
        }
        let parse = &mut self.parse;
        match &mut self.framing {
            Framing::Sniff => Ok(()),
            Framing::Sse(sse) => sse.feed(bytes, |data| parse.piece(data, events)),
            Framing::Lines(lines) => lines.feed(bytes, |line| match line.is_empty() {
                true => Ok(()),
                false => parse.piece(line, events),
            }),
            Framing::Whole(body) => {
                if body.len() + bytes.len() > MAX_BODY_BYTES {
                    let most = MAX_BODY_BYTES >> 20;
                    let message = format!("The provider's answer has more than {most} MiB.");
                    return Err(Refusal::broken(message));
                }
                body.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn end(&mut self, events: &mut Vec<Event>) -> Read<()> {
        let parse = &mut self.parse;
        match &mut self.framing {
            Framing::Sniff => {}
            Framing::Sse(sse) => sse.end(|data| parse.piece(data, events))?,
            Framing::Lines(lines) => {
                if let Some(line) = lines.end() {
                    parse.piece(&line, events)?;
                }
            }
            Framing::Whole(body) => {
                let body = std::mem::take(body);
                parse.whole(&body, events)?;
            }
        }
        self.parse.end(events)
    }
}

/// Reads one JSON text into what is known of it.
pub(super) fn json<'a, T: serde::Deserialize<'a>>(data: &'a [u8]) -> Read<T> {
    serde_json::from_slice(data).map_err(|error| {
        // An error of a shape that nobody expects is still an error of the provider's.
        let short = data.len() <= MAX_LINE_BYTES;
        let value = short.then(|| serde_json::from_slice::<Value>(data).ok()).flatten();
        match value.filter(|value| value.get("error").is_some_and(|error| !error.is_null())) {
            Some(value) => refusals::read_inside(&value),
            None => Refusal::broken(format!("The provider's answer cannot be read: {error}.")),
        }
    })
}
