//! Passkeys: they sign their user in alone, or go with a password in the place of a code.
//!
//! Every use asks the authenticator to verify its user (a finger, a PIN), so a passkey is two
//! factors in one. The checks of WebAuthn themselves are the library's; here stand whose a passkey
//! is, that a challenge is answered once, and that the answer comes from our own pages.

use std::borrow::Borrow;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hearth_store::{Passkey, PasskeyRow, User, UserId};
use serde_json::{Value, json};
use webauthn_rp::bin::{Decode, Encode};
use webauthn_rp::request::auth::AuthenticationVerificationOptions;
use webauthn_rp::request::register::{
    CredProtect, Nickname, PublicKeyCredentialUserEntity, RegistrationVerificationOptions,
    UserHandle, Username,
};
use webauthn_rp::request::{
    ExtensionInfo, FixedCapHashSet, InsertResult, PublicKeyCredentialDescriptor, TimedCeremony,
};
use webauthn_rp::response::register::{CompressedPubKey, DynamicState, StaticState};
use webauthn_rp::response::{AuthTransports, CredentialId, SentChallenge};
use webauthn_rp::{
    AuthenticatedCredential, DiscoverableAuthentication, DiscoverableAuthenticationServerState,
    DiscoverableCredentialRequestOptions, PublicKeyCredentialCreationOptions, Registration,
    RegistrationServerState,
};

use super::attempts::network_of;
use super::secrets::Secret;
use super::site::Site;
use super::{Accounts, SignedIn, Visit};
use crate::caller::{Caller, Via};
use crate::error::{Error, Result};

/// Bytes that name a user to their authenticators; they say nothing of who it is.
const HANDLE_BYTES: usize = 32;
/// Most challenges that wait for an answer, of each kind; each waits five minutes at most.
const MAX_CEREMONIES: usize = 4_096;
/// When to come again if all of them wait.
const FULL_RETRY: Duration = Duration::from_secs(60);
/// Longest name of a passkey, in characters.
const MAX_NAME_CHARACTERS: usize = 64;
/// Longest answer of an authenticator, as JSON, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// A public key as it is stored.
type PublicKey = CompressedPubKey<[u8; 32], [u8; 32], [u8; 48], Vec<u8>>;

/// Challenges that wait for their answer. After a restart people begin anew.
pub(super) struct Ceremonies {
    registrations: Mutex<FixedCapHashSet<RegistrationServerState<HANDLE_BYTES>>>,
    sign_ins: Mutex<FixedCapHashSet<DiscoverableAuthenticationServerState>>,
}

impl Ceremonies {
    pub(super) fn new() -> Ceremonies {
        Ceremonies {
            registrations: Mutex::new(FixedCapHashSet::new(MAX_CEREMONIES)),
            sign_ins: Mutex::new(FixedCapHashSet::new(MAX_CEREMONIES)),
        }
    }
}

impl Accounts {
    /// Begins a passkey of the caller: what their browser is to ask its authenticator.
    pub async fn begin_passkey(&self, caller: &Caller, site: &Site) -> Result<Value> {
        let owner = self.require_own_session(caller)?;
        self.require_confirmed(caller)?;
        let handle = self.handle(owner);
        let known = self.inner.store.factors().passkeys_of(owner).await?;
        let known = known.iter().filter_map(|row| {
            let id = CredentialId::<Vec<u8>>::decode(hex::decode(&row.id).ok()?).ok()?;
            Some(PublicKeyCredentialDescriptor { id, transports: AuthTransports::decode(0).ok()? })
        });
        let name = Username::try_from(caller.name.as_str())
            .or_else(|_| Username::try_from("user"))
            .map_err(|error| fault(&error))?;
        let display_name = Nickname::try_from(caller.name.as_str()).ok();
        let user = PublicKeyCredentialUserEntity { name, id: &handle, display_name };
        let mut options =
            PublicKeyCredentialCreationOptions::passkey(&site.rp_id, user, known.collect());
        // Enforced, it makes browsers refuse all that cannot answer it: phones and the machine
        // itself. Each use is verified anyway.
        options.extensions.cred_protect =
            CredProtect::UserVerificationRequired(ExtensionInfo::AllowDontEnforceValue);
        let (ceremony, options) = options.start_ceremony().map_err(|error| fault(&error))?;
        keep(&self.inner.ceremonies.registrations, ceremony)?;
        serde_json::to_value(&options).map_err(|error| fault(&error))
    }

    /// Adds the passkey that the caller's authenticator has made.
    pub async fn add_passkey(
        &self,
        caller: &Caller,
        site: &Site,
        name: &str,
        answer: &Value,
    ) -> Result<PasskeyRow> {
        let owner = self.require_own_session(caller)?;
        self.require_confirmed(caller)?;
        let name = parse_name(name)?;
        let answer = answer_bytes(answer)?;
        let registration = Registration::from_json_relaxed(&answer).map_err(|_| unreadable())?;
        let challenge = registration.challenge_relaxed().map_err(|_| unreadable())?;
        let ceremony = take(&self.inner.ceremonies.registrations, challenge)?;
        let options = RegistrationVerificationOptions::<String, String> {
            allowed_origins: &site.origins,
            error_on_unsolicited_extensions: false,
            ..RegistrationVerificationOptions::default()
        };
        let made = ceremony.verify(&site.rp_id, &registration, &options);
        let made = made.map_err(|error| refused(&error))?;
        // A challenge is for the one who asked for it.
        if *made.user_id() != self.handle(owner) {
            return Err(stale());
        }
        let new = Passkey {
            credential_id: made.id().as_ref().to_vec(),
            user_id: owner,
            name: name.clone(),
            rp_id: site.name().to_owned(),
            public: made.static_state().encode().map_err(|error| fault(&error))?,
            state: made.dynamic_state().encode().map_err(|error| fault(&error))?.to_vec(),
            created_at: self.inner.clock.now(),
        };
        let id = hex::encode(&new.credential_id);
        let row = PasskeyRow {
            id: id.clone(),
            name: name.clone(),
            created_at: new.created_at,
            last_used_at: None,
            host: new.rp_id.clone(),
        };
        let target = format!("user {}", caller.name);
        let store = self.acting(caller, "me.passkeys.add", target, json!({ "name": name }));
        store.factors().add_passkey(new).await?;
        Ok(row)
    }

    /// The caller's passkeys, and whether their password needs one beside it.
    pub async fn passkeys(&self, caller: &Caller) -> Result<(Vec<PasskeyRow>, bool)> {
        let owner = caller.owner()?;
        let factors = self.inner.store.factors();
        Ok((factors.passkeys_of(owner).await?, factors.asks_passkey(owner).await?))
    }

    /// Gives a passkey of the caller another name.
    pub async fn rename_passkey(&self, caller: &Caller, id: &str, name: &str) -> Result<()> {
        let owner = self.require_own_session(caller)?;
        let name = parse_name(name)?;
        let detail = json!({ "id": id, "name": name });
        let target = format!("user {}", caller.name);
        let store = self.acting(caller, "me.passkeys.rename", target, detail);
        Ok(store.factors().rename_passkey(owner, id.to_ascii_lowercase(), name).await?)
    }

    /// Removes a passkey of the caller.
    pub async fn remove_passkey(&self, caller: &Caller, id: &str) -> Result<()> {
        let owner = self.require_own_session(caller)?;
        self.require_confirmed(caller)?;
        let target = format!("user {}", caller.name);
        let store = self.acting(caller, "me.passkeys.remove", target, json!({ "id": id }));
        Ok(store.factors().remove_passkey(owner, id.to_ascii_lowercase()).await?)
    }

    /// Asks for a passkey beside the caller's password from now on, or no longer; says the
    /// recovery codes that stand in for it.
    pub async fn ask_passkey(&self, caller: &Caller, asks: bool) -> Result<Vec<Secret>> {
        let owner = self.require_own_session(caller)?;
        self.require_confirmed(caller)?;
        let (codes, hashes) = match asks {
            true => {
                let (codes, hashes) = self.new_recovery_codes(owner);
                (codes, Some(hashes))
            }
            false => (Vec::new(), None),
        };
        let target = format!("user {}", caller.name);
        let store = self.acting(caller, "me.passkeys.ask", target, json!({ "on": asks }));
        store.factors().ask_passkey(owner, hashes).await?;
        Ok(codes)
    }

    /// Begins a proof by a passkey: what a browser is to ask its authenticator. It says nothing of
    /// who has one here.
    pub fn begin_passkey_proof(&self, site: &Site, peer: IpAddr) -> Result<Value> {
        let asked = self.inner.at_challenge.take(network_of(peer), self.inner.clock.now());
        asked.map_err(|retry_after| Error::TooManyAttempts { retry_after })?;
        let options = DiscoverableCredentialRequestOptions::passkey(&site.rp_id);
        let (ceremony, options) = options.start_ceremony().map_err(|error| fault(&error))?;
        keep(&self.inner.ceremonies.sign_ins, ceremony)?;
        serde_json::to_value(&options).map_err(|error| fault(&error))
    }

    /// Signs in whose passkey it is.
    pub async fn sign_in_by_passkey(
        &self,
        site: &Site,
        answer: &Value,
        visit: Visit,
    ) -> Result<SignedIn> {
        // Not by name: a key cannot be guessed, and nobody says whose it is.
        let network = network_of(visit.address);
        let attempt = self.inner.by_address.take(network, self.inner.clock.now());
        attempt.map_err(|retry_after| Error::TooManyAttempts { retry_after })?;
        let owner = self.passkey_owner(site, answer).await?;
        let user = self.inner.store.users().by_id(owner).await?;
        let user = user.filter(|user| !user.disabled).ok_or(Error::WrongCredentials)?;
        self.inner.by_address.give_back(&network);
        self.start_session(user, "passkey", visit).await
    }

    /// The caller proves again who they are, by a passkey.
    pub async fn confirm_by_passkey(
        &self,
        caller: &Caller,
        site: &Site,
        answer: &Value,
    ) -> Result<()> {
        let Via::Session(hash) = caller.via else {
            return Err(Error::Forbidden("Only a session can be confirmed.".to_owned()));
        };
        let owner = caller.owner()?;
        self.take_proof(owner)?;
        self.check_passkey(owner, site, answer).await?;
        self.inner.at_change.give_back(&owner);
        Ok(self.inner.store.sessions().confirm(hash, self.inner.clock.now()).await?)
    }

    /// Lets through whoever shows a passkey of this user.
    pub(super) async fn check_passkey(
        &self,
        user: UserId,
        site: &Site,
        answer: &Value,
    ) -> Result<()> {
        match self.passkey_owner(site, answer).await? {
            owner if owner == user => Ok(()),
            _ => Err(Error::WrongCredentials),
        }
    }

    /// Whether a code or a passkey must go with this user's password.
    pub(super) async fn asks_passkey(&self, user: &User) -> Result<bool> {
        Ok(self.inner.store.factors().asks_passkey(user.id).await?)
    }

    /// Whose passkey has answered a challenge of ours. Each challenge is answered once, right or
    /// wrong, and a counter that does not grow is a copied key.
    async fn passkey_owner(&self, site: &Site, answer: &Value) -> Result<UserId> {
        let answer = answer_bytes(answer)?;
        let shown = DiscoverableAuthentication::<HANDLE_BYTES>::from_json_relaxed(&answer);
        let shown = shown.map_err(|_| unreadable())?;
        let challenge = shown.challenge_relaxed().map_err(|_| unreadable())?;
        let ceremony = take(&self.inner.ceremonies.sign_ins, challenge)?;
        let id = shown.raw_id().as_ref().to_vec();
        let factors = self.inner.store.factors();
        let known = factors.passkey(id.clone()).await?.ok_or(Error::WrongCredentials)?;
        let handle = self.handle(known.user_id);
        let state = known.state.as_slice().try_into().map_err(|_| unusable(&known))?;
        let state = DynamicState::decode(state).map_err(|_| unusable(&known))?;
        let public = StaticState::<PublicKey>::decode(&known.public);
        let public = public.map_err(|_| unusable(&known))?;
        let key = AuthenticatedCredential::new(shown.raw_id(), &handle, public, state);
        let mut key = key.map_err(|_| unusable(&known))?;
        let options = AuthenticationVerificationOptions::<String, String> {
            allowed_origins: &site.origins,
            error_on_unsolicited_extensions: false,
            ..AuthenticationVerificationOptions::default()
        };
        let verified = ceremony.verify(&site.rp_id, &shown, &mut key, &options);
        verified.map_err(|error| {
            tracing::info!(%error, "a passkey was refused");
            Error::WrongCredentials
        })?;
        let after = key.dynamic_state().encode().map_err(|error| fault(&error))?.to_vec();
        // Of two answers with one counter the second comes from a copied key.
        let now = self.inner.clock.now();
        match factors.use_passkey(id, known.state, after, now).await? {
            true => Ok(known.user_id),
            false => Err(Error::WrongCredentials),
        }
    }

    /// Names a user to authenticators: the same for all time, and nobody else's.
    fn handle(&self, user: UserId) -> UserHandle<HANDLE_BYTES> {
        let bytes = self.inner.keys.hash(&format!("passkey|{}", user.0));
        let Ok(handle) = UserHandle::decode(bytes);
        handle
    }
}

/// The name that a user gives a passkey.
fn parse_name(name: &str) -> Result<String> {
    let name = name.trim();
    let is_plain = (1..=MAX_NAME_CHARACTERS).contains(&name.chars().count())
        && !name.chars().any(char::is_control);
    match is_plain {
        true => Ok(name.to_owned()),
        false => Err(Error::invalid("name", "A passkey's name has 1 to 64 characters.")),
    }
}

fn answer_bytes(answer: &Value) -> Result<Vec<u8>> {
    let bytes = serde_json::to_vec(answer).map_err(|_| unreadable())?;
    if bytes.len() > MAX_ANSWER_BYTES { Err(unreadable()) } else { Ok(bytes) }
}

/// Keeps a challenge until it is answered or has waited too long.
fn keep<C>(waiting: &Mutex<FixedCapHashSet<C>>, ceremony: C) -> Result<()>
where
    C: Borrow<SentChallenge> + Eq + Hash + TimedCeremony,
{
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    match waiting.insert_or_replace_all_expired(ceremony) {
        InsertResult::Success => Ok(()),
        InsertResult::CapacityFull | InsertResult::Duplicate => {
            Err(Error::TooManyAttempts { retry_after: FULL_RETRY })
        }
    }
}

/// Takes a challenge out: whoever answers it again finds nothing.
fn take<C>(waiting: &Mutex<FixedCapHashSet<C>>, challenge: SentChallenge) -> Result<C>
where
    C: Borrow<SentChallenge> + Eq + Hash,
{
    waiting.lock().unwrap_or_else(PoisonError::into_inner).take(&challenge).ok_or_else(stale)
}

fn unreadable() -> Error {
    Error::invalid("credential", "'credential' is not what an authenticator answers.")
}

/// The same whether the challenge was never ours, was answered before, or waited too long.
fn stale() -> Error {
    Error::Forbidden("This passkey's challenge is not open any more; begin again.".to_owned())
}

fn refused(error: &dyn std::error::Error) -> Error {
    tracing::info!(%error, "a new passkey was refused");
    Error::invalid("credential", "The authenticator's answer does not fit what it was asked here.")
}

fn unusable(known: &Passkey) -> Error {
    Error::Internal(format!("the passkey of user {} cannot be read", known.user_id.0))
}

fn fault(error: &dyn std::error::Error) -> Error {
    Error::Internal(format!("passkeys: {error}"))
}
