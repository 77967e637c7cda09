//! Rows of what people keep to use again: prompts and presets, their own and shared ones.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::groups::GroupId;
use crate::store::Store;
use crate::users::UserId;

/// Most items of one user.
const MAX_PER_USER: i64 = 500;
/// Most items that one reader is shown.
const MAX_SHOWN: i64 = 2_000;

/// Names an item: a UUID of version 7.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShelfId(pub String);

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShelfKind {
    /// A text behind a command.
    Prompt,
    /// A model with its instructions and parameters.
    Preset,
}

/// Who sees an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// Its owner alone.
    Me,
    /// The members of [`ShelfItem::group_id`].
    Group,
    /// Everybody.
    All,
}

/// Something that is kept to be used again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShelfItem {
    /// Names the item.
    pub id: ShelfId,
    /// What it is.
    pub kind: ShelfKind,
    /// The command of a prompt, the title of a preset.
    pub name: String,
    /// An object; the server knows its fields.
    pub body: Value,
    /// Who sees it.
    pub audience: Audience,
    /// The group that sees it.
    pub group_id: Option<GroupId>,
    /// Whether the reader owns it.
    #[serde(rename = "mine")]
    pub is_mine: bool,
    /// Unix seconds.
    pub created_at: i64,
}

/// An item to be kept, or what an item becomes.
#[derive(Clone, Debug)]
pub struct NewShelfItem {
    /// Names the item.
    pub id: ShelfId,
    /// What it is.
    pub kind: ShelfKind,
    /// The command of a prompt, the title of a preset.
    pub name: String,
    /// An object.
    pub body: Value,
    /// Who sees it.
    pub audience: Audience,
    /// The group that sees it.
    pub group_id: Option<GroupId>,
    /// Unix seconds.
    pub created_at: i64,
}

/// Questions about prompts and presets.
pub struct Shelf<'a>(pub(crate) &'a Store);

impl Shelf<'_> {
    /// What this user may use, by name.
    pub async fn list(&self, reader: UserId) -> Result<Vec<ShelfItem>> {
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT *, user_id = ?1 AS is_mine FROM shelf_items
                     WHERE user_id = ?1 OR audience = 'all' OR (audience = 'group'
                         AND group_id = (SELECT group_id FROM users WHERE id = ?1))
                     ORDER BY name, id LIMIT ?2",
                )?;
                let items: rusqlite::Result<Vec<ShelfItem>> =
                    statement.query_map((reader, MAX_SHOWN), read)?.collect();
                Ok(items?)
            })
            .await
    }

    /// Keeps an item; one of the same kind and name is [`Error::NameTaken`].
    pub async fn add(&self, owner: UserId, new: NewShelfItem) -> Result<ShelfItem> {
        self.0
            .write(move |connection| {
                let owned: i64 = connection
                    .prepare_cached("SELECT count(*) FROM shelf_items WHERE user_id = ?1")?
                    .query_row([owner], |row| row.get(0))?;
                if owned >= MAX_PER_USER {
                    return Err(Error::TooMany { what: "items", limit: MAX_PER_USER as u64 });
                }
                let statement = "INSERT INTO shelf_items
                    (id, user_id, kind, name, body, audience, group_id, created_at)
                    VALUES (:id, :owner, :kind, :name, :body, :audience, :group, :created_at)";
                put(connection, owner, &new, statement)
            })
            .await
    }

    /// Makes the owner's item what `new` says, or fails with [`Error::NotFound`].
    pub async fn update(&self, owner: UserId, new: NewShelfItem) -> Result<ShelfItem> {
        self.0
            .write(move |connection| {
                // The time stays that of its making.
                let statement = "UPDATE shelf_items SET name = :name, body = :body,
                    audience = :audience, group_id = :group
                    WHERE id = :id AND user_id = :owner AND kind = :kind AND :created_at >= 0";
                put(connection, owner, &new, statement)
            })
            .await
    }

    /// Deletes the owner's item, or fails with [`Error::NotFound`].
    pub async fn delete(&self, owner: UserId, id: ShelfId) -> Result<()> {
        self.0
            .write(move |connection| {
                let deleted = connection
                    .prepare_cached("DELETE FROM shelf_items WHERE id = ?1 AND user_id = ?2")?
                    .execute((id, owner))?;
                if deleted == 0 { Err(Error::NotFound) } else { Ok(()) }
            })
            .await
    }
}

fn put(
    connection: &Connection,
    owner: UserId,
    new: &NewShelfItem,
    statement: &str,
) -> Result<ShelfItem> {
    let written = connection.prepare_cached(statement)?.execute(named_params! {
        ":id": new.id,
        ":owner": owner,
        ":kind": new.kind,
        ":name": new.name,
        ":body": new.body.to_string(),
        ":audience": new.audience,
        ":group": new.group_id,
        ":created_at": new.created_at,
    });
    match written.map_err(Error::from) {
        Ok(_) => {}
        Err(error) if error.is_unique_violation() => return Err(Error::NameTaken),
        Err(error) if error.is_foreign_key_violation() => return Err(Error::NotFound),
        Err(error) => return Err(error),
    }
    connection
        .prepare_cached(
            "SELECT *, TRUE AS is_mine FROM shelf_items WHERE id = ?1 AND user_id = ?2",
        )?
        .query_row((&new.id, owner), read)
        .optional()?
        .ok_or(Error::NotFound)
}

fn read(row: &Row<'_>) -> rusqlite::Result<ShelfItem> {
    let body: String = row.get("body")?;
    Ok(ShelfItem {
        id: row.get("id")?,
        kind: row.get("kind")?,
        name: row.get("name")?,
        body: serde_json::from_str(&body).unwrap_or(Value::Null),
        audience: row.get("audience")?,
        group_id: row.get("group_id")?,
        is_mine: row.get("is_mine")?,
        created_at: row.get("created_at")?,
    })
}

impl ToSql for ShelfId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for ShelfId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<ShelfId> {
        String::column_result(value).map(ShelfId)
    }
}

impl ToSql for ShelfKind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            ShelfKind::Prompt => "prompt",
            ShelfKind::Preset => "preset",
        }
        .into())
    }
}

impl FromSql for ShelfKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<ShelfKind> {
        match value.as_str()? {
            "prompt" => Ok(ShelfKind::Prompt),
            "preset" => Ok(ShelfKind::Preset),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for Audience {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Audience::Me => "me",
            Audience::Group => "group",
            Audience::All => "all",
        }
        .into())
    }
}

impl FromSql for Audience {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Audience> {
        match value.as_str()? {
            "me" => Ok(Audience::Me),
            "group" => Ok(Audience::Group),
            "all" => Ok(Audience::All),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}
