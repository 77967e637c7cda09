//! From credentials to callers: passwords, sessions, API tokens and the control secret.

use std::net::IpAddr;

use hearth_store::{ApiToken, NewSession, User};
use ipnet::IpNet;

use super::attempts::{neighbourhood_of, network_of};
use super::{Accounts, SignedIn, secrets};
use crate::caller::{Caller, Via};
use crate::error::{Error, Result};

/// Uses of a session or an API token are written down at most this often.
const TOUCH_INTERVAL_S: i64 = 60;
/// Longest name that is looked up at sign-in, in bytes: 64 characters of four.
const MAX_NAME_BYTES: usize = 256;
/// Longest secret that is hashed and looked up, in bytes.
const MAX_SECRET_BYTES: usize = 512;

impl Accounts {
    /// Checks a name and a password; wrong, unknown and disabled look and last the same.
    pub async fn sign_in(&self, name: &str, password: &str, peer: IpAddr) -> Result<SignedIn> {
        let now = self.inner.clock.now();
        let name = name.trim();
        if name.len() > MAX_NAME_BYTES {
            return Err(Error::WrongCredentials);
        }
        let (network, lower) = (network_of(peer), name.to_lowercase());
        let pair = (lower.clone(), neighbourhood_of(peer));
        self.inner
            .by_address
            .take(network, now)
            .and_then(|()| self.inner.by_name_and_network.take(pair.clone(), now))
            .and_then(|()| self.inner.by_name.take(lower.clone(), now))
            .map_err(|retry_after| Error::TooManyAttempts { retry_after })?;
        let found = self.inner.store.users().credentials(name).await?;
        let (user, hash) = match found {
            Some(credentials) => (Some(credentials.user), Some(credentials.password)),
            None => (None, None),
        };
        let is_right = self.inner.passwords.matches(password, hash).await?;
        match user {
            Some(user) if is_right && !user.disabled => {
                self.inner.by_address.give_back(&network);
                self.inner.by_name_and_network.give_back(&pair);
                self.inner.by_name.give_back(&lower);
                self.start_session(user).await
            }
            _ => Err(Error::WrongCredentials),
        }
    }

    /// Ends the session that the caller came with, if they came with one.
    pub async fn sign_out(&self, caller: &Caller) -> Result<()> {
        match caller.via {
            Via::Session(hash) => Ok(self.inner.store.sessions().delete(hash).await?),
            Via::ApiToken { .. } | Via::Operator => Ok(()),
        }
    }

    /// The caller behind a session's secret, or [`Error::NotSignedIn`].
    pub async fn caller_by_session(&self, secret: &str) -> Result<Caller> {
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
        Ok(caller_of(session.user, Via::Session(hash)))
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
        let found = tokens.by_hash(self.inner.keys.hash(secret)).await?;
        let (token, user) = found.ok_or(Error::NotSignedIn)?;
        let now = self.inner.clock.now();
        if user.disabled || token.expires_at.is_some_and(|expires_at| now >= expires_at) {
            return Err(Error::NotSignedIn);
        }
        if !is_allowed_from(&token, peer) {
            return Err(Error::Forbidden(
                "This API token may not be used from this address.".to_owned(),
            ));
        }
        if token.last_used_at.is_none_or(|used_at| now - used_at >= TOUCH_INTERVAL_S) {
            note_failure(tokens.touch(token.id, now).await);
        }
        let restricted =
            token.models.is_some() || token.allow_ips.is_some() || token.expires_at.is_some();
        Ok(caller_of(user, Via::ApiToken { id: token.id, models: token.models, restricted }))
    }

    /// Starts a session for a user who has proved who they are.
    pub(super) async fn start_session(&self, user: User) -> Result<SignedIn> {
        let (session, hash) = secrets::new_session();
        let now = self.inner.clock.now();
        let new = NewSession {
            hash,
            user_id: user.id,
            created_at: now,
            expires_at: now + i64::from(self.inner.config.session_max_s),
        };
        self.inner.store.sessions().create(new).await?;
        Ok(SignedIn { user, session })
    }
}

fn caller_of(user: User, via: Via) -> Caller {
    Caller { user_id: Some(user.id), name: user.name, role: user.role, via }
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
