//! Rows of rate limits: how fast users, API tokens, groups and models may be used. Who keeps to
//! them is counted above.

use rusqlite::named_params;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::Store;

/// Most rate limits.
const MAX_LIMITS: i64 = 10_000;

/// Whom a rate limit binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitKind {
    /// A person.
    User,
    /// An API token.
    Token,
    /// All people of a group together.
    Group,
    /// All who use a model together.
    Model,
}

/// How fast. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Calls in a minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens of prompts and answers in a minute.
    pub tokens_per_minute: Option<u32>,
    /// Calls at the same time.
    pub concurrent: Option<u32>,
}

/// A rate limit and whom it binds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RateLimitRow {
    /// What sort of holder.
    pub kind: LimitKind,
    /// An id, a model's name, or `*` for each that has no row of its own.
    pub holder: String,
    /// How fast.
    #[serde(flatten)]
    pub limit: RateLimit,
}

/// Questions about rate limits.
pub struct RateLimits<'a>(pub(crate) &'a Store);

impl RateLimits<'_> {
    /// Every rate limit.
    pub async fn list(&self) -> Result<Vec<RateLimitRow>> {
        self.0
            .read(|connection| {
                let mut statement = connection
                    .prepare_cached("SELECT * FROM rate_limits ORDER BY kind, holder LIMIT ?1")?;
                let rows: rusqlite::Result<Vec<RateLimitRow>> = statement
                    .query_map([MAX_LIMITS], |row| {
                        let limit = RateLimit {
                            requests_per_minute: row.get("requests_per_minute")?,
                            tokens_per_minute: row.get("tokens_per_minute")?,
                            concurrent: row.get("concurrent")?,
                        };
                        Ok(RateLimitRow {
                            kind: row.get("kind")?,
                            holder: row.get("holder")?,
                            limit,
                        })
                    })?
                    .collect();
                Ok(rows?)
            })
            .await
    }

    /// Sets a rate limit.
    pub async fn set(&self, row: RateLimitRow) -> Result<()> {
        self.0
            .write(move |connection| {
                let count: i64 = connection
                    .prepare_cached("SELECT count(*) FROM rate_limits")?
                    .query_row([], |row| row.get(0))?;
                if count >= MAX_LIMITS {
                    return Err(Error::TooMany { what: "rate limits", limit: MAX_LIMITS as u64 });
                }
                connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO rate_limits
                         VALUES (:kind, :holder, :requests, :tokens, :concurrent)",
                    )?
                    .execute(named_params! {
                        ":kind": row.kind, ":holder": row.holder,
                        ":requests": row.limit.requests_per_minute,
                        ":tokens": row.limit.tokens_per_minute,
                        ":concurrent": row.limit.concurrent,
                    })?;
                Ok(())
            })
            .await
    }

    /// Removes a rate limit, or fails with [`Error::NotFound`].
    pub async fn remove(&self, kind: LimitKind, holder: String) -> Result<()> {
        self.0
            .write(move |connection| {
                let removed = connection
                    .prepare_cached("DELETE FROM rate_limits WHERE kind = ?1 AND holder = ?2")?
                    .execute((kind, holder))?;
                if removed == 0 { Err(Error::NotFound) } else { Ok(()) }
            })
            .await
    }
}

impl LimitKind {
    /// As it stands in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            LimitKind::User => "user",
            LimitKind::Token => "token",
            LimitKind::Group => "group",
            LimitKind::Model => "model",
        }
    }
}

impl ToSql for LimitKind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for LimitKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<LimitKind> {
        match value.as_str()? {
            "user" => Ok(LimitKind::User),
            "token" => Ok(LimitKind::Token),
            "group" => Ok(LimitKind::Group),
            "model" => Ok(LimitKind::Model),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}
