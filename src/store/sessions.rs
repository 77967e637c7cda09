//! Rows of signed-in browsers. The session's id itself is never here, only its hash.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, named_params};

use crate::error::Result;
use crate::store::Store;
use crate::users::{self, User, UserId};

/// Most sessions of one user; a further one ends the one unseen for longest.
const MAX_PER_USER: i64 = 50;
/// Most expired sessions that one sweep deletes.
const SWEPT: i64 = 1_000;

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
        self.0
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO sessions
                             (id_hash, user_id, created_at, last_seen_at, expires_at)
                         VALUES (:hash, :user, :created_at, :created_at, :expires_at)",
                    )?
                    .execute(named_params! {
                        ":hash": session.hash,
                        ":user": session.user_id,
                        ":created_at": session.created_at,
                        ":expires_at": session.expires_at,
                    })?;
                connection
                    .prepare_cached(
                        "DELETE FROM sessions WHERE id_hash IN (
                             SELECT id_hash FROM sessions WHERE user_id = ?1
                             ORDER BY last_seen_at DESC, id_hash = ?2 DESC LIMIT -1 OFFSET ?3)",
                    )?
                    .execute((session.user_id, session.hash, MAX_PER_USER))?;
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
                        "SELECT user_id, created_at, last_seen_at, expires_at
                         FROM sessions WHERE id_hash = ?1",
                    )?
                    .query_row([hash], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                    })
                    .optional()?;
                let Some((user_id, created_at, last_seen_at, expires_at)) = found else {
                    return Ok(None);
                };
                let user = users::owner(&snapshot, user_id)?;
                Ok(Some(Session { user, created_at, last_seen_at, expires_at }))
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
