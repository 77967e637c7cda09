//! What admins do with users, and users with themselves.

use hearth_store::{NewUser, Theme, User, UserChange, UserId, UserRole};

use super::{Accounts, names, passwords};
use crate::caller::{Caller, Via};
use crate::error::{Error, Result};

/// Languages of the web app.
pub const LANGUAGES: [&str; 2] = ["en", "zh"];
/// Longest model name in a user's row, in bytes.
const MAX_MODEL_BYTES: usize = 256;

/// A user to be made.
#[derive(Clone)]
pub struct NewAccount {
    /// 1 to 64 characters.
    pub name: String,
    /// What they may do.
    pub role: UserRole,
    /// 8 to 128 characters.
    pub password: String,
}

/// What an admin changes of a user; `None` leaves it.
#[derive(Clone, Default)]
pub struct AccountChange {
    /// A new role.
    pub role: Option<UserRole>,
    /// Disables or enables; disabling ends the user's sessions.
    pub disabled: Option<bool>,
    /// A new password; it ends the user's sessions.
    pub password: Option<String>,
}

/// What users change of themselves; `None` leaves it, `Some(None)` goes back to the default.
#[derive(Clone, Debug, Default)]
pub struct Preferences {
    /// One of [`LANGUAGES`].
    pub language: Option<Option<String>>,
    /// Look of the web app.
    pub theme: Option<Theme>,
    /// Model of new chats.
    pub default_model: Option<Option<String>>,
}

impl Accounts {
    /// The caller's own row, as it is now.
    pub async fn me(&self, caller: &Caller) -> Result<User> {
        self.inner.store.users().by_id(caller.owner()?).await?.ok_or(Error::NotSignedIn)
    }

    /// Changes the caller's own preferences.
    pub async fn update_me(&self, caller: &Caller, preferences: Preferences) -> Result<User> {
        let owner = caller.owner()?;
        if let Some(Some(language)) = &preferences.language
            && !LANGUAGES.contains(&language.as_str())
        {
            let message = format!("'language' must be null or one of {}.", LANGUAGES.join(", "));
            return Err(Error::invalid("language", message));
        }
        if let Some(Some(model)) = &preferences.default_model
            && !(1..=MAX_MODEL_BYTES).contains(&model.len())
        {
            return Err(Error::invalid("default_model", "'default_model' is no model's name."));
        }
        let change = UserChange {
            language: preferences.language,
            theme: preferences.theme,
            default_model: preferences.default_model,
            ..UserChange::default()
        };
        Ok(self.inner.store.users().update(owner, change).await?)
    }

    /// Changes the caller's own password; all their other sessions end. A wrong current
    /// password is [`Error::WrongCredentials`].
    pub async fn change_password(&self, caller: &Caller, current: &str, new: &str) -> Result<()> {
        caller.require_unrestricted()?;
        let owner = caller.owner()?;
        let now = self.inner.clock.now();
        // The same limit as at sign-in: a stolen session must not be a way to guess faster.
        self.inner
            .at_change
            .take(owner, now)
            .map_err(|retry_after| Error::TooManyAttempts { retry_after })?;
        let found = self.inner.store.users().credentials(&caller.name).await?;
        let credentials = found.ok_or(Error::NotSignedIn)?;
        if !self.inner.passwords.matches(current, Some(credentials.password)).await? {
            return Err(Error::WrongCredentials);
        }
        self.inner.at_change.give_back(&owner);
        passwords::check_strength(&caller.name, new)?;
        let keep = match caller.via {
            Via::Session(hash) => Some(hash),
            Via::ApiToken { .. } | Via::Operator => None,
        };
        let password = Some(self.inner.passwords.hash(new).await?);
        let change = UserChange { password, keep, ..UserChange::default() };
        self.inner.store.users().update(credentials.user.id, change).await?;
        Ok(())
    }

    /// Users in the order of their ids, after `after`; for admins.
    pub async fn list_users(
        &self,
        caller: &Caller,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<User>> {
        caller.require_admin()?;
        Ok(self.inner.store.users().list(after, limit).await?)
    }

    /// The user with this name; for admins.
    pub async fn user_by_name(&self, caller: &Caller, name: &str) -> Result<User> {
        caller.require_admin()?;
        self.inner.store.users().by_name(name.trim()).await?.ok_or(Error::NotFound)
    }

    /// Makes a user; for admins.
    pub async fn create_user(&self, caller: &Caller, new: NewAccount) -> Result<User> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        let name = names::parse(&new.name)?;
        passwords::check_strength(&name, &new.password)?;
        let password = self.inner.passwords.hash(&new.password).await?;
        let created_at = self.inner.clock.now();
        let user = NewUser { name, password, role: new.role, created_at };
        Ok(self.inner.store.users().create(user).await?)
    }

    /// Changes a user; for admins. The last active admin stays one.
    pub async fn update_user(
        &self,
        caller: &Caller,
        id: UserId,
        change: AccountChange,
    ) -> Result<User> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        let password = match change.password {
            None => None,
            Some(password) => {
                let user = self.inner.store.users().by_id(id).await?.ok_or(Error::NotFound)?;
                passwords::check_strength(&user.name, &password)?;
                Some(self.inner.passwords.hash(&password).await?)
            }
        };
        let change = UserChange {
            role: change.role,
            disabled: change.disabled,
            password,
            ..UserChange::default()
        };
        Ok(self.inner.store.users().update(id, change).await?)
    }
}
