//! People whom somebody else vouches for: an OpenID provider, a directory, a proxy.
//!
//! Whoever they are elsewhere is tied to one user here. A name alone ties nobody to an account
//! that has a password of its own: a provider must not be a way into it.

use hearth_store::{Act, Error as StoreError, Identity, NewUser, User, UserChange, UserRole};
use serde_json::json;

use super::users::parse_email;
use super::{Accounts, names};
use crate::error::{Error, Result};

/// Most groups of one person that are looked at.
const MAX_GROUPS: usize = 1_000;

/// Somebody whom a provider vouches for.
pub(super) struct Vouched {
    pub(super) identity: Identity,
    /// The name that they would like here.
    pub(super) name: String,
    pub(super) email: Option<String>,
    /// `None` if the provider says nothing of groups.
    pub(super) groups: Option<Vec<String>>,
}

/// What a provider's word is worth here.
pub(super) struct Trust<'a> {
    /// Makes accounts for people who have none.
    pub(super) creates_users: bool,
    /// Whose people are admins here.
    pub(super) admin_groups: &'a [String],
    /// Whose people come in at all; empty is everybody.
    pub(super) allowed_groups: &'a [String],
}

impl Accounts {
    /// The user whom a provider vouches for, as the provider's groups want them to be.
    pub(super) async fn vouched_user(&self, who: Vouched, trust: &Trust<'_>) -> Result<User> {
        let groups: Vec<String> =
            who.groups.iter().flatten().take(MAX_GROUPS).map(|group| tidy(group)).collect();
        let is_in = |wanted: &[String]| wanted.iter().any(|group| groups.contains(&tidy(group)));
        if !trust.allowed_groups.is_empty() && !is_in(trust.allowed_groups) {
            return Err(Error::Forbidden("Your groups do not let you in here.".to_owned()));
        }
        let role = (who.groups.is_some() && !trust.admin_groups.is_empty())
            .then(|| if is_in(trust.admin_groups) { UserRole::Admin } else { UserRole::User });
        let group_id = self.group_of(&groups).await?;
        let identities = self.inner.store.identities();
        if let Some(user) = identities.user(who.identity.clone()).await? {
            return self.follow(user, role, group_id, &who.identity.provider).await;
        }
        let name = names::parse(&who.name)?;
        let now = self.inner.clock.now();
        let act = |action| Act {
            at: now,
            actor_id: None,
            actor: name.clone(),
            via: who.identity.provider.clone(),
            address: String::new(),
            action,
            target: format!("user {name}"),
            detail: json!({ "subject": who.identity.subject }),
        };
        if let Some(known) = self.inner.store.users().credentials(&name).await? {
            if !known.password.is_empty() {
                return Err(Error::Conflict {
                    code: "name_taken",
                    message: "An account of this name exists here and signs in by its password."
                        .to_owned(),
                });
            }
            // An admin made this account for somebody who signs in elsewhere.
            let store = self.inner.store.audited(act("users.link"));
            store.identities().link(who.identity.clone(), known.user.id, now).await?;
            return self.follow(known.user, role, group_id, &who.identity.provider).await;
        }
        if !trust.creates_users {
            return Err(Error::Forbidden("You have no account here; ask an admin.".to_owned()));
        }
        let new = NewUser {
            name: name.clone(),
            // The hash of nobody: no password matches it.
            password: String::new(),
            role: role.unwrap_or(UserRole::User),
            created_at: now,
        };
        let more = UserChange {
            email: Some(who.email.and_then(|email| parse_email(email).ok())),
            group_id: Some(group_id),
            ..UserChange::default()
        };
        let store = self.inner.store.audited(act("users.create"));
        let made = store.identities().create_user(who.identity, new, more).await;
        made.map_err(|error| match error {
            StoreError::NameTaken => Error::Conflict {
                code: "name_taken",
                message: "An account of this name was made just now; try again.".to_owned(),
            },
            error => error.into(),
        })
    }

    /// Makes a user what the provider says now. Owners are left as they are.
    async fn follow(
        &self,
        user: User,
        role: Option<UserRole>,
        group_id: Option<hearth_store::GroupId>,
        provider: &str,
    ) -> Result<User> {
        if user.disabled {
            return Err(Error::WrongCredentials);
        }
        let role = role.filter(|role| user.role != UserRole::Owner && user.role != *role);
        let group = group_id.filter(|group| user.group_id != Some(*group));
        if role.is_none() && group.is_none() {
            return Ok(user);
        }
        let act = Act {
            at: self.inner.clock.now(),
            actor_id: Some(user.id),
            actor: user.name.clone(),
            via: provider.to_owned(),
            address: String::new(),
            action: "users.follow",
            target: format!("user {}", user.name),
            detail: json!({ "role": role, "group_id": group }),
        };
        let change = UserChange { role, group_id: group.map(Some), ..UserChange::default() };
        let followed = self.inner.store.audited(act).users().update(user.id, change).await?;
        self.inner.revocations.ring();
        Ok(followed)
    }

    /// The first of our groups that has the name of one of these.
    async fn group_of(&self, groups: &[String]) -> Result<Option<hearth_store::GroupId>> {
        if groups.is_empty() {
            return Ok(None);
        }
        let ours = self.inner.store.groups().list().await?;
        let found = ours.into_iter().find(|group| groups.contains(&tidy(&group.name)));
        Ok(found.map(|group| group.id))
    }
}

/// A group's name for comparing: of a directory's name its first part alone.
fn tidy(group: &str) -> String {
    let group = group.trim().to_lowercase();
    match group.strip_prefix("cn=") {
        Some(rest) => rest.split(',').next().unwrap_or_default().to_owned(),
        None => group,
    }
}
