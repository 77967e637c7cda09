//! What is known of people.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

use crate::groups::GroupId;
use crate::sessions::SessionHash;

/// Names a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub i64);

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserRole {
    /// Uses models and owns chats.
    User,
    /// Administers users and models too.
    Admin,
    /// An admin whom other admins cannot change. The first admin is one.
    Owner,
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
    /// Where messages for them go.
    pub email: Option<String>,
    /// The group that they are in.
    pub group_id: Option<GroupId>,
    /// Its name.
    pub group: Option<String>,
    /// As [`crate::Group::models`] of that group.
    #[serde(skip)]
    pub group_models: Option<Vec<String>>,
    /// The group's weight; 1 without a group.
    #[serde(skip)]
    pub group_weight: u16,
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
    /// Who changes it: a user of a higher role is left alone, with [`crate::Error::Higher`].
    pub by: Option<UserRole>,
    /// A new name.
    pub name: Option<String>,
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
    /// A new address, or `Some(None)` for none.
    pub email: Option<Option<String>>,
    /// A new group, or `Some(None)` for none.
    pub group_id: Option<Option<GroupId>>,
}

impl UserRole {
    /// As it stands in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            UserRole::User => "user",
            UserRole::Admin => "admin",
            UserRole::Owner => "owner",
        }
    }

    /// The role of this name.
    pub fn parse(name: &str) -> Option<UserRole> {
        [UserRole::User, UserRole::Admin, UserRole::Owner]
            .into_iter()
            .find(|role| role.as_str() == name)
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
