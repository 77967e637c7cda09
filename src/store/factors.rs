//! Rows of second factors: sealed seeds, hashes of recovery codes, public keys of passkeys.

use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::store::Store;
use crate::users::UserId;

/// Most passkeys of one user.
const MAX_PASSKEYS: i64 = 20;

/// A seed of codes that change with the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Factor {
    /// Sealed.
    pub seed: Vec<u8>,
    /// Whether a code has shown that its user has it.
    pub is_confirmed: bool,
    /// Codes of this step and of earlier ones are used up.
    pub last_step: i64,
}

/// A passkey, without its key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PasskeyRow {
    /// The credential's id, in hexadecimal digits.
    pub id: String,
    /// What its user calls it.
    pub name: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub last_used_at: Option<i64>,
    /// The server's name that it works under.
    pub host: String,
}

/// A passkey with all that is needed to check an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Passkey {
    /// The credential's id.
    pub credential_id: Vec<u8>,
    /// Whose it is.
    pub user_id: UserId,
    /// What its user calls it.
    pub name: String,
    /// The server's name that it works under.
    pub rp_id: String,
    /// The part that never changes.
    pub public: Vec<u8>,
    /// The part that changes with each use.
    pub state: Vec<u8>,
    /// Unix seconds.
    pub created_at: i64,
}

/// Questions about second factors and passkeys.
pub struct Factors<'a>(pub(crate) &'a Store);

impl Factors<'_> {
    /// The user's factor, confirmed or not.
    pub async fn of(&self, user: UserId) -> Result<Option<Factor>> {
        self.0
            .read(move |connection| {
                let found = connection
                    .prepare_cached("SELECT * FROM second_factors WHERE user_id = ?1")?
                    .query_row([user], read_factor)
                    .optional()?;
                Ok(found)
            })
            .await
    }

    /// Begins a factor, in the place of one that was not confirmed; one that was is
    /// [`Error::FactorExists`].
    pub async fn begin(&self, user: UserId, seed: Vec<u8>, created_at: i64) -> Result<()> {
        self.0
            .write(move |connection| {
                let begun = connection
                    .prepare_cached(
                        "INSERT INTO second_factors
                             (user_id, seed, is_confirmed, last_step, created_at)
                         VALUES (?1, ?2, 0, 0, ?3)
                         ON CONFLICT (user_id) DO UPDATE
                             SET seed = excluded.seed, created_at = excluded.created_at
                             WHERE NOT is_confirmed",
                    )?
                    .execute((user, seed, created_at))?;
                if begun == 0 { Err(Error::FactorExists) } else { Ok(()) }
            })
            .await
    }

    /// Confirms a factor with the code of this step, and puts new recovery codes in the place of
    /// all others.
    pub async fn confirm(&self, user: UserId, step: i64, codes: Vec<[u8; 32]>) -> Result<()> {
        self.0
            .write(move |connection| {
                let confirmed = connection
                    .prepare_cached(
                        "UPDATE second_factors SET is_confirmed = 1, last_step = ?2
                         WHERE user_id = ?1 AND NOT is_confirmed AND last_step < ?2",
                    )?
                    .execute((user, step))?;
                if confirmed == 0 {
                    return Err(Error::NotFound);
                }
                replace_codes(connection, user, &codes)
            })
            .await
    }

    /// Uses the code of a step up; `false` if it or a later one was used before.
    pub async fn use_step(&self, user: UserId, step: i64) -> Result<bool> {
        self.0
            .write(move |connection| {
                let used = connection
                    .prepare_cached(
                        "UPDATE second_factors SET last_step = ?2
                         WHERE user_id = ?1 AND is_confirmed AND last_step < ?2",
                    )?
                    .execute((user, step))?;
                Ok(used == 1)
            })
            .await
    }

    /// Uses a recovery code up; `false` if there is none like it.
    pub async fn use_code(&self, user: UserId, hash: [u8; 32]) -> Result<bool> {
        self.0
            .write(move |connection| {
                let used = connection
                    .prepare_cached("DELETE FROM recovery_codes WHERE user_id = ?1 AND hash = ?2")?
                    .execute((user, hash))?;
                Ok(used == 1)
            })
            .await
    }

    /// Puts new recovery codes in the place of all others.
    pub async fn replace_codes(&self, user: UserId, codes: Vec<[u8; 32]>) -> Result<()> {
        self.0.write(move |connection| replace_codes(connection, user, &codes)).await
    }

    /// Recovery codes that were not used.
    pub async fn codes_left(&self, user: UserId) -> Result<u32> {
        self.0
            .read(move |connection| {
                let count = connection
                    .prepare_cached("SELECT count(*) FROM recovery_codes WHERE user_id = ?1")?
                    .query_row([user], |row| row.get(0))?;
                Ok(count)
            })
            .await
    }

    /// Removes the factor, and the recovery codes if they stand in for nothing else; says whether
    /// there was one.
    pub async fn remove(&self, user: UserId) -> Result<bool> {
        self.0
            .write(move |connection| {
                let removed = connection
                    .prepare_cached("DELETE FROM second_factors WHERE user_id = ?1")?
                    .execute([user])?;
                drop_idle_codes(connection, user)?;
                Ok(removed == 1)
            })
            .await
    }

    /// Removes all that a user has beside the password, passkeys too; says whether there was
    /// anything.
    pub async fn remove_all(&self, user: UserId) -> Result<bool> {
        self.0
            .write(move |connection| {
                let mut removed = 0;
                for statement in [
                    "DELETE FROM second_factors WHERE user_id = ?1",
                    "DELETE FROM passkeys WHERE user_id = ?1",
                    "UPDATE users SET asks_passkey = 0 WHERE id = ?1 AND asks_passkey",
                ] {
                    removed += connection.prepare_cached(statement)?.execute([user])?;
                }
                drop_idle_codes(connection, user)?;
                Ok(removed > 0)
            })
            .await
    }

    /// Adds a passkey, or fails with [`Error::TooMany`].
    pub async fn add_passkey(&self, new: Passkey) -> Result<()> {
        self.0
            .write(move |connection| {
                let count: i64 = connection
                    .prepare_cached("SELECT count(*) FROM passkeys WHERE user_id = ?1")?
                    .query_row([new.user_id], |row| row.get(0))?;
                if count >= MAX_PASSKEYS {
                    return Err(Error::TooMany { what: "passkeys", limit: MAX_PASSKEYS as u64 });
                }
                connection
                    .prepare_cached(
                        "INSERT INTO passkeys
                             (credential_id, user_id, name, rp_id, public, state, created_at)
                         VALUES (:id, :user, :name, :rp_id, :public, :state, :at)",
                    )?
                    .execute(named_params! {
                        ":id": new.credential_id,
                        ":user": new.user_id,
                        ":name": new.name,
                        ":rp_id": new.rp_id,
                        ":public": new.public,
                        ":state": new.state,
                        ":at": new.created_at,
                    })
                    .map_err(|error| match Error::from(error) {
                        error if error.is_unique_violation() => Error::FactorExists,
                        error => error,
                    })?;
                Ok(())
            })
            .await
    }

    /// The user's passkeys, the oldest first.
    pub async fn passkeys_of(&self, user: UserId) -> Result<Vec<PasskeyRow>> {
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT lower(hex(credential_id)) AS id, name, created_at, last_used_at, rp_id
                     FROM passkeys WHERE user_id = ?1 ORDER BY created_at, credential_id LIMIT ?2",
                )?;
                let rows: rusqlite::Result<Vec<PasskeyRow>> =
                    statement.query_map((user, MAX_PASSKEYS), read_passkey_row)?.collect();
                Ok(rows?)
            })
            .await
    }

    /// The passkey with this credential id.
    pub async fn passkey(&self, credential_id: Vec<u8>) -> Result<Option<Passkey>> {
        self.0
            .read(move |connection| {
                let found = connection
                    .prepare_cached("SELECT * FROM passkeys WHERE credential_id = ?1")?
                    .query_row([credential_id], read_passkey)
                    .optional()?;
                Ok(found)
            })
            .await
    }

    /// Notes a passkey's use; `false` if somebody else's use came between.
    pub async fn use_passkey(
        &self,
        credential_id: Vec<u8>,
        before: Vec<u8>,
        state: Vec<u8>,
        used_at: i64,
    ) -> Result<bool> {
        self.0
            .write(move |connection| {
                let used = connection
                    .prepare_cached(
                        "UPDATE passkeys SET state = ?3, last_used_at = ?4
                         WHERE credential_id = ?1 AND state = ?2",
                    )?
                    .execute((credential_id, before, state, used_at))?;
                Ok(used == 1)
            })
            .await
    }

    /// Gives a passkey of this user another name, or fails with [`Error::NotFound`].
    pub async fn rename_passkey(&self, user: UserId, id: String, name: String) -> Result<()> {
        self.0
            .write(move |connection| {
                let renamed = connection
                    .prepare_cached(
                        "UPDATE passkeys SET name = ?3
                         WHERE user_id = ?1 AND lower(hex(credential_id)) = ?2",
                    )?
                    .execute((user, id, name))?;
                if renamed == 0 { Err(Error::NotFound) } else { Ok(()) }
            })
            .await
    }

    /// Whether this user's password needs a passkey, or a code, beside it.
    pub async fn asks_passkey(&self, user: UserId) -> Result<bool> {
        self.0
            .read(move |connection| {
                let asks = connection
                    .prepare_cached("SELECT asks_passkey FROM users WHERE id = ?1")?
                    .query_row([user], |row| row.get(0))
                    .optional()?;
                Ok(asks.unwrap_or(false))
            })
            .await
    }

    /// Asks for a passkey beside the password from now on, or no longer. Fails with
    /// [`Error::NotFound`] if there is none to ask for. Recovery codes come with it; without any
    /// second factor left, they go.
    pub async fn ask_passkey(&self, user: UserId, codes: Option<Vec<[u8; 32]>>) -> Result<()> {
        self.0
            .write(move |connection| {
                let changed = connection
                    .prepare_cached(
                        "UPDATE users SET asks_passkey = ?2 WHERE id = ?1
                             AND (NOT ?2 OR EXISTS (SELECT 1 FROM passkeys WHERE user_id = ?1))",
                    )?
                    .execute((user, codes.is_some()))?;
                match (changed, codes) {
                    (0, _) => Err(Error::NotFound),
                    (_, Some(codes)) => replace_codes(connection, user, &codes),
                    (_, None) => drop_idle_codes(connection, user),
                }
            })
            .await
    }

    /// Removes a passkey of this user, by its id in hexadecimal digits; else [`Error::NotFound`].
    pub async fn remove_passkey(&self, user: UserId, id: String) -> Result<()> {
        self.0
            .write(move |connection| {
                let removed = connection
                    .prepare_cached(
                        "DELETE FROM passkeys WHERE user_id = ?1 AND lower(hex(credential_id)) = ?2",
                    )?
                    .execute((user, id))?;
                if removed == 0 {
                    return Err(Error::NotFound);
                }
                // What is not there cannot be asked for.
                connection
                    .prepare_cached(
                        "UPDATE users SET asks_passkey = 0 WHERE id = ?1
                             AND NOT EXISTS (SELECT 1 FROM passkeys WHERE user_id = ?1)",
                    )?
                    .execute([user])?;
                drop_idle_codes(connection, user)
            })
            .await
    }
}

fn replace_codes(connection: &Connection, user: UserId, codes: &[[u8; 32]]) -> Result<()> {
    connection.prepare_cached("DELETE FROM recovery_codes WHERE user_id = ?1")?.execute([user])?;
    let mut insert =
        connection.prepare_cached("INSERT INTO recovery_codes (user_id, hash) VALUES (?1, ?2)")?;
    for code in codes {
        insert.execute((user, code))?;
    }
    Ok(())
}

/// Removes recovery codes that stand in for nothing.
fn drop_idle_codes(connection: &Connection, user: UserId) -> Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM recovery_codes WHERE user_id = ?1
                 AND NOT EXISTS (SELECT 1 FROM users WHERE id = ?1 AND asks_passkey)
                 AND NOT EXISTS (SELECT 1 FROM second_factors WHERE user_id = ?1 AND is_confirmed)",
        )?
        .execute([user])?;
    Ok(())
}

fn read_factor(row: &Row<'_>) -> rusqlite::Result<Factor> {
    Ok(Factor {
        seed: row.get("seed")?,
        is_confirmed: row.get("is_confirmed")?,
        last_step: row.get("last_step")?,
    })
}

fn read_passkey_row(row: &Row<'_>) -> rusqlite::Result<PasskeyRow> {
    Ok(PasskeyRow {
        id: row.get("id")?,
        name: row.get("name")?,
        created_at: row.get("created_at")?,
        last_used_at: row.get("last_used_at")?,
        host: row.get("rp_id")?,
    })
}

fn read_passkey(row: &Row<'_>) -> rusqlite::Result<Passkey> {
    Ok(Passkey {
        credential_id: row.get("credential_id")?,
        user_id: row.get("user_id")?,
        name: row.get("name")?,
        rp_id: row.get("rp_id")?,
        public: row.get("public")?,
        state: row.get("state")?,
        created_at: row.get("created_at")?,
    })
}
