//! How much a user, an API token or a group may ask for at a time.

use rusqlite::Row;
use serde::{Deserialize, Serialize};

/// Limits on requests; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Requests that may begin in a minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens of prompts and answers in a minute.
    pub tokens_per_minute: Option<u32>,
    /// Requests that may run at the same time.
    pub max_running: Option<u32>,
}

/// Reads the three columns, which have the fields' names.
pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Limits> {
    Ok(Limits {
        requests_per_minute: row.get("requests_per_minute")?,
        tokens_per_minute: row.get("tokens_per_minute")?,
        max_running: row.get("max_running")?,
    })
}
