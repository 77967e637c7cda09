//! Rows of people who may sign in.

mod types;

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use crate::error::{Error, Result};
use crate::page;
use crate::sessions::SessionHash;
use crate::store::Store;
use crate::text_list::TextList;

pub use types::{Credentials, NewUser, Theme, User, UserChange, UserId, UserRole};

/// Most users of one data directory.
const MAX_USERS: i64 = 100_000;

/// How many may administer.
struct Heads {
    admins: i64,
    owners: i64,
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
        self.0.write(move |connection| insert_bounded(connection, &user)).await
    }

    /// Makes a user with more than a name: what `more` says is theirs from the beginning.
    pub async fn create_with(&self, user: NewUser, more: UserChange) -> Result<User> {
        self.0
            .write(move |connection| {
                let id = insert_bounded(connection, &user)?.id;
                apply(connection, id, &more)?;
                find(connection, id)?.ok_or(Error::NotFound)
            })
            .await
    }

    /// Makes users, all or none, each with what more there is of them. A name that is taken is
    /// [`Error::RowRefused`], with the row's place.
    pub async fn create_all(&self, users: Vec<(NewUser, UserChange)>) -> Result<usize> {
        self.0
            .write(move |connection| {
                for (place, (user, more)) in users.iter().enumerate() {
                    let refused = |error: Error| match error {
                        Error::NameTaken => Error::RowRefused { row: place + 1 },
                        error => error,
                    };
                    let id = insert_bounded(connection, user).map_err(refused)?.id;
                    apply(connection, id, more)?;
                }
                Ok(users.len())
            })
            .await
    }

    /// Removes a user with all that is theirs but the books. As [`UserChange::by`] and
    /// [`Error::LastAdmin`] say, some cannot be.
    pub async fn remove(&self, id: UserId, by: Option<UserRole>) -> Result<()> {
        self.0
            .write(move |connection| {
                refuse_higher(connection, id, by)?;
                let before = Heads::count(connection)?;
                let removed =
                    connection.prepare_cached("DELETE FROM users WHERE id = ?1")?.execute([id])?;
                if removed == 0 {
                    return Err(Error::NotFound);
                }
                before.check(Heads::count(connection)?)
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
                    .prepare_cached(&select("u.name_key = ?1"))?
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
                let mut statement =
                    connection.prepare_cached(&select("u.id > ?1 ORDER BY u.id LIMIT ?2"))?;
                let users: rusqlite::Result<Vec<User>> =
                    statement.query_map((after, page::rows(limit)), read_user)?.collect();
                Ok(users?)
            })
            .await
    }

    /// Puts another hash of the same password in the place of an older one.
    pub async fn renew_password(&self, id: UserId, password: String) -> Result<()> {
        self.0
            .write(move |connection| {
                connection
                    .prepare_cached("UPDATE users SET password = ?2 WHERE id = ?1")?
                    .execute((id, password))?;
                Ok(())
            })
            .await
    }

    /// Changes a user. Fails with [`Error::LastAdmin`] if nobody could administer afterwards.
    pub async fn update(&self, id: UserId, change: UserChange) -> Result<User> {
        self.0
            .write(move |connection| {
                refuse_higher(connection, id, change.by)?;
                let before = Heads::count(connection)?;
                apply(connection, id, &change)?;
                before.check(Heads::count(connection)?)?;
                if change.password.is_some() || change.disabled == Some(true) {
                    end_sessions(connection, id, change.keep)?;
                }
                find(connection, id)?.ok_or(Error::NotFound)
            })
            .await
    }
}

impl Heads {
    fn count(connection: &Connection) -> Result<Heads> {
        let mut statement = connection.prepare_cached(
            "SELECT count(*), coalesce(sum(is_owner), 0) FROM users
             WHERE role = 'admin' AND NOT disabled",
        )?;
        Ok(statement.query_row([], |row| Ok(Heads { admins: row.get(0)?, owners: row.get(1)? }))?)
    }

    /// Refuses a change after which nobody would be left of those there were.
    fn check(&self, after: Heads) -> Result<()> {
        if self.admins > 0 && after.admins == 0 {
            return Err(Error::LastAdmin);
        }
        if self.owners > 0 && after.owners == 0 {
            return Err(Error::LastOwner);
        }
        Ok(())
    }
}

/// Makes the first user, for whoever does more in the same transaction.
pub(crate) fn insert_first(connection: &Connection, user: &NewUser) -> Result<User> {
    if count(connection)? > 0 {
        return Err(Error::SetupDone);
    }
    insert(connection, user)
}

pub(crate) fn insert_bounded(connection: &Connection, user: &NewUser) -> Result<User> {
    if count(connection)? >= MAX_USERS {
        return Err(Error::TooMany { what: "users", limit: MAX_USERS as u64 });
    }
    insert(connection, user)
}

/// Adds a row; the first admin is the owner.
pub(crate) fn insert(connection: &Connection, user: &NewUser) -> Result<User> {
    connection
        .prepare_cached(
            "INSERT INTO users (name, name_key, password, role, is_owner, created_at)
             VALUES (:name, :name_key, :password, iif(:rank > 0, 'admin', 'user'),
                     :rank = 2 OR (:rank = 1 AND NOT EXISTS (SELECT 1 FROM users WHERE is_owner)),
                     :created_at)",
        )?
        .execute(named_params! {
            ":name": user.name,
            ":name_key": name_key(&user.name),
            ":password": user.password,
            ":rank": rank(user.role),
            ":created_at": user.created_at,
        })
        .map_err(|error| match Error::from(error) {
            error if error.is_unique_violation() => Error::NameTaken,
            error => error,
        })?;
    let id = UserId(connection.last_insert_rowid());
    find(connection, id)?.ok_or(Error::NotFound)
}

/// Leaves users of a higher role alone.
fn refuse_higher(connection: &Connection, id: UserId, by: Option<UserRole>) -> Result<()> {
    let Some(by) = by else { return Ok(()) };
    let user = find(connection, id)?.ok_or(Error::NotFound)?;
    if user.role > by { Err(Error::Higher) } else { Ok(()) }
}

pub(crate) fn apply(connection: &Connection, id: UserId, change: &UserChange) -> Result<()> {
    // A flag beside each nullable column tells "leave it" from "set it to NULL".
    connection
        .prepare_cached(
            "UPDATE users SET
                 name = coalesce(:name, name),
                 name_key = coalesce(:name_key, name_key),
                 role = coalesce(iif(:rank > 0, 'admin', iif(:rank = 0, 'user', NULL)), role),
                 is_owner = coalesce(:rank = 2, is_owner),
                 disabled = coalesce(:disabled, disabled),
                 password = coalesce(:password, password),
                 theme = coalesce(:theme, theme),
                 language = iif(:set_language, :language, language),
                 default_model = iif(:set_model, :model, default_model),
                 email = iif(:set_email, :email, email),
                 group_id = iif(:set_group, :group, group_id)
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":id": id,
            ":name": change.name,
            ":name_key": change.name.as_deref().map(name_key),
            ":rank": change.role.map(rank),
            ":disabled": change.disabled,
            ":password": change.password,
            ":theme": change.theme,
            ":set_language": change.language.is_some(),
            ":language": change.language.as_ref().and_then(Option::as_ref),
            ":set_model": change.default_model.is_some(),
            ":model": change.default_model.as_ref().and_then(Option::as_ref),
            ":set_email": change.email.is_some(),
            ":email": change.email.as_ref().and_then(Option::as_ref),
            ":set_group": change.group_id.is_some(),
            ":group": change.group_id.flatten(),
        })
        .map_err(|error| match Error::from(error) {
            error if error.is_unique_violation() => Error::NameTaken,
            error if error.is_foreign_key_violation() => Error::NotFound,
            error => error,
        })
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

/// Users for whom `condition` holds, with what their group allows.
fn select(condition: &str) -> String {
    format!(
        "SELECT u.*, g.name AS group_name, g.models AS group_models,
                coalesce(g.weight, 1) AS group_weight
         FROM users u LEFT JOIN groups g ON g.id = u.group_id WHERE {condition}"
    )
}

/// The role as a number: 0, 1, 2.
fn rank(role: UserRole) -> i64 {
    role as i64
}

pub(crate) fn find(connection: &Connection, id: UserId) -> Result<Option<User>> {
    let found =
        connection.prepare_cached(&select("u.id = ?1"))?.query_row([id], read_user).optional()?;
    Ok(found)
}

fn read_user(row: &Row<'_>) -> rusqlite::Result<User> {
    let role = match (row.get::<_, String>("role")?.as_str(), row.get("is_owner")?) {
        ("admin", true) => UserRole::Owner,
        ("admin", false) => UserRole::Admin,
        _ => UserRole::User,
    };
    Ok(User {
        id: row.get("id")?,
        name: row.get("name")?,
        role,
        disabled: row.get("disabled")?,
        language: row.get("language")?,
        theme: row.get("theme")?,
        default_model: row.get("default_model")?,
        email: row.get("email")?,
        group_id: row.get("group_id")?,
        group: row.get("group_name")?,
        group_models: row.get::<_, Option<TextList>>("group_models")?.map(|list| list.0),
        group_weight: row.get("group_weight")?,
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
