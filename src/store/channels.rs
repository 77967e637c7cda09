//! Rows of channels: the remote providers that answer for models that are not hosted here. A
//! channel's keys are here only as sealed bytes; what its settings mean is decided above.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, named_params};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::Store;

/// Most channels.
const MAX_CHANNELS: i64 = 1_000;
/// Most keys of one channel.
const MAX_KEYS: i64 = 100;

/// Names a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelId(pub i64);

/// Names a key of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelKeyId(pub String);

/// A channel with all that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Never used again for another channel.
    pub id: ChannelId,
    /// What it is made of.
    pub row: NewChannel,
    /// In the order in which they were added.
    pub keys: Vec<ChannelKey>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
}

/// What a channel is made of, besides its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct NewChannel {
    /// Unique, whatever its case.
    pub name: String,
    /// Name of the kind of provider.
    pub preset: String,
    /// Where it is.
    pub base_url: String,
    /// Whether requests may go there.
    pub is_enabled: bool,
    /// Channels of a higher number come first.
    pub priority: i32,
    /// Share of the requests among channels of one priority.
    pub weight: u32,
    /// JSON.
    pub settings: String,
}

/// A key of a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelKey {
    /// Made above.
    pub id: ChannelKeyId,
    /// The key, sealed.
    pub sealed: Vec<u8>,
    /// The end of the key, to recognise it by.
    pub hint: String,
}

/// Questions about channels.
pub struct Channels<'a>(pub(crate) &'a Store);

impl Channels<'_> {
    /// Every channel, in the order of their ids, as of one moment.
    pub async fn list(&self) -> Result<Vec<Channel>> {
        self.0
            .read(|connection| {
                let snapshot = connection.unchecked_transaction()?;
                let mut channels = select(&snapshot)?;
                for channel in &mut channels {
                    channel.keys = keys_of(&snapshot, channel.id)?;
                }
                Ok(channels)
            })
            .await
    }

    /// Makes a channel, or fails with [`Error::NameTaken`].
    pub async fn create(
        &self,
        new: NewChannel,
        keys: Vec<ChannelKey>,
        now: i64,
    ) -> Result<ChannelId> {
        self.0
            .write(move |connection| {
                let count: i64 = connection
                    .prepare_cached("SELECT count(*) FROM channels")?
                    .query_row([], |row| row.get(0))?;
                if count >= MAX_CHANNELS {
                    return Err(Error::TooMany { what: "channels", limit: MAX_CHANNELS as u64 });
                }
                let id = connection
                    .prepare_cached(
                        "INSERT INTO channels (name, name_key, preset, base_url, is_enabled,
                             priority, weight, settings, created_at, updated_at)
                         VALUES (:name, :name_key, :preset, :base_url, :is_enabled, :priority,
                             :weight, :settings, :now, :now)
                         RETURNING id",
                    )?
                    .query_row(
                        named_params! {
                            ":name": new.name,
                            ":name_key": new.name.to_lowercase(),
                            ":preset": new.preset,
                            ":base_url": new.base_url,
                            ":is_enabled": new.is_enabled,
                            ":priority": new.priority,
                            ":weight": new.weight,
                            ":settings": new.settings,
                            ":now": now,
                        },
                        |row| row.get(0),
                    )
                    .map_err(name_taken)?;
                put_keys(connection, id, &keys, now)?;
                Ok(id)
            })
            .await
    }

    /// Replaces what a channel is made of, and its keys if there are new ones; fails with
    /// [`Error::NotFound`] or [`Error::NameTaken`].
    pub async fn replace(
        &self,
        id: ChannelId,
        new: NewChannel,
        keys: Option<Vec<ChannelKey>>,
        now: i64,
    ) -> Result<()> {
        self.0
            .write(move |connection| {
                let changed = connection
                    .prepare_cached(
                        "UPDATE channels SET name = :name, name_key = :name_key, preset = :preset,
                             base_url = :base_url, is_enabled = :is_enabled, priority = :priority,
                             weight = :weight, settings = :settings, updated_at = :now
                         WHERE id = :id",
                    )?
                    .execute(named_params! {
                        ":id": id,
                        ":name": new.name,
                        ":name_key": new.name.to_lowercase(),
                        ":preset": new.preset,
                        ":base_url": new.base_url,
                        ":is_enabled": new.is_enabled,
                        ":priority": new.priority,
                        ":weight": new.weight,
                        ":settings": new.settings,
                        ":now": now,
                    })
                    .map_err(name_taken)?;
                if changed == 0 {
                    return Err(Error::NotFound);
                }
                if let Some(keys) = keys {
                    connection
                        .prepare_cached("DELETE FROM channel_keys WHERE channel_id = ?1")?
                        .execute([id])?;
                    put_keys(connection, id, &keys, now)?;
                }
                Ok(())
            })
            .await
    }

    /// Adds a key to a channel, or fails with [`Error::NotFound`] or [`Error::TooMany`].
    pub async fn add_key(&self, id: ChannelId, key: ChannelKey, now: i64) -> Result<()> {
        self.0.write(move |connection| put_keys(connection, id, &[key], now)).await
    }

    /// Removes a key of a channel, or fails with [`Error::NotFound`].
    pub async fn remove_key(&self, id: ChannelId, key: ChannelKeyId) -> Result<()> {
        self.0
            .write(move |connection| {
                let removed = connection
                    .prepare_cached("DELETE FROM channel_keys WHERE channel_id = ?1 AND id = ?2")?
                    .execute((id, key.0))?;
                if removed == 1 { Ok(()) } else { Err(Error::NotFound) }
            })
            .await
    }

    /// Removes a channel and all that belongs to it, or fails with [`Error::NotFound`].
    pub async fn remove(&self, id: ChannelId) -> Result<()> {
        self.0
            .write(move |connection| {
                let removed = connection
                    .prepare_cached("DELETE FROM channels WHERE id = ?1")?
                    .execute([id])?;
                connection
                    .prepare_cached("DELETE FROM channel_prices WHERE channel_id = ?1")?
                    .execute([id])?;
                if removed == 1 { Ok(()) } else { Err(Error::NotFound) }
            })
            .await
    }
}

fn select(connection: &Connection) -> Result<Vec<Channel>> {
    let mut statement = connection.prepare_cached("SELECT * FROM channels ORDER BY id LIMIT ?1")?;
    let channels: rusqlite::Result<Vec<Channel>> =
        statement.query_map([MAX_CHANNELS], read_channel)?.collect();
    Ok(channels?)
}

fn read_channel(row: &Row<'_>) -> rusqlite::Result<Channel> {
    Ok(Channel {
        id: row.get("id")?,
        row: NewChannel {
            name: row.get("name")?,
            preset: row.get("preset")?,
            base_url: row.get("base_url")?,
            is_enabled: row.get("is_enabled")?,
            priority: row.get("priority")?,
            weight: row.get("weight")?,
            settings: row.get("settings")?,
        },
        keys: Vec::new(),
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

fn keys_of(connection: &Connection, id: ChannelId) -> Result<Vec<ChannelKey>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, sealed, hint FROM channel_keys WHERE channel_id = ?1
         ORDER BY created_at, id LIMIT ?2",
    )?;
    let keys: rusqlite::Result<Vec<ChannelKey>> = statement
        .query_map((id, MAX_KEYS), |row| {
            Ok(ChannelKey { id: ChannelKeyId(row.get(0)?), sealed: row.get(1)?, hint: row.get(2)? })
        })?
        .collect();
    Ok(keys?)
}

fn put_keys(connection: &Connection, id: ChannelId, keys: &[ChannelKey], now: i64) -> Result<()> {
    let known: i64 = connection
        .prepare_cached("SELECT count(*) FROM channel_keys WHERE channel_id = ?1")?
        .query_row([id], |row| row.get(0))?;
    if known + keys.len() as i64 > MAX_KEYS {
        return Err(Error::TooMany { what: "keys of this channel", limit: MAX_KEYS as u64 });
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO channel_keys (id, channel_id, sealed, hint, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for key in keys {
        statement.execute((&key.id.0, id, &key.sealed, &key.hint, now)).map_err(|error| {
            match Error::from(error) {
                error if error.is_foreign_key_violation() => Error::NotFound,
                error => error,
            }
        })?;
    }
    Ok(())
}

fn name_taken(error: rusqlite::Error) -> Error {
    match Error::from(error) {
        error if error.is_unique_violation() => Error::NameTaken,
        error => error,
    }
}

impl ToSql for ChannelId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for ChannelId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<ChannelId> {
        i64::column_result(value).map(ChannelId)
    }
}
