//! Whether the database file is whole, for `hearth doctor`.

use rusqlite::Connection;
use serde::Serialize;

use crate::error::Result;

/// Most problems that are listed.
const LISTED: usize = 100;

/// What a look through the whole file found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreReport {
    /// Size of the file, without its log.
    pub bytes: u64,
    /// Number of its format.
    pub format: i64,
    /// What is damaged, a sentence each; empty is good.
    pub problems: Vec<String>,
}

pub(crate) fn check(connection: &Connection) -> Result<StoreReport> {
    let number = |name: &str| -> Result<i64> {
        Ok(connection.pragma_query_value(None, name, |row| row.get(0))?)
    };
    let bytes = number("page_count")?.saturating_mul(number("page_size")?).unsigned_abs();
    let mut problems = Vec::new();
    let mut statement = connection.prepare("PRAGMA integrity_check(100)")?;
    for line in statement.query_map([], |row| row.get::<_, String>(0))? {
        let line = line?;
        if line != "ok" {
            problems.push(line);
        }
    }
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let broken = statement.query_map([], |row| {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        Ok(format!("a row of {table} names one of {parent} that is not there"))
    })?;
    for line in broken.take(LISTED) {
        problems.push(line?);
    }
    Ok(StoreReport { bytes, format: number("user_version")?, problems })
}
