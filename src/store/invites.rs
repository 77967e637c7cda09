//! Rows of invites. The secret of an invite is never here, only its keyed hash.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::groups::GroupId;
use crate::store::Store;
use crate::users::{self, NewUser, User, UserChange, UserRole};

/// Most invites that are open or have ended at the same time.
const MAX_INVITES: i64 = 1_000;

/// Names an invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InviteId(pub i64);

/// A link with which people make their own account.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Invite {
    /// Never used again for another invite.
    pub id: InviteId,
    /// What it is for.
    pub note: String,
    /// What the new users may do.
    pub role: UserRole,
    /// The group that they come into.
    pub group_id: Option<GroupId>,
    /// Its name.
    pub group: Option<String>,
    /// Accounts that can still be made with it.
    pub uses_left: u32,
    /// Accounts that could be made in all.
    pub max_uses: u32,
    /// Unix seconds.
    pub expires_at: i64,
    /// Name of the admin who made it.
    pub created_by: String,
    /// Unix seconds.
    pub created_at: i64,
}

/// An invite to be made.
#[derive(Clone, Debug)]
pub struct NewInvite {
    /// Keyed hash of the secret.
    pub hash: [u8; 32],
    /// As [`Invite::note`].
    pub note: String,
    /// As [`Invite::role`]; an owner is made by hand alone.
    pub role: UserRole,
    /// As [`Invite::group_id`].
    pub group_id: Option<GroupId>,
    /// As [`Invite::max_uses`].
    pub max_uses: u32,
    /// As [`Invite::expires_at`].
    pub expires_at: i64,
    /// As [`Invite::created_by`].
    pub created_by: String,
    /// As [`Invite::created_at`].
    pub created_at: i64,
}

/// Questions about invites.
pub struct Invites<'a>(pub(crate) &'a Store);

impl Invites<'_> {
    /// Makes an invite; those that ended before it make room.
    pub async fn create(&self, new: NewInvite) -> Result<Invite> {
        self.0
            .write(move |connection| {
                connection
                    .prepare_cached("DELETE FROM invites WHERE expires_at <= ?1 OR uses_left = 0")?
                    .execute([new.created_at])?;
                let count: i64 = connection
                    .prepare_cached("SELECT count(*) FROM invites")?
                    .query_row([], |row| row.get(0))?;
                if count >= MAX_INVITES {
                    return Err(Error::TooMany { what: "invites", limit: MAX_INVITES as u64 });
                }
                insert(connection, &new)?;
                let id = InviteId(connection.last_insert_rowid());
                find(connection, "i.id = ?1", &id)?.ok_or(Error::NotFound)
            })
            .await
    }

    /// All invites, the newest first.
    pub async fn list(&self) -> Result<Vec<Invite>> {
        self.0
            .read(|connection| {
                let mut statement =
                    connection.prepare_cached(&select("1 ORDER BY i.id DESC LIMIT ?1"))?;
                let rows: rusqlite::Result<Vec<Invite>> =
                    statement.query_map([MAX_INVITES], read_invite)?.collect();
                Ok(rows?)
            })
            .await
    }

    /// The invite with this hash, ended or not: that is the caller's to judge.
    pub async fn by_hash(&self, hash: [u8; 32]) -> Result<Option<Invite>> {
        self.0.read(move |connection| find(connection, "i.hash = ?1", &hash.as_slice())).await
    }

    /// The invite with this id.
    pub async fn by_id(&self, id: InviteId) -> Result<Option<Invite>> {
        self.0.read(move |connection| find(connection, "i.id = ?1", &id)).await
    }

    /// Deletes an invite, or fails with [`Error::NotFound`].
    pub async fn delete(&self, id: InviteId) -> Result<()> {
        self.0
            .write(move |connection| {
                match connection
                    .prepare_cached("DELETE FROM invites WHERE id = ?1")?
                    .execute([id])?
                {
                    0 => Err(Error::NotFound),
                    _ => Ok(()),
                }
            })
            .await
    }

    /// Makes a user by the invite with this hash, whose role and group are the user's; takes one
    /// use. Fails with [`Error::NotFound`] if it is absent, has ended or is used up.
    pub async fn accept(&self, hash: [u8; 32], user: NewUser) -> Result<User> {
        self.0
            .write(move |connection| {
                let taken = connection
                    .prepare_cached(
                        "UPDATE invites SET uses_left = uses_left - 1
                         WHERE hash = ?1 AND uses_left > 0 AND expires_at > ?2",
                    )?
                    .execute((hash, user.created_at))?;
                if taken == 0 {
                    return Err(Error::NotFound);
                }
                let invite = find(connection, "i.hash = ?1", &hash.as_slice())?;
                let invite = invite.ok_or(Error::NotFound)?;
                let new = NewUser { role: invite.role, ..user };
                let id = users::insert(connection, &new)?.id;
                let more = UserChange { group_id: Some(invite.group_id), ..UserChange::default() };
                users::apply(connection, id, &more)?;
                users::find(connection, id)?.ok_or(Error::NotFound)
            })
            .await
    }
}

fn insert(connection: &Connection, new: &NewInvite) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO invites (hash, note, role, group_id, uses_left, max_uses, expires_at,
                                  created_by, created_at)
             VALUES (:hash, :note, iif(:is_admin, 'admin', 'user'), :group, :uses, :uses, :expires,
                     :by, :at)",
        )?
        .execute(named_params! {
            ":hash": new.hash,
            ":note": new.note,
            ":is_admin": new.role != UserRole::User,
            ":group": new.group_id,
            ":uses": new.max_uses,
            ":expires": new.expires_at,
            ":by": new.created_by,
            ":at": new.created_at,
        })
        .map_err(|error| match Error::from(error) {
            error if error.is_foreign_key_violation() => Error::NotFound,
            error => error,
        })?;
    Ok(())
}

fn select(condition: &str) -> String {
    format!(
        "SELECT i.*, g.name AS group_name
         FROM invites i LEFT JOIN groups g ON g.id = i.group_id WHERE {condition}"
    )
}

fn find(connection: &Connection, condition: &str, key: &dyn ToSql) -> Result<Option<Invite>> {
    let found =
        connection.prepare_cached(&select(condition))?.query_row([key], read_invite).optional()?;
    Ok(found)
}

fn read_invite(row: &Row<'_>) -> rusqlite::Result<Invite> {
    let role: String = row.get("role")?;
    Ok(Invite {
        id: row.get("id")?,
        note: row.get("note")?,
        role: if role == "admin" { UserRole::Admin } else { UserRole::User },
        group_id: row.get("group_id")?,
        group: row.get("group_name")?,
        uses_left: row.get("uses_left")?,
        max_uses: row.get("max_uses")?,
        expires_at: row.get("expires_at")?,
        created_by: row.get("created_by")?,
        created_at: row.get("created_at")?,
    })
}

impl ToSql for InviteId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for InviteId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<InviteId> {
        i64::column_result(value).map(InviteId)
    }
}
