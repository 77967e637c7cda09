//! Seals what must be read again but not by whoever gets hold of the database.
//!
//! XChaCha20-Poly1305 under a key file of the data directory. What a sealed text belongs to
//! (table, row, column) is authenticated with it, so that it opens nowhere else.

use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use super::secrets;
use crate::error::{Error, Result};

/// The key's file; without it nothing sealed opens.
const SEAL_FILE: &str = "seal.key";
/// First byte of what is sealed: the kind of seal.
const VERSION: u8 = 1;
/// Bytes of a nonce.
const NONCE_BYTES: usize = 24;

/// Seals and opens.
pub(super) struct Seal(XChaCha20Poly1305);

/// What a sealed text belongs to.
pub(super) struct Place<'a> {
    pub(super) table: &'a str,
    pub(super) row: i64,
    pub(super) column: &'a str,
}

impl Place<'_> {
    fn text(&self) -> String {
        format!("{}|{}|{}|{VERSION}", self.table, self.row, self.column)
    }
}

impl Seal {
    /// Reads the key, or makes it at the first start.
    pub(super) fn open(data_dir: &Path) -> Result<Seal> {
        let key = secrets::read_or_make(data_dir, SEAL_FILE)?;
        Ok(Seal(XChaCha20Poly1305::new(&key.into())))
    }

    /// Version, nonce and sealed text.
    pub(super) fn seal(&self, place: &Place<'_>, plain: &[u8]) -> Result<Vec<u8>> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let aad = place.text();
        let sealed = self
            .0
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: aad.as_bytes() })
            .map_err(|_| Error::Internal("a secret could not be sealed".to_owned()))?;
        let mut text = vec![VERSION];
        text.extend_from_slice(&nonce);
        text.extend_from_slice(&sealed);
        Ok(text)
    }

    /// What was sealed for this place; anything else is a fault.
    pub(super) fn unseal(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Vec<u8>> {
        let fault = || Error::Internal(format!("what is sealed in {} does not open", place.text()));
        let (version, rest) = sealed.split_first().ok_or_else(fault)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(fault)?;
        if *version != VERSION {
            return Err(fault());
        }
        let aad = place.text();
        let payload = Payload { msg: text, aad: aad.as_bytes() };
        self.0.decrypt(&XNonce::from(*nonce), payload).map_err(|_| fault())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'_> = Place { table: "second_factors", row: 7, column: "seed" };

    #[test]
    fn a_seal_opens_in_its_own_place_alone() {
        let dir = tempfile::tempdir().unwrap();
        let seal = Seal::open(dir.path()).unwrap();
        let sealed = seal.seal(&HERE, b"seed").unwrap();
        assert_eq!(seal.unseal(&HERE, &sealed).unwrap(), b"seed");
        assert!(!sealed.windows(4).any(|window| window == b"seed"));
        for place in [
            Place { row: 8, ..HERE },
            Place { table: "passkeys", ..HERE },
            Place { column: "other", ..HERE },
        ] {
            assert!(seal.unseal(&place, &sealed).is_err());
        }
        for index in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[index] ^= 1;
            assert!(seal.unseal(&HERE, &damaged).is_err(), "byte {index}");
            assert!(seal.unseal(&HERE, &sealed[..index]).is_err(), "{index} bytes");
        }
        let again = Seal::open(dir.path()).unwrap();
        assert_eq!(again.unseal(&HERE, &sealed).unwrap(), b"seed");
        let other = tempfile::tempdir().unwrap();
        assert!(Seal::open(other.path()).unwrap().unseal(&HERE, &sealed).is_err());
    }
}
