//! The second factor: codes that change with the time (RFC 6238), and recovery codes.

use hearth_store::{SealedPlace, User, UserId};
use serde_json::json;
use totp_rs::{Builder, Totp};

use super::secrets::{self, Secret};
use super::{Accounts, Visit};
use crate::caller::{Caller, Via};
use crate::error::{Error, Result};

/// Bytes of a seed: 160 bits, as the RFC recommends for SHA-1.
const SEED_BYTES: usize = 20;
/// Recovery codes of one user.
const RECOVERY_CODES: usize = 10;
/// Who asks for the code, as authenticators show it.
const ISSUER: &str = "Hearth";
/// Longest code that is looked at, in bytes.
const MAX_CODE_BYTES: usize = 64;

/// A factor that waits for its first code.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// The seed for typing it in, base32.
    pub seed: Secret,
    /// The same as an address that authenticators read as a QR code.
    pub address: Secret,
}

/// What a user has beside the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondFactor {
    /// Whether a code is asked for at sign-in.
    pub is_on: bool,
    /// Recovery codes that were not used.
    pub codes_left: u32,
}

impl Accounts {
    /// Makes a seed for the caller's authenticator; it counts once a code confirms it.
    pub async fn begin_second_factor(&self, caller: &Caller) -> Result<Enrolment> {
        let owner = self.require_own_session(caller)?;
        self.require_confirmed(caller)?;
        let seed: [u8; SEED_BYTES] = rand::random();
        let sealed = self.inner.vault.seal(&place(owner), &seed)?;
        let now = self.inner.clock.now();
        self.inner.store.factors().begin(owner, sealed, now).await?;
        let totp = totp_of(&seed, &caller.name)?;
        let address = totp.to_url().map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Enrolment {
            seed: Secret::new(totp.secret().to_base32()),
            address: Secret::new(address),
        })
    }

    /// Turns the second factor on with its first code; returns recovery codes, shown this once.
    pub async fn confirm_second_factor(&self, caller: &Caller, code: &str) -> Result<Vec<Secret>> {
        let owner = self.require_own_session(caller)?;
        self.take_proof(owner)?;
        let factor = self.inner.store.factors().of(owner).await?.ok_or(Error::NotFound)?;
        let step = self.step_of(owner, &factor.seed, code)?.ok_or(Error::WrongCredentials)?;
        let (codes, hashes) = self.new_recovery_codes(owner);
        let target = format!("user {}", caller.name);
        let store = self.acting(caller, "me.second_factor.on", target, json!({}));
        store.factors().confirm(owner, step, hashes).await?;
        self.inner.at_change.give_back(&owner);
        Ok(codes)
    }

    /// Makes new recovery codes; the old ones are void.
    pub async fn renew_recovery_codes(&self, caller: &Caller) -> Result<Vec<Secret>> {
        let owner = self.require_own_session(caller)?;
        self.require_confirmed(caller)?;
        let asks_passkey = self.inner.store.factors().asks_passkey(owner).await?;
        if !asks_passkey && !self.second_factor(caller).await?.is_on {
            return Err(Error::NotFound);
        }
        let (codes, hashes) = self.new_recovery_codes(owner);
        let target = format!("user {}", caller.name);
        let store = self.acting(caller, "me.recovery_codes", target, json!({}));
        store.factors().replace_codes(owner, hashes).await?;
        Ok(codes)
    }

    /// Turns the caller's second factor off.
    pub async fn end_second_factor(&self, caller: &Caller) -> Result<()> {
        let owner = self.require_own_session(caller)?;
        self.require_confirmed(caller)?;
        let target = format!("user {}", caller.name);
        let store = self.acting(caller, "me.second_factor.off", target, json!({}));
        if store.factors().remove(owner).await? { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Turns somebody's second factor off who has lost it, and removes their passkeys; for admins.
    pub async fn reset_second_factor(&self, caller: &Caller, id: UserId) -> Result<()> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        self.require_confirmed(caller)?;
        let user = self.inner.store.users().by_id(id).await?.ok_or(Error::NotFound)?;
        caller.require_rank(user.role)?;
        let target = format!("user {}", user.name);
        let store = self.acting(caller, "users.second_factor.off", target, json!({}));
        if store.factors().remove_all(id).await? { Ok(()) } else { Err(Error::NotFound) }
    }

    /// What the caller has beside the password.
    pub async fn second_factor(&self, caller: &Caller) -> Result<SecondFactor> {
        let owner = caller.owner()?;
        let factors = self.inner.store.factors();
        let is_on = factors.of(owner).await?.is_some_and(|factor| factor.is_confirmed);
        Ok(SecondFactor { is_on, codes_left: factors.codes_left(owner).await? })
    }

    /// The caller proves again who they are, for what is dangerous: by the password and, where
    /// there is one, the second factor.
    pub async fn confirm_session(
        &self,
        caller: &Caller,
        password: &str,
        visit: Visit,
    ) -> Result<()> {
        let Via::Session(hash) = caller.via else {
            return Err(Error::Forbidden("Only a session can be confirmed.".to_owned()));
        };
        let owner = caller.owner()?;
        self.take_proof(owner)?;
        let found = self.inner.store.users().credentials(&caller.name).await?;
        let credentials = found.ok_or(Error::NotSignedIn)?;
        let is_right = self.inner.passwords.matches(password, Some(credentials.password.clone()));
        let is_right = match is_right.await? {
            true => true,
            false if credentials.password.is_empty() => {
                let user = &credentials.user;
                self.sign_in_by_directory(&user.name, password, Some(user)).await?.is_some()
            }
            false => false,
        };
        if !is_right {
            return Err(Error::WrongCredentials);
        }
        self.check_second_factor(&credentials.user, &visit).await?;
        self.inner.at_change.give_back(&owner);
        Ok(self.inner.store.sessions().confirm(hash, self.inner.clock.now()).await?)
    }

    /// Lets a user through who has no second factor, or shows it: a code, a recovery code or a
    /// passkey. Each is good once.
    pub(super) async fn check_second_factor(&self, user: &User, visit: &Visit) -> Result<()> {
        let factor = self.inner.store.factors().of(user.id).await?;
        let factor = factor.filter(|factor| factor.is_confirmed);
        if factor.is_none() && !self.asks_passkey(user).await? {
            return Ok(());
        }
        if let Some(shown) = &visit.passkey {
            return self.check_passkey(user.id, &shown.site, &shown.answer).await;
        }
        let code = visit.code.as_deref().ok_or(Error::SecondFactorRequired)?;
        if let Some(factor) = factor
            && let Some(step) = self.step_of(user.id, &factor.seed, code)?
        {
            return match self.inner.store.factors().use_step(user.id, step).await? {
                true => Ok(()),
                false => Err(Error::WrongCredentials),
            };
        }
        if code.len() > MAX_CODE_BYTES {
            return Err(Error::WrongCredentials);
        }
        let hash = self.hash_code(user.id, code);
        match self.inner.store.factors().use_code(user.id, hash).await? {
            true => Ok(()),
            false => Err(Error::WrongCredentials),
        }
    }

    /// The step whose code this is, if it is one of now.
    fn step_of(&self, user: UserId, sealed: &[u8], code: &str) -> Result<Option<i64>> {
        let code: String = code.chars().filter(|letter| *letter != ' ').take(7).collect();
        if code.len() != 6 || !code.bytes().all(|digit| digit.is_ascii_digit()) {
            return Ok(None);
        }
        let seed = self.inner.vault.unseal(&place(user), sealed)?;
        let now = u64::try_from(self.inner.clock.now()).unwrap_or(0);
        let step = totp_of(&seed, "")?.check(&code, now);
        Ok(step.and_then(|step| i64::try_from(step).ok()))
    }

    pub(super) fn new_recovery_codes(&self, user: UserId) -> (Vec<Secret>, Vec<[u8; 32]>) {
        let codes: Vec<Secret> = (0..RECOVERY_CODES).map(|_| secrets::new_setup_code()).collect();
        let hashes = codes.iter().map(|code| self.hash_code(user, code.reveal())).collect();
        (codes, hashes)
    }

    /// Codes are hashed with their user, so that equal ones of two users do not look equal.
    fn hash_code(&self, user: UserId, code: &str) -> [u8; 32] {
        let code = secrets::tidy_setup_code(code);
        self.inner.keys.hash(&format!("recovery|{}|{code}", user.0))
    }

    /// Limits guesses by whoever has a session but not its user's secrets.
    pub(super) fn take_proof(&self, owner: UserId) -> Result<()> {
        let now = self.inner.clock.now();
        self.inner
            .at_change
            .take(owner, now)
            .map_err(|retry_after| Error::TooManyAttempts { retry_after })
    }

    /// What belongs to a person alone is not changed by an API token.
    pub(super) fn require_own_session(&self, caller: &Caller) -> Result<UserId> {
        match caller.via {
            Via::Session(_) => caller.owner(),
            _ => Err(Error::Forbidden("Sign in to do this; no token may.".to_owned())),
        }
    }
}

fn place(user: UserId) -> SealedPlace {
    SealedPlace { table: "second_factors", column: "seed", row: user.0.to_string() }
}

/// Codes of six digits, a new one every 30 s; those before and after count too.
fn totp_of(seed: &[u8], name: &str) -> Result<Totp> {
    Builder::new()
        .with_secret(seed.to_vec())
        // A colon would end the issuer's name.
        .with_account_name(name.replace(':', " "))
        .with_issuer(Some(ISSUER))
        .build()
        .map_err(|error| Error::Internal(format!("a seed is of no use: {error}")))
}
