//! Rows of who people are elsewhere: at an issuer of OpenID Connect, in a directory, at a proxy.

use rusqlite::{Connection, OptionalExtension};

use crate::error::{Error, Result};
use crate::store::Store;
use crate::users::{self, NewUser, User, UserChange, UserId};

/// Who somebody is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who says so: an issuer's address, `ldap` or `proxy`.
    pub provider: String,
    /// The name there that never changes its person.
    pub subject: String,
}

/// Questions about identities.
pub struct Identities<'a>(pub(crate) &'a Store);

impl Identities<'_> {
    /// The user who is this elsewhere.
    pub async fn user(&self, identity: Identity) -> Result<Option<User>> {
        self.0.read(move |connection| find(connection, &identity)).await
    }

    /// Makes a user who is this elsewhere, or fails with [`Error::NameTaken`].
    pub async fn create_user(
        &self,
        identity: Identity,
        user: NewUser,
        more: UserChange,
    ) -> Result<User> {
        self.0
            .write(move |connection| {
                let created_at = user.created_at;
                let id = users::insert_bounded(connection, &user)?.id;
                users::apply(connection, id, &more)?;
                insert(connection, &identity, id, created_at)?;
                users::find(connection, id)?.ok_or(Error::NotFound)
            })
            .await
    }

    /// Says of a user that they are this elsewhere.
    pub async fn link(&self, identity: Identity, user: UserId, at: i64) -> Result<()> {
        self.0.write(move |connection| insert(connection, &identity, user, at)).await
    }
}

fn find(connection: &Connection, identity: &Identity) -> Result<Option<User>> {
    let id: Option<UserId> = connection
        .prepare_cached("SELECT user_id FROM identities WHERE provider = ?1 AND subject = ?2")?
        .query_row((&identity.provider, &identity.subject), |row| row.get(0))
        .optional()?;
    id.map_or(Ok(None), |id| users::find(connection, id))
}

fn insert(connection: &Connection, identity: &Identity, user: UserId, at: i64) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO identities (provider, subject, user_id, created_at)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((&identity.provider, &identity.subject, user, at))
        .map_err(|error| match Error::from(error) {
            error if error.is_unique_violation() => Error::NameTaken,
            error => error,
        })?;
    Ok(())
}
