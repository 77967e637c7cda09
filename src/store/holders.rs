//! The names of those who have wallets, budgets and rate limits.

use std::collections::HashMap;

use rusqlite::OptionalExtension;

use crate::error::Result;
use crate::ledger::Holder;
use crate::store::Store;

/// Questions about holders of any kind.
pub struct Holders<'a>(pub(crate) &'a Store);

impl Holders<'_> {
    /// The names of these holders; those who are no more have none. An API token is named with
    /// its owner, as `ann/laptop`.
    pub async fn names(&self, holders: Vec<Holder>) -> Result<HashMap<Holder, String>> {
        self.0
            .read(move |connection| {
                let mut user = connection.prepare_cached("SELECT name FROM users WHERE id = ?1")?;
                let mut group =
                    connection.prepare_cached("SELECT name FROM groups WHERE id = ?1")?;
                let mut token = connection.prepare_cached(
                    "SELECT u.name || '/' || t.name
                     FROM api_tokens t JOIN users u ON u.id = t.user_id WHERE t.id = ?1",
                )?;
                let mut names = HashMap::with_capacity(holders.len());
                for holder in holders {
                    let statement = match holder {
                        Holder::User(_) => &mut user,
                        Holder::Group(_) => &mut group,
                        Holder::Token(_) => &mut token,
                    };
                    let name: Option<String> =
                        statement.query_row([holder.id()], |row| row.get(0)).optional()?;
                    if let Some(name) = name {
                        names.insert(holder, name);
                    }
                }
                Ok(names)
            })
            .await
    }
}
