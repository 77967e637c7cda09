//! Hashes and checks passwords with argon2id, a few at a time, off the async threads. Hashes of
//! bcrypt, which other products leave, are checked too and replaced when their password is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::error::{Error, Result};

/// Shortest password, in characters.
const MIN_CHARACTERS: usize = 8;
/// Longest password, in characters; checked before any hashing.
const MAX_CHARACTERS: usize = 128;
/// Characters whose strength is judged; more only take longer.
const JUDGED_CHARACTERS: usize = 100;
/// How bcrypt's hashes begin; the two digits after it are the cost.
const BCRYPT_STARTS: [&str; 3] = ["$2a$", "$2b$", "$2y$"];
/// Highest cost of bcrypt that is checked: each step doubles the time, 10 takes about 50 ms.
const MAX_BCRYPT_COST: u32 = 14;
/// Passwords that may wait to be hashed.
const MAX_WAITING: usize = 64;
/// Passwords that many people choose, one a line, in lower case.
const COMMON: &str = include_str!("common_passwords.txt");

/// A hash with the same cost as a real one, which no password is known to match: checking
/// against it makes an unknown name take as long as a known one.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$aGVhcnRoLWR1bW15LXNhbHQ$q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA";

/// Hashes passwords; its two limits bound memory and the wait.
pub(super) struct Passwords {
    queue: Semaphore,
    slots: Arc<Semaphore>,
    /// Hashes that were made or checked, for the test that nobody's name is told by the time.
    worked: AtomicU64,
}

impl Passwords {
    pub(super) fn new(hashes_at_once: u32) -> Passwords {
        let at_once = hashes_at_once.max(1) as usize;
        Passwords {
            queue: Semaphore::new(at_once + MAX_WAITING),
            slots: Arc::new(Semaphore::new(at_once)),
            worked: AtomicU64::new(0),
        }
    }

    /// The PHC string of a password.
    pub(super) async fn hash(&self, password: &str) -> Result<String> {
        let password = password.to_owned();
        self.run(move || {
            // Default parameters: m = 19 MiB, t = 2, p = 1, the OWASP minimum for argon2id.
            Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string())
        })
        .await?
        .map_err(|error| Error::Internal(format!("hashing a password failed: {error}")))
    }

    /// Hashes that were made or checked since the start.
    #[cfg(test)]
    pub(super) fn worked(&self) -> u64 {
        self.worked.load(Ordering::SeqCst)
    }

    /// Whether the password has this hash; `None` and the hash of nobody, which is empty, take as
    /// long and are always wrong.
    pub(super) async fn matches(&self, password: &str, hash: Option<String>) -> Result<bool> {
        if is_too_long(password) {
            return Ok(false);
        }
        let password = password.to_owned();
        let hash = hash.filter(|hash| !hash.is_empty());
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| DUMMY.to_owned());
        let matches = self
            .run(move || -> Result<bool> {
                if is_bcrypt(&hash) {
                    return Ok(bcrypt::verify(&password, &hash).unwrap_or(false));
                }
                let hash = PasswordHash::new(&hash)
                    .map_err(|error| Error::Internal(format!("a stored hash is bad: {error}")))?;
                Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
            })
            .await??;
        Ok(matches && known)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let busy = || Error::Busy { retry_after: Duration::from_secs(2) };
        let _place = self.queue.try_acquire().map_err(|_| busy())?;
        self.worked.fetch_add(1, Ordering::SeqCst);
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| busy())?;
        // The slot goes with the work: a caller who leaves does not make room for another hash
        // while this one still holds its memory.
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work()
        })
        .await
        .map_err(|error| Error::Internal(format!("hashing a password failed: {error}")))
    }
}

/// Whether the hash is one of bcrypt whose check does not take for ever.
pub(super) fn is_bcrypt(hash: &str) -> bool {
    BCRYPT_STARTS.iter().any(|start| {
        let cost = hash.strip_prefix(start).and_then(|rest| rest.get(..2)?.parse::<u32>().ok());
        cost.is_some_and(|cost| cost <= MAX_BCRYPT_COST)
    })
}

/// Whether a hash should be made anew once its password is known.
pub(super) fn is_outdated(hash: &str) -> bool {
    !hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")
}

/// Refuses passwords that are too short, too long or among the first that are guessed. `score`:
/// the least that zxcvbn must give, 0 to 4.
pub(super) fn check_strength(name: &str, password: &str, score: u8) -> Result<()> {
    let weak = |message: String| Err(Error::WeakPassword(message));
    if is_too_long(password) {
        return weak(format!("A password has at most {MAX_CHARACTERS} characters."));
    }
    if password.chars().count() < MIN_CHARACTERS {
        return weak(format!("A password has at least {MIN_CHARACTERS} characters."));
    }
    let lower = password.to_lowercase();
    if lower == name.trim().to_lowercase() {
        return weak("The password must not be the name.".to_owned());
    }
    let first = lower.chars().next();
    let repeats = lower.chars().all(|letter| Some(letter) == first);
    if repeats || COMMON.lines().any(|common| common == lower) {
        return weak("This password is one of the first that are guessed.".to_owned());
    }
    let judged: String = password.chars().take(JUDGED_CHARACTERS).collect();
    let estimate = zxcvbn::zxcvbn(&judged, &[name, "hearth"]);
    if u8::from(estimate.score()) < score {
        let advice = estimate.feedback().map(|feedback| match feedback.warning() {
            Some(warning) => format!(" {warning}"),
            None => feedback.suggestions().iter().map(|advice| format!(" {advice}")).collect(),
        });
        let advice = advice.unwrap_or_default();
        return weak(format!("This password is too easy to guess.{advice}"));
    }
    Ok(())
}

fn is_too_long(password: &str) -> bool {
    password.chars().nth(MAX_CHARACTERS).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_matches_its_password_alone() {
        let passwords = Passwords::new(2);
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(!hash.contains("correct"));
        assert!(passwords.matches("correct horse", Some(hash.clone())).await.unwrap());
        assert!(!passwords.matches("correct horsf", Some(hash.clone())).await.unwrap());
        assert_ne!(hash, passwords.hash("correct horse").await.unwrap(), "salted");
    }

    #[tokio::test]
    async fn an_unknown_name_costs_a_real_check() {
        let cost = |hash: &str| {
            let hash = PasswordHash::new(hash).unwrap();
            (hash.algorithm.to_string(), hash.version, hash.params.to_string())
        };
        let passwords = Passwords::new(1);
        let real = passwords.hash("correct horse").await.unwrap();
        assert_eq!(cost(DUMMY), cost(&real));
        assert!(!passwords.matches("correct horse", None).await.unwrap());
    }

    #[tokio::test]
    async fn a_long_password_is_wrong_before_it_is_hashed() {
        let passwords = Passwords::new(1);
        // A closed semaphore refuses every hash, so an answer shows that none was tried.
        passwords.slots.close();
        assert!(!passwords.matches(&"x".repeat(1 << 20), Some(String::new())).await.unwrap());
        assert!(passwords.matches("short", Some(String::new())).await.is_err());
    }

    #[tokio::test]
    async fn a_full_queue_is_busy() {
        let passwords = Passwords::new(1);
        let _all = passwords.queue.try_acquire_many(65).unwrap();
        assert!(matches!(passwords.hash("x").await, Err(Error::Busy { .. })));
    }

    #[test]
    fn trivial_passwords_are_refused() {
        for password in [
            "short",
            "ann.example",
            "ANN.EXAMPLE",
            "aaaaaaaaa",
            "password",
            "Password1",
            "12345678",
            "qwertyuiop12",
            "letmein2024",
        ] {
            let checked = check_strength("ann.example", password, 3);
            assert!(matches!(checked, Err(Error::WeakPassword(_))), "{password}");
        }
        assert!(check_strength("ann", &"x1".repeat(65), 3).is_err());
        check_strength("ann", "correct horse", 3).unwrap();
        check_strength("ann", "密码很长也不好猜哦", 3).unwrap();
        check_strength("ann", "qwertyuiop12", 0).unwrap();
    }

    #[tokio::test]
    async fn a_hash_of_bcrypt_matches_its_password_and_is_outdated() {
        let passwords = Passwords::new(1);
        // Made by Go's golang.org/x/crypto/bcrypt layout: cost 4 keeps the test quick.
        let hash = bcrypt::hash("old password", 4).unwrap();
        assert!(is_bcrypt(&hash) && is_outdated(&hash), "{hash}");
        assert!(passwords.matches("old password", Some(hash.clone())).await.unwrap());
        assert!(!passwords.matches("other", Some(hash)).await.unwrap());
        let damaged = "$2a$10$short".to_owned();
        assert!(!passwords.matches("x", Some(damaged)).await.unwrap());
        assert!(!is_bcrypt("$2a$31$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
        let new = passwords.hash("x").await.unwrap();
        assert!(!is_outdated(&new) && !is_bcrypt(&new));
    }
}
