//! The first user: by a one-time code in the browser, or by a secret from the environment.

use std::sync::PoisonError;

use hearth_store::{Act, Error as StoreError, NewApiToken, NewUser, UserId, UserRole};
use serde_json::Value;

use super::attempts::network_of;
use super::secrets::{self, Secret};
use super::{Accounts, SignedIn, Visit, names, passwords};
use crate::error::{Error, Result};

/// Name of the user that [`Accounts::bootstrap_root`] makes.
const ROOT: &str = "root";
/// Shortest and longest secret for [`Accounts::bootstrap_root`], in characters.
const ROOT_SECRET: std::ops::RangeInclusive<usize> = 16..=128;

impl Accounts {
    /// Whether there is no user yet, so that [`Accounts::setup`] is open.
    pub async fn setup_required(&self) -> Result<bool> {
        Ok(self.inner.store.users().is_empty().await?)
    }

    /// Makes the one-time code for the first setup, to be shown to whoever started the server;
    /// `None` if there is a user. A code made earlier is void.
    pub async fn begin_setup(&self) -> Result<Option<Secret>> {
        if !self.setup_required().await? {
            return Ok(None);
        }
        let code = secrets::new_setup_code();
        let hash = self.inner.keys.hash(&secrets::tidy_setup_code(code.reveal()));
        *self.inner.setup_code.lock().unwrap_or_else(PoisonError::into_inner) = Some(hash);
        Ok(Some(code))
    }

    /// Makes the first user, an admin, and signs them in.
    pub async fn setup(
        &self,
        code: &str,
        name: &str,
        password: &str,
        visit: impl Into<Visit>,
    ) -> Result<SignedIn> {
        let visit = visit.into();
        let peer = visit.address;
        if !self.setup_required().await? {
            return Err(StoreError::SetupDone.into());
        }
        let now = self.inner.clock.now();
        self.inner
            .by_address
            .take(network_of(peer), now)
            .and_then(|()| self.inner.at_setup.take((), now))
            .map_err(|retry_after| Error::TooManyAttempts { retry_after })?;
        if !self.is_setup_code(code) {
            return Err(Error::WrongSetupCode);
        }
        let name = names::parse(name)?;
        passwords::check_strength(&name, password, self.inner.config.password_score)?;
        let password = self.inner.passwords.hash(password).await?;
        let new = NewUser { name, password, role: UserRole::Admin, created_at: now };
        let act = Act {
            at: now,
            actor_id: None,
            actor: new.name.clone(),
            via: "setup code".to_owned(),
            address: peer.to_string(),
            action: "users.setup",
            target: format!("user {}", new.name),
            detail: Value::Null,
        };
        // Of two callers with the right code, the store lets one through.
        let user = self.inner.store.audited(act).users().create_first(new).await?;
        *self.inner.setup_code.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.start_session(user, "setup", visit).await
    }

    /// Makes the admin `root` with this password and an API token with exactly this secret, while
    /// there is no user; later it does nothing. So neither comes back after it was changed or
    /// deleted, and nobody else who is called root gets them.
    pub async fn bootstrap_root(&self, secret: &str) -> Result<()> {
        if !self.setup_required().await? {
            return Ok(());
        }
        if !ROOT_SECRET.contains(&secret.chars().count()) || secret.chars().any(char::is_control) {
            return Err(Error::WeakPassword(format!(
                "INITIAL_ROOT_TOKEN must have {} to {} characters, none of them control characters.",
                ROOT_SECRET.start(),
                ROOT_SECRET.end()
            )));
        }
        let created_at = self.inner.clock.now();
        let password = self.inner.passwords.hash(secret).await?;
        let root = NewUser { name: ROOT.to_owned(), password, role: UserRole::Admin, created_at };
        let token = NewApiToken {
            // The store puts the new user's id here.
            user_id: UserId(0),
            name: "INITIAL_ROOT_TOKEN".to_owned(),
            // The start of a secret that a person chose would give too much of it away.
            prefix: "…".to_owned(),
            hash: self.inner.keys.hash(secret),
            created_at,
            expires_at: None,
            models: None,
            allow_ips: None,
        };
        match self.inner.store.api_tokens().create_with_first_user(root, token).await {
            // Somebody has just finished the setup in a browser.
            Err(StoreError::SetupDone) => Ok(()),
            made => Ok(made.map(drop)?),
        }
    }

    fn is_setup_code(&self, code: &str) -> bool {
        let hash = *self.inner.setup_code.lock().unwrap_or_else(PoisonError::into_inner);
        let code = secrets::tidy_setup_code(code);
        hash.is_some_and(|hash| self.inner.keys.matches(&code, &hash))
    }
}
