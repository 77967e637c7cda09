//! The name of a blob: `sha256:` and 64 lower-case hexadecimal digits, nothing else.
//!
//! A digest that came from outside becomes a path only through this type, so a manifest that
//! says `sha256:../../etc/passwd` is refused where it is parsed.

use std::fmt;
use std::io::Read;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// A SHA-256 content digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Parses `sha256:<64 hex digits>`.
    pub fn parse(text: &str) -> Result<Digest> {
        let bad = || Error::BadManifest(format!("`{}` is not a digest", text.escape_debug()));
        let digits = text.strip_prefix("sha256:").ok_or_else(bad)?;
        if digits.len() != 64 || digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| bad())?;
        Ok(Digest(bytes))
    }

    /// The digest of all that a reader gives.
    pub fn of_reader(reader: &mut dyn Read) -> std::io::Result<Digest> {
        let (mut hasher, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
        loop {
            match reader.read(&mut piece)? {
                0 => return Ok(Digest::finish(hasher)),
                read => hasher.update(&piece[..read]),
            }
        }
    }

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// The digest that a finished hasher holds.
    pub(crate) fn finish(hasher: Sha256) -> Digest {
        Digest(hasher.finalize().into())
    }

    /// The 64 digits alone.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The blob's file name, `sha256-<hex>`.
    pub fn file_name(&self) -> String {
        format!("sha256-{}", hex::encode(self.0))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;
    fn try_from(text: String) -> Result<Digest> {
        Digest::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_lower_case_digest_is_accepted() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(Digest::parse(&good).unwrap().to_string(), good);
        for bad in [
            "",
            "sha256:",
            "sha256:abc",
            "sha512:0a",
            "sha256:../../../../etc/passwd",
            &format!("sha256:{}", "0A".repeat(32)),
            &format!("sha256-{}", "0a".repeat(32)),
            &format!("sha256:{}/", "0a".repeat(32)),
            &format!("sha256:{}é", "0a".repeat(31)),
        ] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }
}
