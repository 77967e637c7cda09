//! Rows of people who may sign in.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::page;
use crate::sessions::SessionHash;
use crate::store::Store;

/// Most users of one data directory.
const MAX_USERS: i64 = 100_000;

/// Names a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub i64);

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserRole {
    /// Uses models and owns chats.
    User,
    /// Administers users and models too.
    Admin,
}

/// How the web app looks for a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// As the user's system.
    #[default]
    System,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// A user, without the password. Serialized as Hearth's own API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct User {
    /// Never used again for another user.
    pub id: UserId,
    /// As it was written when the user was made.
    pub name: String,
    /// What the user may do.
    pub role: UserRole,
    /// A disabled user cannot sign in, and no session or API token of theirs works.
    pub disabled: bool,
    /// Language of the web app; `None` is the browser's.
    pub language: Option<String>,
    /// Look of the web app.
    pub theme: Theme,
    /// Model of new chats; `None` is the first on offer.
    pub default_model: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
}

/// A user to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Unique, whatever its case.
    pub name: String,
    /// The hash, as a PHC string.
    pub password: String,
    /// What the user may do.
    pub role: UserRole,
    /// Unix seconds.
    pub created_at: i64,
}

/// A user with the hash of the password, for checking it.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Whose password it is.
    pub user: User,
    /// The hash, as a PHC string.
    pub password: String,
}

/// Changes of a user; `None` leaves a column as it is.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// A new role.
    pub role: Option<UserRole>,
    /// Disables or enables; disabling ends the user's sessions.
    pub disabled: Option<bool>,
    /// A new hash, as a PHC string; it ends the user's sessions but [`UserChange::keep`].
    pub password: Option<String>,
    /// The session that a new password does not end.
    pub keep: Option<SessionHash>,
    /// A new language, or `Some(None)` for the browser's.
    pub language: Option<Option<String>>,
    /// A new look.
    pub theme: Option<Theme>,
    /// A new default model, or `Some(None)` for the first on offer.
    pub default_model: Option<Option<String>>,
}

/// Questions about users.
pub struct Users<'a>(pub(crate) &'a Store);

impl Users<'_> {
    /// Makes the first user, or fails with [`Error::SetupDone`] if there is any.
    ///
    /// All writes pass one thread, so of two callers at the same time one fails.
    pub async fn create_first(&self, user: NewUser) -> Result<User> {
        self.0.write(move |connection| insert_first(connection, &user)).await
    }

    /// Makes a user, or fails with [`Error::NameTaken`].
    pub async fn create(&self, user: NewUser) -> Result<User> {
        self.0
            .write(move |connection| {
                if count(connection)? >= MAX_USERS {
                    return Err(Error::TooMany { what: "users", limit: MAX_USERS as u64 });
                }
                insert(connection, &user)
            })
            .await
    }

    /// Whether there is no user yet.
    pub async fn is_empty(&self) -> Result<bool> {
        self.0.read(|connection| Ok(count(connection)? == 0)).await
    }

    /// The user with this id.
    pub async fn by_id(&self, id: UserId) -> Result<Option<User>> {
        self.0.read(move |connection| find(connection, id)).await
    }

    /// The user with this name, whatever its case.
    pub async fn by_name(&self, name: &str) -> Result<Option<User>> {
        Ok(self.credentials(name).await?.map(|credentials| credentials.user))
    }

    /// The user with this name, whatever its case, and the hash of the password.
    pub async fn credentials(&self, name: &str) -> Result<Option<Credentials>> {
        let key = name_key(name);
        self.0
            .read(move |connection| {
                let found = connection
                    .prepare_cached("SELECT * FROM users WHERE name_key = ?1")?
                    .query_row([key], |row| {
                        Ok(Credentials { user: read_user(row)?, password: row.get("password")? })
                    })
                    .optional()?;
                Ok(found)
            })
            .await
    }

    /// Users in the order of their ids, after `after`.
    pub async fn list(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>> {
        let after = after.map_or(0, |id| id.0);
        self.0
            .read(move |connection| {
                let mut statement = connection
                    .prepare_cached("SELECT * FROM users WHERE id > ?1 ORDER BY id LIMIT ?2")?;
                let users: rusqlite::Result<Vec<User>> =
                    statement.query_map((after, page::rows(limit)), read_user)?.collect();
                Ok(users?)
            })
            .await
    }

    /// Changes a user. Fails with [`Error::LastAdmin`] if nobody could administer afterwards.
    pub async fn update(&self, id: UserId, change: UserChange) -> Result<User> {
        self.0
            .write(move |connection| {
                let admins_before = count_active_admins(connection)?;
                apply(connection, id, &change)?;
                if admins_before > 0 && count_active_admins(connection)? == 0 {
                    return Err(Error::LastAdmin);
                }
                if change.password.is_some() || change.disabled == Some(true) {
                    end_sessions(connection, id, change.keep)?;
                }
                find(connection, id)?.ok_or(Error::NotFound)
            })
            .await
    }
}

/// Makes the first user, for whoever does more in the same transaction.
pub(crate) fn insert_first(connection: &Connection, user: &NewUser) -> Result<User> {
    if count(connection)? > 0 {
        return Err(Error::SetupDone);
    }
    insert(connection, user)
}

fn insert(connection: &Connection, user: &NewUser) -> Result<User> {
    connection
        .prepare_cached(
            "INSERT INTO users (name, name_key, password, role, created_at)
             VALUES (:name, :name_key, :password, :role, :created_at)",
        )?
        .execute(named_params! {
            ":name": user.name,
            ":name_key": name_key(&user.name),
            ":password": user.password,
            ":role": user.role,
            ":created_at": user.created_at,
        })
        .map_err(|error| match Error::from(error) {
            error if error.is_unique_violation() => Error::NameTaken,
            error => error,
        })?;
    let id = UserId(connection.last_insert_rowid());
    find(connection, id)?.ok_or(Error::NotFound)
}

fn apply(connection: &Connection, id: UserId, change: &UserChange) -> Result<()> {
    // A flag beside each nullable column tells "leave it" from "set it to NULL".
    connection
        .prepare_cached(
            "UPDATE users SET
                 role = coalesce(:role, role),
                 disabled = coalesce(:disabled, disabled),
                 password = coalesce(:password, password),
                 theme = coalesce(:theme, theme),
                 language = iif(:set_language, :language, language),
                 default_model = iif(:set_model, :model, default_model)
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":id": id,
            ":role": change.role,
            ":disabled": change.disabled,
            ":password": change.password,
            ":theme": change.theme,
            ":set_language": change.language.is_some(),
            ":language": change.language.as_ref().and_then(Option::as_ref),
            ":set_model": change.default_model.is_some(),
            ":model": change.default_model.as_ref().and_then(Option::as_ref),
        })
        .map_err(Error::from)
        .and_then(|changed| if changed == 1 { Ok(()) } else { Err(Error::NotFound) })
}

fn end_sessions(connection: &Connection, id: UserId, keep: Option<SessionHash>) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND id_hash IS NOT ?2")?
        .execute((id, keep))?;
    Ok(())
}

fn count(connection: &Connection) -> Result<i64> {
    let mut statement = connection.prepare_cached("SELECT count(*) FROM users")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

fn count_active_admins(connection: &Connection) -> Result<i64> {
    let mut statement = connection
        .prepare_cached("SELECT count(*) FROM users WHERE role = 'admin' AND NOT disabled")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

fn find(connection: &Connection, id: UserId) -> Result<Option<User>> {
    let found = connection
        .prepare_cached("SELECT * FROM users WHERE id = ?1")?
        .query_row([id], read_user)
        .optional()?;
    Ok(found)
}

fn read_user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get("id")?,
        name: row.get("name")?,
        role: row.get("role")?,
        disabled: row.get("disabled")?,
        language: row.get("language")?,
        theme: row.get("theme")?,
        default_model: row.get("default_model")?,
        created_at: row.get("created_at")?,
    })
}

/// Finds the user who owns a session or API token that was just found.
pub(crate) fn owner(connection: &Connection, id: UserId) -> Result<User> {
    find(connection, id)?.ok_or(Error::NotFound)
}

/// The name in the form in which it is unique.
fn name_key(name: &str) -> String {
    name.to_lowercase()
}

impl UserRole {
    /// As it stands in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            UserRole::User => "user",
            UserRole::Admin => "admin",
        }
    }
}

impl ToSql for UserId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for UserId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<UserId> {
        i64::column_result(value).map(UserId)
    }
}

impl ToSql for UserRole {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for UserRole {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<UserRole> {
        match value.as_str()? {
            "user" => Ok(UserRole::User),
            "admin" => Ok(UserRole::Admin),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for Theme {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = match self {
            Theme::System => "system",
            Theme::Light => "light",
            Theme::Dark => "dark",
        };
        Ok(text.into())
    }
}

impl FromSql for Theme {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Theme> {
        match value.as_str()? {
            "system" => Ok(Theme::System),
            "light" => Ok(Theme::Light),
            "dark" => Ok(Theme::Dark),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}
