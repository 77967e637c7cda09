//! From credentials to callers: passwords, sessions, API tokens and the control secret.

use std::net::IpAddr;

use hearth_store::{ApiToken, NewSession, SessionOrigin, User};
use ipnet::IpNet;

use super::attempts::{neighbourhood_of, network_of};
use super::{Accounts, SignedIn, Visit, passwords, secrets};
use crate::caller::{Caller, Scope, Via};
use crate::error::{Error, Result};

/// Uses of a session or an API token are written down at most this often.
const TOUCH_INTERVAL_S: i64 = 60;
/// Longest name that is looked up at sign-in, in bytes: 64 characters of four.
const MAX_NAME_BYTES: usize = 256;
/// Longest secret that is hashed and looked up, in bytes.
const MAX_SECRET_BYTES: usize = 512;
/// Longest name of a browser that is kept, in characters.
const MAX_AGENT_CHARACTERS: usize = 256;

/// An attempt to sign in that was counted.
pub(super) struct Attempt {
    network: IpAddr,
    pair: (String, IpAddr),
    name: String,
}

impl Accounts {
    /// Checks a name, a password and, where the user has one, the second factor; wrong, unknown
    /// and disabled look and last the same.
    pub async fn sign_in(
        &self,
        name: &str,
        password: &str,
        visit: impl Into<Visit>,
    ) -> Result<SignedIn> {
        let visit = visit.into();
        let now = self.inner.clock.now();
        let name = name.trim();
        if name.len() > MAX_NAME_BYTES {
            return Err(Error::WrongCredentials);
        }
        let attempt = self.take_attempt(name, visit.address, now)?;
        let found = self.inner.store.users().credentials(name).await?;
        let (user, hash) = match found {
            Some(credentials) => (Some(credentials.user), Some(credentials.password)),
            None => (None, None),
        };
        let has_password = hash.as_ref().is_some_and(|hash| !hash.is_empty());
        let is_right = self.inner.passwords.matches(password, hash.clone()).await?;
        let user = match user {
            Some(user) if is_right && !user.disabled => user,
            // Nobody here, or somebody without a password here: the directory may know them.
            user if !has_password => {
                let known = self.sign_in_by_directory(name, password, user.as_ref()).await?;
                known.filter(|user| !user.disabled).ok_or(Error::WrongCredentials)?
            }
            // The directory is asked all the same: the time must not tell whose password is here.
            _ => {
                self.ask_directory_in_vain(name, password).await?;
                return Err(Error::WrongCredentials);
            }
        };
        match self.check_second_factor(&user, &visit).await {
            // The password was right: whoever has it only learns that a code is needed.
            Err(Error::SecondFactorRequired) => {
                self.give_back(&attempt);
                return Err(Error::SecondFactorRequired);
            }
            other => other?,
        }
        self.give_back(&attempt);
        if is_right && let Some(hash) = hash {
            self.renew_hash(&user, password, &hash).await;
        }
        let method = if is_right { "password" } else { "ldap" };
        self.start_session(user, method, visit).await
    }

    /// Counts an attempt to sign in as somebody, or says when there may be the next.
    pub(super) fn take_attempt(&self, name: &str, peer: IpAddr, now: i64) -> Result<Attempt> {
        let (network, name) = (network_of(peer), name.to_lowercase());
        let pair = (name.clone(), neighbourhood_of(peer));
        self.inner
            .by_address
            .take(network, now)
            .and_then(|()| self.inner.by_name_and_network.take(pair.clone(), now))
            .and_then(|()| self.inner.by_name.take(name.clone(), now))
            .map_err(|retry_after| Error::TooManyAttempts { retry_after })?;
        Ok(Attempt { network, pair, name })
    }

    /// Somebody proved to be right.
    pub(super) fn give_back(&self, attempt: &Attempt) {
        self.inner.by_address.give_back(&attempt.network);
        self.inner.by_name_and_network.give_back(&attempt.pair);
        self.inner.by_name.give_back(&attempt.name);
    }

    /// Hashes a password anew whose hash is of an older kind; it is known only now.
    async fn renew_hash(&self, user: &User, password: &str, hash: &str) {
        if !passwords::is_outdated(hash) {
            return;
        }
        let renewed = async {
            let hash = self.inner.passwords.hash(password).await?;
            Ok::<_, Error>(self.inner.store.users().renew_password(user.id, hash).await?)
        };
        if let Err(error) = renewed.await {
            tracing::warn!(%error, "a password's hash could not be renewed");
        }
    }

    /// Ends the session that the caller came with, if they came with one.
    pub async fn sign_out(&self, caller: &Caller) -> Result<()> {
        match caller.via {
            Via::Session(hash) => {
                self.inner.store.sessions().delete(hash).await?;
                self.inner.revocations.ring();
                Ok(())
            }
            Via::ApiToken { .. } | Via::Operator => Ok(()),
        }
    }

    /// The caller behind a session's secret, or [`Error::NotSignedIn`].
    pub async fn caller_by_session(&self, secret: &str, peer: IpAddr) -> Result<Caller> {
        let hash = secrets::parse_session(secret).ok_or(Error::NotSignedIn)?;
        let sessions = self.inner.store.sessions();
        let session = sessions.find(hash).await?.ok_or(Error::NotSignedIn)?;
        let now = self.inner.clock.now();
        let idle_s = now - session.last_seen_at;
        let has_ended =
            now >= session.expires_at || idle_s >= i64::from(self.inner.config.session_idle_s);
        if has_ended || session.user.disabled {
            return Err(Error::NotSignedIn);
        }
        if idle_s >= TOUCH_INTERVAL_S {
            note_failure(sessions.touch(hash, now).await);
        }
        let mut caller = caller_of(session.user, Via::Session(hash), peer);
        caller.scope.confirmed_at = session.confirmed_at;
        Ok(caller)
    }

    /// The caller behind `Authorization: Bearer`, `x-api-key` or their like: an API token or, on
    /// the same machine, the control secret.
    pub async fn caller_by_bearer(&self, secret: &str, peer: IpAddr) -> Result<Caller> {
        if secret.is_empty() || secret.len() > MAX_SECRET_BYTES {
            return Err(Error::NotSignedIn);
        }
        if self.inner.keys.is_control(secret) {
            let is_local = peer.to_canonical().is_loopback();
            return if is_local { Ok(Caller::operator()) } else { Err(Error::NotSignedIn) };
        }
        let tokens = self.inner.store.api_tokens();
        let found = tokens.by_secret(self.inner.keys.hash(secret)).await?;
        let found = found.ok_or(Error::NotSignedIn)?;
        let now = self.inner.clock.now();
        let is_over = found.is_old && found.token.old_expires_at.is_none_or(|end| now >= end);
        let (token, user) = (found.token, found.user);
        if is_over || !is_alive(&token, &user, now) {
            return Err(Error::NotSignedIn);
        }
        let in_group =
            |groups: &Vec<String>| user.group.as_ref().is_some_and(|g| groups.contains(g));
        if !token.groups.as_ref().is_none_or(in_group) {
            return Err(Error::Forbidden(
                "This API token is for a group that its owner is not in.".to_owned(),
            ));
        }
        if !is_allowed_from(&token, peer) {
            return Err(Error::Forbidden(
                "This API token may not be used from this address.".to_owned(),
            ));
        }
        if token.last_used_at.is_none_or(|used_at| now - used_at >= TOUCH_INTERVAL_S) {
            note_failure(tokens.touch(token.id, now).await);
        }
        let restricted = token.models.is_some()
            || token.allow_ips.is_some()
            || token.expires_at.is_some()
            || token.groups.is_some();
        let via = Via::ApiToken { id: token.id, models: token.models, restricted };
        Ok(caller_of(user, via, peer))
    }

    /// Starts a session for a user who has proved who they are.
    pub(super) async fn start_session(
        &self,
        user: User,
        method: &'static str,
        visit: Visit,
    ) -> Result<SignedIn> {
        let (session, hash) = secrets::new_session();
        let now = self.inner.clock.now();
        let new = NewSession {
            hash,
            user_id: user.id,
            created_at: now,
            expires_at: now + i64::from(self.inner.config.session_max_s),
        };
        let alert = self.new_network_alert(&user, method, visit.address, &hash.id()).await;
        let agent = visit.agent.map(|agent| agent.chars().take(MAX_AGENT_CHARACTERS).collect());
        let origin = SessionOrigin {
            method,
            address: Some(visit.address.to_string()),
            agent,
            network: Some(neighbourhood_of(visit.address).to_string()),
            alert,
        };
        let via_text = format!("{method} sign-in");
        let act = hearth_store::Act {
            at: now,
            actor_id: Some(user.id),
            actor: user.name.clone(),
            via: via_text,
            address: visit.address.to_string(),
            action: "session.start",
            target: format!("user {}", user.name),
            detail: serde_json::Value::Null,
        };
        let is_new = self.inner.store.audited(act).sessions().create_from(new, origin).await?;
        if is_new {
            let id = user.id.0;
            tracing::warn!(user.id = id, "a user signed in from a network that is new for them");
        }
        Ok(SignedIn { user, session })
    }
}

fn caller_of(user: User, via: Via, peer: IpAddr) -> Caller {
    let scope = Scope {
        address: Some(peer),
        group_id: user.group_id,
        group: user.group,
        models: user.group_models,
        weight: user.group_weight,
        confirmed_at: 0,
        notes: Default::default(),
    };
    Caller { user_id: Some(user.id), name: user.name, role: user.role, via, scope }
}

/// Whether neither the API token nor its owner has come to an end.
pub(super) fn is_alive(token: &ApiToken, user: &User, now: i64) -> bool {
    let has_ended = token.expires_at.is_some_and(|expires_at| now >= expires_at);
    !user.disabled && !token.disabled && !has_ended
}

/// A list that cannot be read allows nobody.
fn is_allowed_from(token: &ApiToken, peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    token.allow_ips.as_ref().is_none_or(|networks| {
        networks
            .iter()
            .any(|network| network.parse::<IpNet>().is_ok_and(|network| network.contains(&peer)))
    })
}

/// When something was last used is worth a warning, not a refused request.
fn note_failure(touched: hearth_store::Result<()>) {
    if let Err(error) = touched {
        tracing::warn!(%error, "cannot write down when a credential was used");
    }
}
