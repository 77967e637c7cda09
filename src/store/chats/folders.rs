//! Folders of chats: names that a user sorts chats under.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use super::Chats;
use crate::error::{Error, Result};
use crate::users::UserId;

/// Most folders of one user.
const MAX_PER_USER: i64 = 500;

/// Names a folder: a UUID of version 7.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FolderId(pub String);

/// A folder of chats.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Folder {
    /// Names the folder.
    pub id: FolderId,
    /// What the list shows.
    pub name: String,
    /// Chats in it that are not put away.
    pub chats: i64,
    /// Unix seconds.
    pub created_at: i64,
}

impl Chats<'_> {
    /// The user's folders by name; the limit on folders bounds the list.
    pub async fn folders(&self, owner: UserId) -> Result<Vec<Folder>> {
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT f.*, (SELECT count(*) FROM chats c
                         WHERE c.folder_id = f.id AND NOT c.is_archived) AS chats
                     FROM chat_folders f WHERE f.user_id = ?1 ORDER BY f.name, f.id LIMIT ?2",
                )?;
                let folders: rusqlite::Result<Vec<Folder>> =
                    statement.query_map((owner, MAX_PER_USER), read)?.collect();
                Ok(folders?)
            })
            .await
    }

    /// Makes a folder.
    pub async fn add_folder(
        &self,
        owner: UserId,
        id: FolderId,
        name: String,
        created_at: i64,
    ) -> Result<Folder> {
        self.0
            .write(move |connection| {
                let owned: i64 = connection
                    .prepare_cached("SELECT count(*) FROM chat_folders WHERE user_id = ?1")?
                    .query_row([owner], |row| row.get(0))?;
                if owned >= MAX_PER_USER {
                    return Err(Error::TooMany { what: "folders", limit: MAX_PER_USER as u64 });
                }
                connection
                    .prepare_cached(
                        "INSERT INTO chat_folders (id, user_id, name, created_at)
                         VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute((&id, owner, name, created_at))?;
                find(connection, owner, &id)
            })
            .await
    }

    /// Gives a folder another name, or fails with [`Error::NotFound`].
    pub async fn rename_folder(&self, owner: UserId, id: FolderId, name: String) -> Result<Folder> {
        self.0
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE chat_folders SET name = ?3 WHERE id = ?1 AND user_id = ?2",
                    )?
                    .execute((&id, owner, name))?;
                find(connection, owner, &id)
            })
            .await
    }

    /// Deletes a folder, or fails with [`Error::NotFound`]. Its chats stay, outside of it.
    pub async fn delete_folder(&self, owner: UserId, id: FolderId) -> Result<()> {
        self.0
            .write(move |connection| {
                let deleted = connection
                    .prepare_cached("DELETE FROM chat_folders WHERE id = ?1 AND user_id = ?2")?
                    .execute((id, owner))?;
                if deleted == 0 { Err(Error::NotFound) } else { Ok(()) }
            })
            .await
    }
}

/// The user's folder with this id, or [`Error::NotFound`].
pub(super) fn find(connection: &Connection, owner: UserId, id: &FolderId) -> Result<Folder> {
    connection
        .prepare_cached(
            "SELECT f.*, (SELECT count(*) FROM chats c
                 WHERE c.folder_id = f.id AND NOT c.is_archived) AS chats
             FROM chat_folders f WHERE f.id = ?1 AND f.user_id = ?2",
        )?
        .query_row((id, owner), read)
        .optional()?
        .ok_or(Error::NotFound)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Folder> {
    Ok(Folder {
        id: row.get("id")?,
        name: row.get("name")?,
        chats: row.get("chats")?,
        created_at: row.get("created_at")?,
    })
}

impl ToSql for FolderId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for FolderId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<FolderId> {
        String::column_result(value).map(FolderId)
    }
}
