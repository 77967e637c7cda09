//! Invites: links with which people make their own account.

use hearth_store::{Invite, InviteId, NewInvite, NewUser, UserRole};
use serde_json::json;

use super::attempts::network_of;
use super::secrets::{self, Secret};
use super::{Accounts, SignedIn, Visit, names, passwords};
use crate::caller::Caller;
use crate::error::{Error, Result};

/// Most accounts that one invite makes.
const MAX_USES: u32 = 1_000;
/// Longest time that an invite is open: a year.
const MAX_LIFETIME_S: u32 = 366 * 24 * 60 * 60;
/// Longest secret that is looked up, in bytes.
const MAX_SECRET_BYTES: usize = 128;

/// An invite to be made.
#[derive(Clone, Debug)]
pub struct InviteWishes {
    /// What it is for; up to 64 characters.
    pub note: String,
    /// What the new users may do: user or admin.
    pub role: UserRole,
    /// Name of the group that they come into.
    pub group: Option<String>,
    /// Accounts that can be made with it.
    pub uses: u32,
    /// Seconds that it is open.
    pub lifetime_s: u32,
}

/// Somebody who follows an invite.
#[derive(Clone)]
pub struct Join {
    /// The secret of the link.
    pub secret: String,
    /// The name that they choose.
    pub name: String,
    /// The password that they choose.
    pub password: String,
}

impl Accounts {
    /// Makes an invite; its secret is shown this once. For admins.
    pub async fn create_invite(
        &self,
        caller: &Caller,
        wishes: InviteWishes,
    ) -> Result<(Invite, Secret)> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        caller.require_rank(wishes.role)?;
        if wishes.role == UserRole::Owner {
            return Err(Error::invalid("role", "An invite makes users or admins, no owners."));
        }
        if wishes.role != UserRole::User {
            self.require_confirmed(caller)?;
        }
        if !(1..=MAX_USES).contains(&wishes.uses) {
            return Err(Error::invalid("uses", format!("'uses' must be 1 to {MAX_USES}.")));
        }
        if !(60..=MAX_LIFETIME_S).contains(&wishes.lifetime_s) {
            let message = format!("'lifetime_s' must be 60 to {MAX_LIFETIME_S}.");
            return Err(Error::invalid("lifetime_s", message));
        }
        let note = match wishes.note.trim() {
            "" => String::new(),
            note => names::parse(note)?,
        };
        let group_id = match &wishes.group {
            Some(name) => Some(self.group_named(name).await?.id),
            None => None,
        };
        let secret = secrets::new_invite();
        let now = self.inner.clock.now();
        let new = NewInvite {
            hash: self.inner.keys.hash(secret.reveal()),
            note: note.clone(),
            role: wishes.role,
            group_id,
            max_uses: wishes.uses,
            expires_at: now + i64::from(wishes.lifetime_s),
            created_by: caller.name.clone(),
            created_at: now,
        };
        let detail = json!({
            "role": wishes.role, "group": wishes.group, "uses": wishes.uses,
            "expires_at": new.expires_at,
        });
        let store = self.acting(caller, "invites.create", format!("invite {note}"), detail);
        Ok((store.invites().create(new).await?, secret))
    }

    /// All invites, the newest first; for admins.
    pub async fn list_invites(&self, caller: &Caller) -> Result<Vec<Invite>> {
        caller.require_admin()?;
        Ok(self.inner.store.invites().list().await?)
    }

    /// Deletes an invite; for admins.
    pub async fn delete_invite(&self, caller: &Caller, id: InviteId) -> Result<()> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        let target = format!("invite {}", id.0);
        let store = self.acting(caller, "invites.delete", target, json!({}));
        Ok(store.invites().delete(id).await?)
    }

    /// Makes the account of somebody who follows an invite, and signs them in. A secret that is
    /// wrong, used up or too old is [`Error::NotFound`].
    pub async fn join(&self, join: Join, visit: Visit) -> Result<SignedIn> {
        let now = self.inner.clock.now();
        let network = network_of(visit.address);
        let too_many = |retry_after| Error::TooManyAttempts { retry_after };
        self.inner.by_address.take(network, now).map_err(too_many)?;
        if join.secret.len() > MAX_SECRET_BYTES {
            return Err(Error::NotFound);
        }
        let hash = self.inner.keys.hash(&join.secret);
        // Looked at first, so that nobody without an invite has a password hashed.
        let invite = self.inner.store.invites().by_hash(hash).await?;
        let is_open = |invite: &Invite| invite.uses_left > 0 && invite.expires_at > now;
        let invite = invite.filter(is_open).ok_or(Error::NotFound)?;
        self.inner.by_address.give_back(&network);
        let name = names::parse(&join.name)?;
        passwords::check_strength(&name, &join.password, self.inner.config.password_score)?;
        let password = self.inner.passwords.hash(&join.password).await?;
        let act = hearth_store::Act {
            at: now,
            actor_id: None,
            actor: name.clone(),
            via: format!("invite {}", invite.id.0),
            address: visit.address.to_string(),
            action: "users.join",
            target: format!("user {name}"),
            detail: json!({ "role": invite.role, "group": invite.group }),
        };
        // The store gives the invite's role; this one is the least, should that ever change.
        let user = NewUser { name, password, role: UserRole::User, created_at: now };
        let user = self.inner.store.audited(act).invites().accept(hash, user).await?;
        self.start_session(user, "invite", visit).await
    }
}
