//! Amazon's event stream: binary frames with headers, a payload and two checksums each.
//!
//! ```text
//! u32 whole length | u32 length of headers | u32 CRC of these eight bytes | headers | payload | u32 CRC of all before
//! ```

use crate::wire::{MAX_LINE_BYTES, Read, Refusal};

/// Bytes before the headers.
const PRELUDE: usize = 12;
/// Bytes of a frame that are neither headers nor payload.
const AROUND: usize = PRELUDE + 4;
/// Longest headers of a frame, by Amazon's own rule.
const MAX_HEADER_BYTES: usize = 128 << 10;

/// Puts frames together, however their bytes were cut.
#[derive(Debug, Default)]
pub struct Frames {
    begun: Vec<u8>,
}

/// One whole frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Frame<'a> {
    /// `event`, `exception` or `error`.
    pub message_type: &'a str,
    /// Of an event, or of an exception.
    pub kind: &'a str,
    pub payload: &'a [u8],
}

impl Frames {
    /// Gives each frame that has come whole to `each`.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Frame<'_>) -> Read<()>) -> Read<()> {
        self.begun.extend_from_slice(bytes);
        let (mut at, mut result) = (0, Ok(()));
        while let Some(length) = whole_length(&self.begun[at..])? {
            let Some(frame) = self.begun.get(at..at + length) else { break };
            result = read(frame).and_then(&mut each);
            at += length;
            if result.is_err() {
                break;
            }
        }
        self.begun.drain(..at);
        result
    }

    /// Nothing more comes: half a frame is none.
    pub fn end(&self) -> Read<()> {
        match self.begun.is_empty() {
            true => Ok(()),
            false => Err(Refusal::broken("The provider broke off inside of an event.")),
        }
    }
}

/// The length of the frame that begins here, once it is known; what cannot be one is refused before
/// any of it is kept.
fn whole_length(bytes: &[u8]) -> Read<Option<usize>> {
    let Some(prelude) = bytes.get(..PRELUDE) else { return Ok(None) };
    let (length, headers) = (number(prelude, 0), number(prelude, 4));
    if crc32fast::hash(&prelude[..8]) as usize != number(prelude, 8) {
        return Err(Refusal::broken("The provider's event has a wrong checksum."));
    }
    if length > MAX_LINE_BYTES {
        let most = MAX_LINE_BYTES >> 20;
        return Err(Refusal::broken(format!(
            "The provider sent an event of more than {most} MiB."
        )));
    }
    if headers > MAX_HEADER_BYTES || length < AROUND + headers {
        return Err(Refusal::broken("The provider's event has impossible lengths."));
    }
    Ok(Some(length))
}

fn read(frame: &[u8]) -> Read<Frame<'_>> {
    let broken = || Refusal::broken("The provider's event cannot be read.");
    let (all, sum) = frame.split_last_chunk::<4>().ok_or_else(broken)?;
    if crc32fast::hash(all) != u32::from_be_bytes(*sum) {
        return Err(Refusal::broken("The provider's event has a wrong checksum."));
    }
    let end = PRELUDE + number(frame, 4);
    let mut headers = all.get(PRELUDE..end).ok_or_else(broken)?;
    let mut found = Frame { payload: all.get(end..).ok_or_else(broken)?, ..Frame::default() };
    while !headers.is_empty() {
        let (name, value) = header(&mut headers).ok_or_else(broken)?;
        let value = value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
        match name {
            b":message-type" => found.message_type = value,
            b":event-type" | b":exception-type" | b":error-code" => found.kind = value,
            _ => {}
        }
    }
    Ok(found)
}

/// The next header: its name, and its value if that is a text.
fn header<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let length = take(rest, 1)?[0];
    let name = take(rest, length.into())?;
    let kind = take(rest, 1)?[0];
    let length = match kind {
        // True and false have no bytes of their own.
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        9 => 16,
        6 | 7 => {
            let two = take(rest, 2)?;
            usize::from(u16::from_be_bytes([two[0], two[1]]))
        }
        _ => return None,
    };
    let value = take(rest, length)?;
    Some((name, (kind == 7).then_some(value)))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

/// Four bytes that the caller knows to be there.
fn number(bytes: &[u8], at: usize) -> usize {
    let four = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    u32::from_be_bytes(four) as usize
}

/// A frame of an event or exception, as Amazon writes it.
#[cfg(test)]
pub(crate) fn frame(message_type: &str, kind: &str, payload: &str) -> Vec<u8> {
    let kind_of = match message_type {
        "event" => ":event-type",
        "exception" => ":exception-type",
        _ => ":error-code",
    };
    let mut headers = Vec::new();
    for (name, value) in
        [(kind_of, kind), (":content-type", "application/json"), (":message-type", message_type)]
    {
        headers.push(name.len() as u8);
        headers.extend(name.bytes());
        headers.push(7);
        headers.extend((value.len() as u16).to_be_bytes());
        headers.extend(value.bytes());
    }
    let length = (AROUND + headers.len() + payload.len()) as u32;
    let mut bytes = [length.to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend(headers);
    bytes.extend(payload.bytes());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(pieces: &[&[u8]]) -> Read<Vec<(String, String, Vec<u8>)>> {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for piece in pieces {
            frames.feed(piece, |frame| {
                let Frame { message_type, kind, payload } = frame;
                found.push((message_type.to_owned(), kind.to_owned(), payload.to_vec()));
                Ok(())
            })?;
        }
        frames.end()?;
        Ok(found)
    }

    /// From the test vectors that Amazon's SDKs share (`aws-c-event-stream`): a frame without
    /// headers and payload, one with a payload, and one with a header.
    #[test]
    fn amazons_own_frames_are_read() {
        let empty = "000000100000000005c248eb7d98c8ff";
        let payload = "0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936";
        for (text, wanted) in [(empty, ""), (payload, "{'foo':'bar'}")] {
            let found = frames(&[&hex::decode(text).unwrap()]).unwrap();
            assert_eq!(found[0].2, wanted.as_bytes());
        }
    }

    #[test]
    fn every_cut_gives_the_same_frames_and_every_changed_byte_is_noticed() {
        let one = frame("event", "contentBlockDelta", r#"{"delta":{"text":"é"}}"#);
        let bytes = [one.clone(), frame("exception", "throttlingException", "{}")].concat();
        let wanted = frames(&[&bytes]).unwrap();
        assert_eq!((wanted[0].0.as_str(), wanted[0].1.as_str()), ("event", "contentBlockDelta"));
        assert_eq!(wanted[1].1, "throttlingException");
        for at in 0..bytes.len() {
            assert_eq!(frames(&[&bytes[..at], &bytes[at..]]).unwrap(), wanted);
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            assert!(frames(&[&changed]).is_err(), "byte {at}");
        }
        for at in 1..one.len() {
            assert!(frames(&[&one[..at]]).is_err(), "half a frame");
        }
    }

    #[test]
    fn a_giant_is_refused_by_its_announced_length() {
        let mut prelude = [u32::MAX.to_be_bytes(), 0_u32.to_be_bytes()].concat();
        prelude.extend(crc32fast::hash(&prelude).to_be_bytes());
        let mut frames = Frames::default();
        assert!(frames.feed(&prelude, |_| Ok(())).is_err());
    }

    proptest! {
        #[test]
        fn noise_is_an_error_and_never_a_panic(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = frames(&[&noise]);
            // With checksums that are right.
            let mut bytes = noise;
            if bytes.len() >= AROUND {
                let length = (bytes.len() as u32).to_be_bytes();
                bytes[..4].copy_from_slice(&length);
                bytes[4..6].copy_from_slice(&[0, 0]);
                let sum = crc32fast::hash(&bytes[..8]).to_be_bytes();
                bytes[8..12].copy_from_slice(&sum);
                let end = bytes.len() - 4;
                let sum = crc32fast::hash(&bytes[..end]).to_be_bytes();
                bytes[end..].copy_from_slice(&sum);
                let _ = frames(&[&bytes]);
            }
        }
    }
}
