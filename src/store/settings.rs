//! Settings that are changed while the server runs: one text per key.

use rusqlite::OptionalExtension;

use crate::error::Result;
use crate::store::Store;

/// Questions about settings.
pub struct Settings<'a>(pub(crate) &'a Store);

impl Settings<'_> {
    /// The value of a key, if it was ever set.
    pub async fn get(&self, key: &str) -> Result<Option<String>> {
        let key = key.to_owned();
        self.0
            .read(move |connection| {
                let value = connection
                    .prepare_cached("SELECT value FROM settings WHERE key = ?1")?
                    .query_row([key], |row| row.get(0))
                    .optional()?;
                Ok(value)
            })
            .await
    }

    /// Sets or replaces the value of a key.
    pub async fn set(&self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.0
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO settings (key, value) VALUES (?1, ?2)
                         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    )?
                    .execute((key, value))?;
                Ok(())
            })
            .await
    }
}
