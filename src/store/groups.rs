//! Rows of groups: people who share a wallet and budgets.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::Store;
use crate::text_list::{TextList, to_json};
use crate::users::UserId;

/// Most groups.
const MAX_GROUPS: i64 = 10_000;

/// Names a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupId(pub i64);

/// A group of people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Never used again for another group.
    pub id: GroupId,
    /// Unique, whatever its case.
    pub name: String,
    /// Names, or starts of names with `*`, of the models that its people may use; `None` is all.
    pub models: Option<Vec<String>>,
    /// Parts of what the engine computes that its people have against one of others; 1 to 100.
    pub weight: u16,
    /// Unix seconds.
    pub created_at: i64,
}

/// Changes of a group; `None` leaves a column as it is.
#[derive(Clone, Debug, Default)]
pub struct GroupChange {
    /// A new name.
    pub name: Option<String>,
    /// Other models, or `Some(None)` for all.
    pub models: Option<Option<Vec<String>>>,
    /// Another weight.
    pub weight: Option<u16>,
}

/// Questions about groups.
pub struct Groups<'a>(pub(crate) &'a Store);

impl Groups<'_> {
    /// Makes a group, or fails with [`Error::NameTaken`].
    pub async fn create(&self, name: String, created_at: i64) -> Result<Group> {
        self.create_with(name, GroupChange::default(), created_at).await
    }

    /// Makes a group and changes it, as one act.
    pub async fn create_with(
        &self,
        name: String,
        more: GroupChange,
        created_at: i64,
    ) -> Result<Group> {
        self.0
            .write(move |connection| {
                let id = insert(connection, &name, created_at)?.id;
                apply(connection, id, &more)
            })
            .await
    }

    /// Changes a group.
    pub async fn update(&self, id: GroupId, change: GroupChange) -> Result<Group> {
        self.0.write(move |connection| apply(connection, id, &change)).await
    }

    /// Deletes a group; its people are in none then.
    pub async fn delete(&self, id: GroupId) -> Result<()> {
        self.0
            .write(move |connection| {
                match connection
                    .prepare_cached("DELETE FROM groups WHERE id = ?1")?
                    .execute([id])?
                {
                    0 => Err(Error::NotFound),
                    _ => Ok(()),
                }
            })
            .await
    }

    /// The group with this id.
    pub async fn by_id(&self, id: GroupId) -> Result<Option<Group>> {
        self.0
            .read(move |connection| {
                let found = connection
                    .prepare_cached("SELECT * FROM groups WHERE id = ?1")?
                    .query_row([id], read_group)
                    .optional()?;
                Ok(found)
            })
            .await
    }

    /// All groups, in the order of their names.
    pub async fn list(&self) -> Result<Vec<Group>> {
        self.0
            .read(|connection| {
                let mut statement =
                    connection.prepare_cached("SELECT * FROM groups ORDER BY name_key LIMIT ?1")?;
                let groups: rusqlite::Result<Vec<Group>> =
                    statement.query_map([MAX_GROUPS], read_group)?.collect();
                Ok(groups?)
            })
            .await
    }

    /// The group with this name, whatever its case.
    pub async fn by_name(&self, name: &str) -> Result<Option<Group>> {
        let key = name.to_lowercase();
        self.0
            .read(move |connection| {
                let found = connection
                    .prepare_cached("SELECT * FROM groups WHERE name_key = ?1")?
                    .query_row([key], read_group)
                    .optional()?;
                Ok(found)
            })
            .await
    }

    /// Puts a user into a group, or into none; fails with [`Error::NotFound`].
    pub async fn put(&self, user: UserId, group: Option<GroupId>) -> Result<()> {
        self.0
            .write(move |connection| {
                let changed = connection
                    .prepare_cached("UPDATE users SET group_id = ?2 WHERE id = ?1")?
                    .execute((user, group))
                    .map_err(|error| match Error::from(error) {
                        error if error.is_foreign_key_violation() => Error::NotFound,
                        error => error,
                    })?;
                if changed == 1 { Ok(()) } else { Err(Error::NotFound) }
            })
            .await
    }

    /// The group that a user is in.
    pub async fn of_user(&self, user: UserId) -> Result<Option<Group>> {
        self.0
            .read(move |connection| {
                let found = connection
                    .prepare_cached(
                        "SELECT g.* FROM groups g JOIN users u ON u.group_id = g.id WHERE u.id = ?1",
                    )?
                    .query_row([user], read_group)
                    .optional()?;
                Ok(found)
            })
            .await
    }
}

pub(crate) fn insert(connection: &Connection, name: &str, created_at: i64) -> Result<Group> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM groups")?
        .query_row([], |row| row.get(0))?;
    if count >= MAX_GROUPS {
        return Err(Error::TooMany { what: "groups", limit: MAX_GROUPS as u64 });
    }
    connection
        .prepare_cached(
            "INSERT INTO groups (name, name_key, created_at) VALUES (?1, ?2, ?3) RETURNING *",
        )?
        .query_row((name, name.to_lowercase(), created_at), read_group)
        .map_err(name_taken)
}

fn apply(connection: &Connection, id: GroupId, change: &GroupChange) -> Result<Group> {
    let models = change.models.as_ref().and_then(Option::as_deref).map(to_json);
    let values = named_params! {
        ":id": id,
        ":name": change.name,
        ":name_key": change.name.as_ref().map(|name| name.to_lowercase()),
        ":set_models": change.models.is_some(),
        ":models": models,
        ":weight": change.weight,
    };
    let changed = connection
        .prepare_cached(
            "UPDATE groups SET
                 name = coalesce(:name, name),
                 name_key = coalesce(:name_key, name_key),
                 models = iif(:set_models, :models, models),
                 weight = coalesce(:weight, weight)
             WHERE id = :id RETURNING *",
        )?
        .query_row(values, read_group)
        .optional()
        .map_err(name_taken)?;
    changed.ok_or(Error::NotFound)
}

fn name_taken(error: rusqlite::Error) -> Error {
    match Error::from(error) {
        error if error.is_unique_violation() => Error::NameTaken,
        error => error,
    }
}

fn read_group(row: &Row<'_>) -> rusqlite::Result<Group> {
    Ok(Group {
        id: row.get("id")?,
        name: row.get("name")?,
        models: row.get::<_, Option<TextList>>("models")?.map(|list| list.0),
        weight: row.get("weight")?,
        created_at: row.get("created_at")?,
    })
}

impl ToSql for GroupId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for GroupId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<GroupId> {
        i64::column_result(value).map(GroupId)
    }
}
