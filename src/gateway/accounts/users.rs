//! What admins do with users, and users with themselves.

use hearth_store::{NewUser, Theme, User, UserChange, UserId, UserRole};
use serde_json::{Value, json};

use super::{Accounts, names, passwords};
use crate::caller::{Caller, Via};
use crate::error::{Error, Result};

/// Languages of the web app.
pub const LANGUAGES: [&str; 2] = ["en", "zh"];
/// Longest model name in a user's row, in bytes.
const MAX_MODEL_BYTES: usize = 256;
/// Longest address of e-mail, in bytes.
const MAX_EMAIL_BYTES: usize = 254;

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
    /// A new name.
    pub name: Option<String>,
    /// Where messages for them go.
    pub email: Option<Option<String>>,
    /// Name of their group.
    pub group: Option<Option<String>>,
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
    /// Another name.
    pub name: Option<String>,
    /// Where messages for them go.
    pub email: Option<Option<String>>,
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
            name: preferences.name.as_deref().map(names::parse).transpose()?,
            email: preferences.email.map(|email| email.map(parse_email).transpose()).transpose()?,
            ..UserChange::default()
        };
        if change.name.is_none() && change.email.is_none() {
            return Ok(self.inner.store.users().update(owner, change).await?);
        }
        // Who somebody is, and where their messages go, is no matter of taste.
        caller.require_unrestricted()?;
        let detail = json!({ "name": change.name, "email": change.email.clone().flatten() });
        let store = self.acting(caller, "me.update", format!("user {}", caller.name), detail);
        Ok(store.users().update(owner, change).await?)
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
        passwords::check_strength(&caller.name, new, self.inner.config.password_score)?;
        let keep = match caller.via {
            Via::Session(hash) => Some(hash),
            Via::ApiToken { .. } | Via::Operator => None,
        };
        let password = Some(self.inner.passwords.hash(new).await?);
        let change = UserChange { password, keep, ..UserChange::default() };
        let store = self.acting(caller, "me.password", format!("user {}", caller.name), json!({}));
        store.users().update(credentials.user.id, change).await?;
        self.inner.revocations.ring();
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
        self.create_user_with(caller, new, AccountChange::default()).await
    }

    /// Makes a user with more than a name; for admins.
    pub async fn create_user_with(
        &self,
        caller: &Caller,
        new: NewAccount,
        more: AccountChange,
    ) -> Result<User> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        caller.require_rank(new.role)?;
        if new.role != UserRole::User {
            self.require_confirmed(caller)?;
        }
        let name = names::parse(&new.name)?;
        let more = self.parse_account(AccountChange { password: None, ..more }, &name).await?;
        passwords::check_strength(&name, &new.password, self.inner.config.password_score)?;
        let password = self.inner.passwords.hash(&new.password).await?;
        let created_at = self.inner.clock.now();
        let user = NewUser { name, password, role: new.role, created_at };
        let mut detail = changed(&more);
        detail["role"] = json!(new.role);
        let store = self.acting(caller, "users.create", format!("user {}", user.name), detail);
        Ok(store.users().create_with(user, more).await?)
    }

    /// Changes a user; for admins. The last active admin stays one, and so does the last owner.
    pub async fn update_user(
        &self,
        caller: &Caller,
        id: UserId,
        change: AccountChange,
    ) -> Result<User> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        if let Some(role) = change.role {
            caller.require_rank(role)?;
        }
        if change.role.is_some() || change.password.is_some() || change.disabled.is_some() {
            self.require_confirmed(caller)?;
        }
        let user = self.inner.store.users().by_id(id).await?.ok_or(Error::NotFound)?;
        let change = self.parse_account(change, &user.name).await?;
        // Checked again by the store, in the transaction of the change.
        let change = UserChange { by: Some(caller.role), ..change };
        let target = format!("user {}", user.name);
        let store = self.acting(caller, "users.update", target, changed(&change));
        let user = store.users().update(id, change).await?;
        self.inner.revocations.ring();
        Ok(user)
    }

    /// Removes a user with all that is theirs but the books; for admins.
    pub async fn remove_user(&self, caller: &Caller, id: UserId) -> Result<()> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        self.require_confirmed(caller)?;
        let user = self.inner.store.users().by_id(id).await?.ok_or(Error::NotFound)?;
        let target = format!("user {}", user.name);
        let detail = json!({ "id": id, "role": user.role });
        let store = self.acting(caller, "users.remove", target, detail);
        store.users().remove(id, Some(caller.role)).await?;
        self.inner.revocations.ring();
        Ok(())
    }

    async fn parse_account(&self, change: AccountChange, name: &str) -> Result<UserChange> {
        let password = match change.password {
            None => None,
            Some(password) => {
                passwords::check_strength(name, &password, self.inner.config.password_score)?;
                Some(self.inner.passwords.hash(&password).await?)
            }
        };
        let group_id = match change.group {
            None => None,
            Some(None) => Some(None),
            Some(Some(name)) => Some(Some(self.group_named(&name).await?.id)),
        };
        Ok(UserChange {
            name: change.name.as_deref().map(names::parse).transpose()?,
            role: change.role,
            disabled: change.disabled,
            password,
            email: change.email.map(|email| email.map(parse_email).transpose()).transpose()?,
            group_id,
            ..UserChange::default()
        })
    }
}

/// An address that can stand in a message's head.
pub(super) fn parse_email(email: String) -> Result<String> {
    let email = email.trim();
    let has_parts = email
        .split_once('@')
        .is_some_and(|(who, host)| !who.is_empty() && !host.is_empty() && !host.contains('@'));
    let is_plain = email.chars().all(|letter| !letter.is_whitespace() && !letter.is_control());
    match has_parts && is_plain && email.len() <= MAX_EMAIL_BYTES {
        true => Ok(email.to_owned()),
        false => Err(Error::invalid("email", "'email' is no address of e-mail.")),
    }
}

/// What of a user was changed, for the audit log; of a password only that it was.
fn changed(change: &UserChange) -> Value {
    let mut detail = json!({});
    let fields = [
        ("name", change.name.as_ref().map(|name| json!(name))),
        ("role", change.role.map(|role| json!(role))),
        ("disabled", change.disabled.map(|disabled| json!(disabled))),
        ("password", change.password.as_ref().map(|_| json!("***"))),
        ("email", change.email.as_ref().map(|email| json!(email))),
        ("group_id", change.group_id.map(|group| json!(group))),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            detail[name] = value;
        }
    }
    detail
}
