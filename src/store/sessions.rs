//! Rows of signed-in browsers. The session's id itself is never here, only its hash.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, Row, named_params};
use serde::Serialize;

use crate::alerts::{self, NewAlert};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::users::{self, User, UserId};

/// Most sessions of one user; a further one ends the one unseen for longest.
const MAX_PER_USER: i64 = 50;
/// Most expired sessions that one sweep deletes.
const SWEPT: i64 = 1_000;

/// Most networks that are remembered of one user.
const MAX_NETWORKS: i64 = 100;
/// Hexadecimal digits of the hash that name a session in lists.
const ID_DIGITS: i64 = 16;

/// SHA-256 of a session's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionHash(pub [u8; 32]);

/// A signed-in browser.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Whose browser it is.
    pub user: User,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds, as of the last [`Sessions::touch`].
    pub last_seen_at: i64,
    /// Unix seconds; the session ends then, however much it is used.
    pub expires_at: i64,
    /// Unix seconds at which the user last proved who they are.
    pub confirmed_at: i64,
}

/// A session, as its user sees it in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionRow {
    /// Names it; says nothing of its secret.
    pub id: String,
    /// How it began: `password`, `passkey`, `oidc`, `ldap`, `proxy` or `setup`.
    pub method: String,
    /// Where it began.
    pub address: Option<String>,
    /// What the browser called itself.
    pub agent: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds, exact to a minute.
    pub last_seen_at: i64,
    /// Unix seconds.
    pub expires_at: i64,
}

/// Where and how a session begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionOrigin {
    /// As [`SessionRow::method`].
    pub method: &'static str,
    /// As [`SessionRow::address`].
    pub address: Option<String>,
    /// As [`SessionRow::agent`].
    pub agent: Option<String>,
    /// The network of the address, to be remembered as one of the user's.
    pub network: Option<String>,
    /// Written if that network is new for a user who has signed in before.
    pub alert: Option<NewAlert>,
}

/// A session to be made.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Hash of the id that only the browser knows.
    pub hash: SessionHash,
    /// Whose browser it is.
    pub user_id: UserId,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub expires_at: i64,
}

/// Questions about sessions.
pub struct Sessions<'a>(pub(crate) &'a Store);

impl Sessions<'_> {
    /// Makes a session; the user's least recently seen ones beyond the limit end.
    pub async fn create(&self, session: NewSession) -> Result<()> {
        self.create_from(session, SessionOrigin::default()).await.map(drop)
    }

    /// Makes a session that began like this. Says whether the user has signed in before, but
    /// never from this network.
    pub async fn create_from(&self, session: NewSession, origin: SessionOrigin) -> Result<bool> {
        self.0
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO sessions
                             (id_hash, user_id, created_at, last_seen_at, expires_at, confirmed_at,
                              method, address, agent)
                         VALUES (:hash, :user, :created_at, :created_at, :expires_at, :created_at,
                                 :method, :address, :agent)",
                    )?
                    .execute(named_params! {
                        ":hash": session.hash,
                        ":user": session.user_id,
                        ":created_at": session.created_at,
                        ":expires_at": session.expires_at,
                        ":method": origin.method,
                        ":address": origin.address,
                        ":agent": origin.agent,
                    })?;
                connection
                    .prepare_cached(
                        "DELETE FROM sessions WHERE id_hash IN (
                             SELECT id_hash FROM sessions WHERE user_id = ?1
                             ORDER BY last_seen_at DESC, id_hash = ?2 DESC LIMIT -1 OFFSET ?3)",
                    )?
                    .execute((session.user_id, session.hash, MAX_PER_USER))?;
                let is_new = match &origin.network {
                    Some(network) => is_new_network(connection, &session, network)?,
                    None => false,
                };
                if let Some(alert) = origin.alert.filter(|_| is_new) {
                    alerts::add(connection, &alert)?;
                }
                Ok(is_new)
            })
            .await
    }

    /// The user's sessions, the one last seen first.
    pub async fn list_of(&self, user: UserId) -> Result<Vec<SessionRow>> {
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT * FROM sessions WHERE user_id = ?1
                     ORDER BY last_seen_at DESC, created_at DESC LIMIT ?2",
                )?;
                let rows: rusqlite::Result<Vec<SessionRow>> =
                    statement.query_map((user, MAX_PER_USER), read_row)?.collect();
                Ok(rows?)
            })
            .await
    }

    /// Ends the session of this user that [`SessionRow::id`] names, or fails with
    /// [`Error::NotFound`].
    pub async fn end_of(&self, user: UserId, id: String) -> Result<()> {
        self.0
            .write(move |connection| {
                let ended = connection
                    .prepare_cached(
                        "DELETE FROM sessions WHERE user_id = ?1
                             AND lower(substr(hex(id_hash), 1, ?3)) = ?2",
                    )?
                    .execute((user, id, ID_DIGITS))?;
                if ended == 0 { Err(Error::NotFound) } else { Ok(()) }
            })
            .await
    }

    /// Ends all sessions of this user but `keep`; says how many.
    pub async fn end_all_of(&self, user: UserId, keep: Option<SessionHash>) -> Result<usize> {
        self.0
            .write(move |connection| {
                let ended = connection
                    .prepare_cached(
                        "DELETE FROM sessions WHERE user_id = ?1 AND id_hash IS NOT ?2",
                    )?
                    .execute((user, keep))?;
                Ok(ended)
            })
            .await
    }

    /// Notes that the user has proved again who they are.
    pub async fn confirm(&self, hash: SessionHash, at: i64) -> Result<()> {
        self.0
            .write(move |connection| {
                connection
                    .prepare_cached("UPDATE sessions SET confirmed_at = ?2 WHERE id_hash = ?1")?
                    .execute((hash, at))?;
                Ok(())
            })
            .await
    }

    /// The session with this hash, ended by time or not: that is the caller's to judge.
    pub async fn find(&self, hash: SessionHash) -> Result<Option<Session>> {
        self.0
            .read(move |connection| {
                // One snapshot for both rows: between them the user might be disabled.
                let snapshot = connection.unchecked_transaction()?;
                let found = snapshot
                    .prepare_cached(
                        "SELECT user_id, created_at, last_seen_at, expires_at, confirmed_at
                         FROM sessions WHERE id_hash = ?1",
                    )?
                    .query_row([hash], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
                    })
                    .optional()?;
                let Some((user_id, created_at, last_seen_at, expires_at, confirmed_at)) = found
                else {
                    return Ok(None);
                };
                let user = users::owner(&snapshot, user_id)?;
                Ok(Some(Session { user, created_at, last_seen_at, expires_at, confirmed_at }))
            })
            .await
    }

    /// Notes that the session was seen at this time.
    pub async fn touch(&self, hash: SessionHash, seen_at: i64) -> Result<()> {
        self.0
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE sessions SET last_seen_at = ?2
                         WHERE id_hash = ?1 AND last_seen_at < ?2",
                    )?
                    .execute((hash, seen_at))?;
                Ok(())
            })
            .await
    }

    /// Ends a session; nothing happens if it has ended.
    pub async fn delete(&self, hash: SessionHash) -> Result<()> {
        self.0
            .write(move |connection| {
                connection
                    .prepare_cached("DELETE FROM sessions WHERE id_hash = ?1")?
                    .execute([hash])?;
                Ok(())
            })
            .await
    }

    /// Deletes sessions that expired before `now` or were last seen before `seen_before`, a
    /// thousand at most; says how many.
    pub async fn sweep(&self, now: i64, seen_before: i64) -> Result<usize> {
        self.0
            .write(move |connection| {
                let swept = connection
                    .prepare_cached(
                        "DELETE FROM sessions WHERE id_hash IN (
                             SELECT id_hash FROM sessions
                             WHERE expires_at <= ?1 OR last_seen_at < ?2 LIMIT ?3)",
                    )?
                    .execute((now, seen_before, SWEPT))?;
                Ok(swept)
            })
            .await
    }
}

/// Remembers the network; says whether it is a new one of somebody who had others.
fn is_new_network(
    connection: &rusqlite::Connection,
    session: &NewSession,
    network: &str,
) -> Result<bool> {
    let (known, others): (bool, bool) = connection
        .prepare_cached(
            "SELECT coalesce(max(network = ?2), 0), count(*) > 0 FROM known_networks
             WHERE user_id = ?1",
        )?
        .query_row((session.user_id, network), |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection
        .prepare_cached(
            "INSERT INTO known_networks (user_id, network, seen_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (user_id, network) DO UPDATE SET seen_at = excluded.seen_at",
        )?
        .execute((session.user_id, network, session.created_at))?;
    connection
        .prepare_cached(
            "DELETE FROM known_networks WHERE user_id = ?1 AND network IN (
                 SELECT network FROM known_networks WHERE user_id = ?1
                 ORDER BY seen_at DESC, network = ?2 DESC LIMIT -1 OFFSET ?3)",
        )?
        .execute((session.user_id, network, MAX_NETWORKS))?;
    Ok(others && !known)
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    let hash: SessionHash = row.get("id_hash")?;
    Ok(SessionRow {
        id: hash.id(),
        method: row.get("method")?,
        address: row.get("address")?,
        agent: row.get("agent")?,
        created_at: row.get("created_at")?,
        last_seen_at: row.get("last_seen_at")?,
        expires_at: row.get("expires_at")?,
    })
}

impl SessionHash {
    /// As [`SessionRow::id`].
    pub fn id(&self) -> String {
        self.0[..ID_DIGITS as usize / 2].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl ToSql for SessionHash {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_slice().into())
    }
}

impl FromSql for SessionHash {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<SessionHash> {
        <[u8; 32]>::column_result(value).map(SessionHash)
    }
}
