//! Rows of routes: how requests for a model, or of a group, find who answers. What the settings
//! mean is decided above.

use crate::error::{Error, Result};
use crate::groups::GroupId;
use crate::store::Store;

/// Most routes.
const MAX_ROUTES: i64 = 10_000;

/// How requests for one model are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRow {
    /// The model's public name.
    pub model: String,
    /// JSON.
    pub settings: String,
}

/// Questions about routes.
pub struct Routes<'a>(pub(crate) &'a Store);

impl Routes<'_> {
    /// Every route, in the order of their models.
    pub async fn list(&self) -> Result<Vec<RouteRow>> {
        self.0
            .read(|connection| {
                let mut statement = connection
                    .prepare_cached("SELECT model, settings FROM routes ORDER BY model LIMIT ?1")?;
                let rows: rusqlite::Result<Vec<RouteRow>> = statement
                    .query_map([MAX_ROUTES], |row| {
                        Ok(RouteRow { model: row.get(0)?, settings: row.get(1)? })
                    })?
                    .collect();
                Ok(rows?)
            })
            .await
    }

    /// Makes or replaces the route of a model.
    pub async fn set(&self, row: RouteRow, now: i64) -> Result<()> {
        self.0
            .write(move |connection| {
                let others: i64 = connection
                    .prepare_cached("SELECT count(*) FROM routes WHERE model <> ?1")?
                    .query_row([&row.model], |row| row.get(0))?;
                if others >= MAX_ROUTES {
                    return Err(Error::TooMany { what: "routes", limit: MAX_ROUTES as u64 });
                }
                connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO routes (model, settings, updated_at)
                         VALUES (?1, ?2, ?3)",
                    )?
                    .execute((row.model, row.settings, now))?;
                Ok(())
            })
            .await
    }

    /// Removes the route of a model, or fails with [`Error::NotFound`].
    pub async fn remove(&self, model: String) -> Result<()> {
        self.0
            .write(move |connection| {
                let removed = connection
                    .prepare_cached("DELETE FROM routes WHERE model = ?1")?
                    .execute([model])?;
                if removed == 1 { Ok(()) } else { Err(Error::NotFound) }
            })
            .await
    }

    /// The policies of groups that have one.
    pub async fn group_policies(&self) -> Result<Vec<(GroupId, String)>> {
        self.0
            .read(|connection| {
                let mut statement = connection
                    .prepare_cached("SELECT group_id, policy FROM group_policies ORDER BY 1")?;
                let rows: rusqlite::Result<Vec<(GroupId, String)>> =
                    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect();
                Ok(rows?)
            })
            .await
    }

    /// Sets the policy of a group, or takes it away; fails with [`Error::NotFound`].
    pub async fn set_group_policy(&self, group: GroupId, policy: Option<String>) -> Result<()> {
        self.0
            .write(move |connection| {
                let done = match policy {
                    Some(policy) => connection
                        .prepare_cached(
                            "INSERT OR REPLACE INTO group_policies (group_id, policy)
                             VALUES (?1, ?2)",
                        )?
                        .execute((group, policy)),
                    None => connection
                        .prepare_cached("DELETE FROM group_policies WHERE group_id = ?1")?
                        .execute([group]),
                };
                done.map_err(|error| match Error::from(error) {
                    error if error.is_foreign_key_violation() => Error::NotFound,
                    error => error,
                })?;
                Ok(())
            })
            .await
    }
}
