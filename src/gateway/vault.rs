//! Seals secrets that must be read again, such as the keys of channels, under a master key.
//!
//! XChaCha20-Poly1305 with a random nonce; table, column and row are associated data, so that a
//! secret opens only where it was put. The master key stands in a file that its owner alone can
//! read, or comes from the environment.
//!
//! Sealed: version (1 byte) · id of the master key (4) · nonce (24) · text and tag.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hearth_store::{SealedPlace, Store};
use sha2::{Digest, Sha256};

use crate::accounts::{check_private, unusable};
use crate::error::{Error, Result};

/// The master key's file in the data directory: keys in hex, a line each. The first one seals, the
/// others only open; there are others only while secrets are being sealed anew.
const FILE: &str = "master.key";
/// First byte of everything sealed.
const VERSION: u8 = 1;
/// Bytes before the nonce.
const HEAD_BYTES: usize = 5;
const NONCE_BYTES: usize = 24;
/// Most master keys at once.
const MAX_KEYS: usize = 8;

/// Seals and opens secrets. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    /// Never empty.
    keys: RwLock<Arc<Vec<MasterKey>>>,
    /// `None`: the keys come from the environment.
    file: Option<PathBuf>,
}

#[derive(Clone)]
struct MasterKey {
    id: [u8; 4],
    bytes: [u8; 32],
}

impl Vault {
    /// Opens the vault of a data directory; makes its key file at the first start. `from_outside`:
    /// master keys of the environment in hex, divided by commas, instead of the file's.
    pub fn open(data_dir: &Path, from_outside: Option<&str>) -> Result<Vault> {
        if let Some(text) = from_outside {
            let keys = parse_keys(text.split(','))
                .ok_or_else(|| Error::Internal("HEARTH_MASTER_KEY must be 64 hex digits".into()))?;
            return Ok(Vault::with(keys, None));
        }
        let path = data_dir.join(FILE);
        if !path.try_exists().map_err(|error| unusable(&path, &error))? {
            write_keys(&path, &[MasterKey::random()], false)?;
        }
        check_private(&path)?;
        let text = std::fs::read_to_string(&path).map_err(|error| unusable(&path, &error))?;
        let keys = parse_keys(text.lines()).ok_or_else(|| unusable(&path, &"it is damaged"))?;
        Ok(Vault::with(keys, Some(path)))
    }

    fn with(keys: Vec<MasterKey>, file: Option<PathBuf>) -> Vault {
        Vault { inner: Arc::new(Inner { keys: RwLock::new(Arc::new(keys)), file }) }
    }

    /// Seals a secret for this place.
    pub fn seal(&self, place: &SealedPlace, secret: &[u8]) -> Result<Vec<u8>> {
        seal(&self.keys()[0], place, secret)
    }

    /// Opens what was sealed for this place.
    pub fn unseal(&self, place: &SealedPlace, sealed: &[u8]) -> Result<Vec<u8>> {
        unseal(&self.keys(), place, sealed)
    }

    /// Makes a new master key and seals every secret of the store anew; says how many there are.
    /// With keys of the environment, the first of them seals and the others can go afterwards.
    ///
    /// Between its steps both keys are in the file, so that a crash loses nothing.
    pub async fn rotate(&self, store: &Store) -> Result<u64> {
        let mut keys = self.keys().to_vec();
        if let Some(path) = &self.inner.file {
            keys.insert(0, MasterKey::random());
            keys.truncate(MAX_KEYS);
            write_keys(path, &keys, true)?;
            self.set(keys.clone());
        }
        let newest = keys[0].clone();
        let reseal = move |place: &SealedPlace, sealed: &[u8]| {
            unseal(&keys, place, sealed)
                .and_then(|secret| seal(&keys[0], place, &secret))
                .map_err(|error| error.to_string())
        };
        let count = store.sealed().replace_all(reseal).await?;
        if let Some(path) = &self.inner.file {
            write_keys(path, std::slice::from_ref(&newest), true)?;
            self.set(vec![newest]);
        }
        tracing::info!(secrets.count = count, "sealed all secrets under a new master key");
        Ok(count)
    }

    fn keys(&self) -> Arc<Vec<MasterKey>> {
        Arc::clone(&self.inner.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, keys: Vec<MasterKey>) {
        *self.inner.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

impl MasterKey {
    fn random() -> MasterKey {
        MasterKey::of(rand::random())
    }

    fn of(bytes: [u8; 32]) -> MasterKey {
        let digest = Sha256::new().chain_update(b"hearth master key id").chain_update(bytes);
        let [a, b, c, d, ..] = <[u8; 32]>::from(digest.finalize());
        MasterKey { id: [a, b, c, d], bytes }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.bytes.into())
    }
}

/// `None` if there is no key, or one that is none.
fn parse_keys<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Vec<MasterKey>> {
    let lines = lines.map(str::trim).filter(|line| !line.is_empty());
    let mut keys = Vec::new();
    for line in lines {
        let mut bytes = [0; 32];
        hex::decode_to_slice(line, &mut bytes).ok()?;
        keys.push(MasterKey::of(bytes));
    }
    (1..=MAX_KEYS).contains(&keys.len()).then_some(keys)
}

/// Writes keys beside their place and moves them there whole. A first file never takes the place
/// of one that another process has just made.
fn write_keys(path: &Path, keys: &[MasterKey], replaces: bool) -> Result<()> {
    let written = (|| {
        let dir = path.parent().unwrap_or(Path::new("."));
        // Temporary files are made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        for key in keys {
            writeln!(file, "{}", hex::encode(key.bytes))?;
        }
        file.as_file().sync_all()?;
        let moved = if replaces { file.persist(path) } else { file.persist_noclobber(path) };
        match moved {
            Err(refusal) if refusal.error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(refusal.error)
            }
            _ => std::fs::File::open(dir)?.sync_all(),
        }
    })();
    written.map_err(|error| unusable(path, &error))
}

fn seal(key: &MasterKey, place: &SealedPlace, secret: &[u8]) -> Result<Vec<u8>> {
    let nonce: [u8; NONCE_BYTES] = rand::random();
    let payload = Payload { msg: secret, aad: &associated(place) };
    let text = key
        .cipher()
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| Error::Internal("a secret is too long to be sealed".to_owned()))?;
    let mut sealed = vec![VERSION];
    sealed.extend(key.id);
    sealed.extend(nonce);
    sealed.extend(text);
    Ok(sealed)
}

fn unseal(keys: &[MasterKey], place: &SealedPlace, sealed: &[u8]) -> Result<Vec<u8>> {
    let SealedPlace { table, column, row } = place;
    let damaged = || Error::Internal(format!("the secret {table}.{column} of {row} is damaged"));
    if sealed.len() < HEAD_BYTES + NONCE_BYTES || sealed[0] != VERSION {
        return Err(damaged());
    }
    let (head, rest) = sealed.split_at(HEAD_BYTES);
    let (nonce, text) = rest.split_at(NONCE_BYTES);
    let key = keys.iter().find(|key| key.id == head[1..]).ok_or_else(|| {
        Error::Internal(format!(
            "the secret {table}.{column} of {row} was sealed under another master key; put that \
             {FILE} back, or enter the secret again"
        ))
    })?;
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| damaged())?;
    let payload = Payload { msg: text, aad: &associated(place) };
    key.cipher().decrypt(&XNonce::from(nonce), payload).map_err(|_| damaged())
}

/// Each part with its length before it, so that no two places read the same.
fn associated(place: &SealedPlace) -> Vec<u8> {
    let parts = [place.table, place.column, place.row.as_str()];
    parts.iter().flat_map(|part| format!("{}:{part}|", part.len()).into_bytes()).collect()
}

#[cfg(test)]
mod tests;
