//! Reads little-endian primitives from a GGUF header without believing any length in it.

use std::io::Read;

use crate::error::{Error, Result};

/// A reader that knows how far it may go and says where the file broke off.
pub(super) struct Source<R> {
    reader: R,
    position: u64,
    /// First byte that may not be read: the end of the file, or of the largest header we accept.
    end: u64,
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R, end: u64) -> Source<R> {
        Source { reader, position: 0, end }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes that may still follow; no honest count or length can be above it.
    pub(super) fn left(&self) -> u64 {
        self.end - self.position
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.fixed(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.fixed(what)?))
    }

    pub(super) fn fixed<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        if self.left() < N as u64 {
            return Err(cut_short(what));
        }
        self.reader.read_exact(&mut bytes).map_err(|_| cut_short(what))?;
        self.position += N as u64;
        Ok(bytes)
    }

    /// `length` bytes. Memory grows with what really arrives, not with what `length` claims.
    pub(super) fn bytes(&mut self, length: u64, what: &str) -> Result<Vec<u8>> {
        if self.left() < length {
            return Err(cut_short(what));
        }
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(length).read_to_end(&mut bytes);
        if read.map_err(|_| cut_short(what))? as u64 != length {
            return Err(cut_short(what));
        }
        self.position += length;
        Ok(bytes)
    }

    /// A string: 64-bit length, then UTF-8 of at most `limit` bytes.
    pub(super) fn string(&mut self, limit: u64, what: &str) -> Result<String> {
        let length = self.u64(what)?;
        if length > limit {
            return Err(Error::Damaged(format!(
                "{what} claims {length} bytes, the limit is {limit}"
            )));
        }
        String::from_utf8(self.bytes(length, what)?)
            .map_err(|_| Error::Damaged(format!("{what} is not UTF-8")))
    }
}

fn cut_short(what: &str) -> Error {
    Error::Damaged(format!("the header ends, or grows too large, inside {what}"))
}
