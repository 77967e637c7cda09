//! Rows of API tokens. The secret itself is never here, only its keyed hash.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, named_params};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::page;
use crate::store::Store;
use crate::text_list::{TextList, to_json};
use crate::users::{self, NewUser, User, UserId};

/// Most API tokens of one user.
const MAX_PER_USER: i64 = 1_000;

/// Names an API token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApiTokenId(pub i64);

/// An API token, without its secret. Serialized as Hearth's own API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ApiToken {
    /// Never used again for another API token.
    pub id: ApiTokenId,
    /// What its owner calls it.
    pub name: String,
    /// Whose it is.
    #[serde(skip)]
    pub user_id: UserId,
    /// Name of the user whose it is.
    pub user: String,
    /// The start of the secret, to recognise it by.
    pub prefix: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds, exact to a minute; `None` before the first use.
    pub last_used_at: Option<i64>,
    /// Unix seconds; `None` never expires.
    pub expires_at: Option<i64>,
    /// Names, or starts of names with `*`, of the models that it may use; `None` is all.
    pub models: Option<Vec<String>>,
    /// Networks that it may be used from; `None` is everywhere.
    pub allow_ips: Option<Vec<String>>,
    /// It works only while its owner is in one of these groups; `None` is always.
    pub groups: Option<Vec<String>>,
    /// A disabled token does not work.
    pub disabled: bool,
    /// Until when the secret before the last rotation works too, in Unix seconds.
    pub old_expires_at: Option<i64>,
}

/// Changes of an API token; `None` leaves a column as it is.
#[derive(Clone, Debug, Default)]
pub struct ApiTokenChange {
    /// A new name.
    pub name: Option<String>,
    /// Disables or enables.
    pub disabled: Option<bool>,
    /// Another end, or `Some(None)` for none.
    pub expires_at: Option<Option<i64>>,
    /// As [`ApiToken::models`].
    pub models: Option<Option<Vec<String>>>,
    /// As [`ApiToken::allow_ips`].
    pub allow_ips: Option<Option<Vec<String>>>,
    /// As [`ApiToken::groups`].
    pub groups: Option<Option<Vec<String>>>,
}

/// A new secret for an API token.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The start of the new secret.
    pub prefix: String,
    /// Its keyed hash.
    pub hash: [u8; 32],
    /// Until when the secret that it replaces works too.
    pub old_expires_at: i64,
}

/// An API token that a secret names.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundToken {
    /// The token.
    pub token: ApiToken,
    /// Its owner.
    pub user: User,
    /// Whether the secret is the one before the last rotation.
    pub is_old: bool,
}

/// An API token to be made.
#[derive(Clone, Debug)]
pub struct NewApiToken {
    /// Whose it is.
    pub user_id: UserId,
    /// What its owner calls it.
    pub name: String,
    /// The start of the secret, to recognise it by.
    pub prefix: String,
    /// Keyed hash of the secret.
    pub hash: [u8; 32],
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds; `None` never expires.
    pub expires_at: Option<i64>,
    /// As [`ApiToken::models`].
    pub models: Option<Vec<String>>,
    /// As [`ApiToken::allow_ips`].
    pub allow_ips: Option<Vec<String>>,
}

/// Questions about API tokens.
pub struct ApiTokens<'a>(pub(crate) &'a Store);

impl ApiTokens<'_> {
    /// Makes an API token, or fails with [`Error::TokenTaken`] or [`Error::TooMany`].
    pub async fn create(&self, new: NewApiToken) -> Result<ApiToken> {
        self.0.write(move |connection| insert(connection, &new)).await
    }

    /// Makes the first user and an API token of theirs, whatever owner `new` names; both or
    /// neither. Fails with [`Error::SetupDone`] if there is any user.
    pub async fn create_with_first_user(
        &self,
        user: NewUser,
        new: NewApiToken,
    ) -> Result<ApiToken> {
        self.0
            .write(move |connection| {
                let user_id = users::insert_first(connection, &user)?.id;
                insert(connection, &NewApiToken { user_id, ..new })
            })
            .await
    }

    /// Makes an API token and changes it, as one act.
    pub async fn create_with(&self, new: NewApiToken, more: ApiTokenChange) -> Result<ApiToken> {
        self.0
            .write(move |connection| {
                let id = insert(connection, &new)?.id;
                apply(connection, id, None, &more)
            })
            .await
    }

    /// The API token with this hash and its owner, valid or not: that is the caller's to judge.
    pub async fn by_hash(&self, hash: [u8; 32]) -> Result<Option<(ApiToken, User)>> {
        Ok(self.by_secret(hash).await?.map(|found| (found.token, found.user)))
    }

    /// As [`ApiTokens::by_hash`], also by the hash before the last rotation.
    pub async fn by_secret(&self, hash: [u8; 32]) -> Result<Option<FoundToken>> {
        self.0
            .read(move |connection| {
                // One snapshot for both rows: between them the user might be disabled.
                let snapshot = connection.unchecked_transaction()?;
                let values: [&dyn ToSql; 2] = [&hash.as_slice(), &1];
                let current = select(&snapshot, "t.hash = ?1", &values)?.pop();
                let is_old = current.is_none();
                let token = match current {
                    Some(token) => token,
                    None => match select(&snapshot, "t.old_hash = ?1", &values)?.pop() {
                        Some(token) => token,
                        None => return Ok(None),
                    },
                };
                let user = users::owner(&snapshot, token.user_id)?;
                Ok(Some(FoundToken { token, user, is_old }))
            })
            .await
    }

    /// The API token with this id and its owner.
    pub async fn by_id(&self, id: ApiTokenId) -> Result<Option<(ApiToken, User)>> {
        self.0
            .read(move |connection| {
                let snapshot = connection.unchecked_transaction()?;
                let found = select(&snapshot, "t.id = ?1", &[&id, &1])?.pop();
                let Some(token) = found else { return Ok(None) };
                let user = users::owner(&snapshot, token.user_id)?;
                Ok(Some((token, user)))
            })
            .await
    }

    /// Changes an API token, of `owner` alone if one is given; else [`Error::NotFound`].
    pub async fn update(
        &self,
        id: ApiTokenId,
        owner: Option<UserId>,
        change: ApiTokenChange,
    ) -> Result<ApiToken> {
        self.0.write(move |connection| apply(connection, id, owner, &change)).await
    }

    /// Gives an API token a new secret; the one before the last is void at once.
    pub async fn rotate(
        &self,
        id: ApiTokenId,
        owner: Option<UserId>,
        new: Rotation,
    ) -> Result<ApiToken> {
        self.0
            .write(move |connection| {
                let changed = connection
                    .prepare_cached(
                        "UPDATE api_tokens SET old_hash = hash, old_expires_at = ?5,
                             hash = ?3, prefix = ?4
                         WHERE id = ?1 AND (?2 IS NULL OR user_id = ?2)",
                    )?
                    .execute((id, owner, new.hash, &new.prefix, new.old_expires_at))?;
                if changed == 0 {
                    return Err(Error::NotFound);
                }
                select(connection, "t.id = ?1", &[&id, &1])?.pop().ok_or(Error::NotFound)
            })
            .await
    }

    /// API tokens of one user in the order of their ids, after `after`.
    pub async fn list_of(
        &self,
        owner: UserId,
        after: Option<ApiTokenId>,
        limit: u32,
    ) -> Result<Vec<ApiToken>> {
        let after = after.map_or(0, |id| id.0);
        self.0
            .read(move |connection| {
                let values: [&dyn ToSql; 3] = [&owner, &page::rows(limit), &after];
                select(connection, "t.user_id = ?1 AND t.id > ?3", &values)
            })
            .await
    }

    /// API tokens of all users in the order of their ids, after `after`; for admins.
    pub async fn list_all(&self, after: Option<ApiTokenId>, limit: u32) -> Result<Vec<ApiToken>> {
        let after = after.map_or(0, |id| id.0);
        self.0
            .read(move |connection| select(connection, "t.id > ?1", &[&after, &page::rows(limit)]))
            .await
    }

    /// Deletes an API token of this user, or fails with [`Error::NotFound`].
    pub async fn delete_of(&self, owner: UserId, id: ApiTokenId) -> Result<()> {
        self.delete("DELETE FROM api_tokens WHERE id = ?1 AND user_id = ?2", id, Some(owner)).await
    }

    /// Deletes anybody's API token, or fails with [`Error::NotFound`]; for admins.
    pub async fn delete_any(&self, id: ApiTokenId) -> Result<()> {
        self.delete("DELETE FROM api_tokens WHERE id = ?1 AND ?2 IS NULL", id, None).await
    }

    /// Notes that the API token was used at this time.
    pub async fn touch(&self, id: ApiTokenId, used_at: i64) -> Result<()> {
        self.0
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE api_tokens SET last_used_at = ?2
                         WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)",
                    )?
                    .execute((id, used_at))?;
                Ok(())
            })
            .await
    }

    async fn delete(
        &self,
        statement: &'static str,
        id: ApiTokenId,
        owner: Option<UserId>,
    ) -> Result<()> {
        self.0
            .write(move |connection| {
                match connection.prepare_cached(statement)?.execute((id, owner))? {
                    0 => Err(Error::NotFound),
                    _ => Ok(()),
                }
            })
            .await
    }
}

pub(crate) fn insert(connection: &Connection, new: &NewApiToken) -> Result<ApiToken> {
    let owned: i64 = connection
        .prepare_cached("SELECT count(*) FROM api_tokens WHERE user_id = ?1")?
        .query_row([new.user_id], |row| row.get(0))?;
    if owned >= MAX_PER_USER {
        return Err(Error::TooMany { what: "API tokens", limit: MAX_PER_USER as u64 });
    }
    connection
        .prepare_cached(
            "INSERT INTO api_tokens
                 (user_id, name, prefix, hash, created_at, expires_at, models, allow_ips)
             VALUES (:user, :name, :prefix, :hash, :created_at, :expires_at, :models, :ips)",
        )?
        .execute(named_params! {
            ":user": new.user_id,
            ":name": new.name,
            ":prefix": new.prefix,
            ":hash": new.hash,
            ":created_at": new.created_at,
            ":expires_at": new.expires_at,
            ":models": new.models.as_deref().map(to_json),
            ":ips": new.allow_ips.as_deref().map(to_json),
        })
        .map_err(|error| match Error::from(error) {
            error if error.is_unique_violation() => Error::TokenTaken,
            error if error.is_foreign_key_violation() => Error::NotFound,
            error => error,
        })?;
    let id = connection.last_insert_rowid();
    select(connection, "t.id = ?1", &[&id, &1])?.pop().ok_or(Error::NotFound)
}

pub(crate) fn apply(
    connection: &Connection,
    id: ApiTokenId,
    owner: Option<UserId>,
    change: &ApiTokenChange,
) -> Result<ApiToken> {
    let list =
        |list: &Option<Option<Vec<String>>>| list.as_ref().and_then(Option::as_deref).map(to_json);
    let changed = connection
        .prepare_cached(
            "UPDATE api_tokens SET
                 name = coalesce(:name, name),
                 disabled = coalesce(:disabled, disabled),
                 expires_at = iif(:set_expires, :expires, expires_at),
                 models = iif(:set_models, :models, models),
                 allow_ips = iif(:set_ips, :ips, allow_ips),
                 groups = iif(:set_groups, :groups, groups)
             WHERE id = :id AND (:owner IS NULL OR user_id = :owner)",
        )?
        .execute(named_params! {
            ":id": id,
            ":owner": owner,
            ":name": change.name,
            ":disabled": change.disabled,
            ":set_expires": change.expires_at.is_some(),
            ":expires": change.expires_at.flatten(),
            ":set_models": change.models.is_some(),
            ":models": list(&change.models),
            ":set_ips": change.allow_ips.is_some(),
            ":ips": list(&change.allow_ips),
            ":set_groups": change.groups.is_some(),
            ":groups": list(&change.groups),
        })?;
    if changed == 0 {
        return Err(Error::NotFound);
    }
    select(connection, "t.id = ?1", &[&id, &1])?.pop().ok_or(Error::NotFound)
}

/// API tokens for which `condition` holds; `?2` of the values is the most rows.
fn select(
    connection: &Connection,
    condition: &'static str,
    values: &[&dyn ToSql],
) -> Result<Vec<ApiToken>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT t.*, u.name AS user
         FROM api_tokens t JOIN users u ON u.id = t.user_id
         WHERE {condition} ORDER BY t.id LIMIT ?2"
    ))?;
    let tokens: rusqlite::Result<Vec<ApiToken>> =
        statement.query_map(values, read_token)?.collect();
    Ok(tokens?)
}

fn read_token(row: &Row<'_>) -> rusqlite::Result<ApiToken> {
    Ok(ApiToken {
        id: row.get("id")?,
        name: row.get("name")?,
        user_id: row.get("user_id")?,
        user: row.get("user")?,
        prefix: row.get("prefix")?,
        created_at: row.get("created_at")?,
        last_used_at: row.get("last_used_at")?,
        expires_at: row.get("expires_at")?,
        models: row.get::<_, Option<TextList>>("models")?.map(|list| list.0),
        allow_ips: row.get::<_, Option<TextList>>("allow_ips")?.map(|list| list.0),
        groups: row.get::<_, Option<TextList>>("groups")?.map(|list| list.0),
        disabled: row.get("disabled")?,
        old_expires_at: row.get("old_expires_at")?,
    })
}

impl ToSql for ApiTokenId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for ApiTokenId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<ApiTokenId> {
        i64::column_result(value).map(ApiTokenId)
    }
}
