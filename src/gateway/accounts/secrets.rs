//! Random secrets, their hashes, and the two key files of the data directory.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hearth_store::SessionHash;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Keyed hashes of API tokens are made with it; without it every API token is void.
const KEY_FILE: &str = "secret.key";
/// Whoever can read it is the operator of this machine.
const CONTROL_FILE: &str = "control.key";
/// How API tokens begin.
pub(super) const TOKEN_START: &str = "sk-hearth-";
/// How the control secret begins.
const CONTROL_START: &str = "hearth-control-";
/// Letters of a setup code: digits and letters without I, L, O and U, five bits each.
const CODE_LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Letters in a setup code: 80 bits.
const CODE_LENGTH: usize = 16;

/// A secret that is shown once; it never appears in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(super) fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The keys of a data directory.
pub(super) struct Keys {
    hashing: [u8; 32],
    control: String,
}

impl Keys {
    /// Reads the key files, or makes them at the first start.
    pub(super) fn open(data_dir: &Path) -> Result<Keys> {
        Ok(Keys {
            hashing: read_or_make(data_dir, KEY_FILE)?,
            control: hex::encode(read_or_make(data_dir, CONTROL_FILE)?),
        })
    }

    /// The keyed hash under which an API token is stored.
    pub(super) fn hash(&self, secret: &str) -> [u8; 32] {
        self.mac(secret).finalize().into_bytes().into()
    }

    /// Whether a secret has this keyed hash; takes the same time whichever it is.
    pub(super) fn matches(&self, secret: &str, hash: &[u8; 32]) -> bool {
        self.mac(secret).verify_slice(hash).is_ok()
    }

    /// Whether this is the control secret.
    pub(super) fn is_control(&self, secret: &str) -> bool {
        secret
            .strip_prefix(CONTROL_START)
            .is_some_and(|rest| self.matches(rest, &self.hash(&self.control)))
    }

    fn mac(&self, secret: &str) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.hashing).expect("HMAC takes keys of any length");
        mac.update(secret.as_bytes());
        mac
    }
}

/// The control secret of a data directory, for a command on the same machine; `None` if no
/// server was ever started on it.
pub fn read_control_secret(data_dir: &Path) -> Result<Option<Secret>> {
    let path = data_dir.join(CONTROL_FILE);
    match path.try_exists() {
        Ok(true) => {
            let key = read_key(&path)?;
            Ok(Some(Secret(format!("{CONTROL_START}{}", hex::encode(key)))))
        }
        Ok(false) => Ok(None),
        Err(error) => Err(unusable(&path, &error)),
    }
}

/// A new API token: 192 random bits.
pub(super) fn new_token() -> Secret {
    Secret(format!("{TOKEN_START}{}", hex::encode(rand::random::<[u8; 24]>())))
}

/// A new invite's secret: 192 random bits.
pub(super) fn new_invite() -> Secret {
    Secret(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>()))
}

/// A new session id: 256 random bits. The store gets only its hash.
pub(super) fn new_session() -> (Secret, SessionHash) {
    let id: [u8; 32] = rand::random();
    (Secret(URL_SAFE_NO_PAD.encode(id)), hash_session(&id))
}

/// The hash of a session id, if the text can be one.
pub(super) fn parse_session(text: &str) -> Option<SessionHash> {
    // 32 bytes are 43 letters.
    let id = (text.len() == 43).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten()?;
    Some(hash_session(&id))
}

fn hash_session(id: &[u8]) -> SessionHash {
    SessionHash(Sha256::digest(id).into())
}

/// A new setup code, in groups of four for reading.
pub(super) fn new_setup_code() -> Secret {
    let mut code = String::new();
    for (index, byte) in rand::random::<[u8; CODE_LENGTH]>().into_iter().enumerate() {
        if index > 0 && index % 4 == 0 {
            code.push('-');
        }
        // 256 is a multiple of 32, so every letter is as likely.
        code.push(char::from(CODE_LETTERS[usize::from(byte) % CODE_LETTERS.len()]));
    }
    Secret(code)
}

/// A setup code as it was meant: without dashes and spaces, in capitals, O as 0, I and L as 1.
pub(super) fn tidy_setup_code(code: &str) -> String {
    code.chars()
        .filter(|letter| letter.is_ascii_alphanumeric())
        .map(|letter| match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            letter => letter,
        })
        .take(CODE_LENGTH + 1)
        .collect()
}

fn read_or_make(data_dir: &Path, name: &str) -> Result<[u8; 32]> {
    let path = data_dir.join(name);
    if !path.try_exists().map_err(|error| unusable(&path, &error))? {
        make_key(data_dir, &path).map_err(|error| unusable(&path, &error))?;
    }
    read_key(&path)
}

/// Writes a key beside its place and moves it there whole; if another process was quicker, its
/// key stays.
fn make_key(data_dir: &Path, path: &Path) -> io::Result<()> {
    // Temporary files are made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
    writeln!(file, "{}", hex::encode(rand::random::<[u8; 32]>()))?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => fs::File::open(data_dir)?.sync_all(),
        Err(refusal) if refusal.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(refusal) => Err(refusal.error),
    }
}

fn read_key(path: &Path) -> Result<[u8; 32]> {
    check_private(path)?;
    let text = fs::read_to_string(path).map_err(|error| unusable(path, &error))?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key).map_err(|error| unusable(path, &error))?;
    Ok(key)
}

#[cfg(unix)]
pub(crate) fn check_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::symlink_metadata(path).map_err(|error| unusable(path, &error))?;
    if !metadata.is_file() {
        return Err(unusable(path, &"it is no plain file"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(unusable(path, &"other users can read it; run `chmod 600` on it"));
    }
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn check_private(_path: &Path) -> Result<()> {
    Ok(())
}

pub(crate) fn unusable(path: &Path, reason: &dyn fmt::Display) -> Error {
    Error::Internal(format!("the key file {} cannot be used: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_are_private() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_control_secret(dir.path()).unwrap(), None);
        let first = Keys::open(dir.path()).unwrap();
        let second = Keys::open(dir.path()).unwrap();
        assert_eq!(first.hash("x"), second.hash("x"));
        assert!(first.matches("x", &second.hash("x")));
        assert!(!first.matches("y", &second.hash("x")));
        let control = read_control_secret(dir.path()).unwrap().unwrap();
        assert!(second.is_control(control.reveal()));
        assert!(!second.is_control("hearth-control-"));
        assert!(!second.is_control(&control.reveal()[15..]));
        let names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "no temporary file stays: {names:?}");
    }

    #[test]
    fn another_directory_has_another_key() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, two) = (Keys::open(one.path()).unwrap(), Keys::open(two.path()).unwrap());
        assert_ne!(one.hash("x"), two.hash("x"));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_remedy() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Keys::open(dir.path()).unwrap();
        let path = dir.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let Err(error) = Keys::open(dir.path()) else { panic!("must be refused") };
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_damaged_key_is_an_error_not_a_new_key() {
        let dir = tempfile::tempdir().unwrap();
        Keys::open(dir.path()).unwrap();
        fs::write(dir.path().join(KEY_FILE), "half a k").unwrap();
        assert!(Keys::open(dir.path()).is_err());
    }

    #[test]
    fn setup_codes_are_read_as_people_write_them() {
        let code = new_setup_code();
        assert_eq!(code.reveal().len(), 19);
        let tidy = tidy_setup_code(code.reveal());
        assert_eq!(tidy.len(), CODE_LENGTH);
        let sloppy = code.reveal().to_lowercase().replace('-', " ").replace('0', "o");
        assert_eq!(tidy_setup_code(&sloppy.replace('1', "l")), tidy);
        assert_ne!(code, new_setup_code());
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", new_token()), "***");
        assert!(new_token().reveal().starts_with("sk-hearth-"));
        assert_eq!(new_token().reveal().len(), 10 + 48);
    }

    #[test]
    fn only_whole_session_ids_are_looked_up() {
        let (secret, hash) = new_session();
        assert_eq!(parse_session(secret.reveal()), Some(hash));
        for bad in ["", "x", &secret.reveal()[1..], &"é".repeat(22), &"=".repeat(43)] {
            assert_eq!(parse_session(bad), None, "{bad}");
        }
    }
}
