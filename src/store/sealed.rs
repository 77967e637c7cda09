//! Every column that holds sealed secrets, so that all of them can be sealed anew at once. How a
//! secret is sealed is not known here.

use crate::error::{Error, Result};
use crate::store::Store;

/// Table, column, and the column that names the row.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("channel_keys", "sealed", "id"),
    ("second_factors", "seed", "user_id"),
    ("alert_targets", "secret", "id"),
];

/// Where a sealed secret stands; it opens only there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedPlace {
    /// The table's name.
    pub table: &'static str,
    /// The column's name.
    pub column: &'static str,
    /// The row's id, as text.
    pub row: String,
}

/// Questions about sealed secrets.
pub struct Sealed<'a>(pub(crate) &'a Store);

impl Sealed<'_> {
    /// Replaces every sealed secret by what this makes of it, all or none; says how many. Fails
    /// with [`Error::Unsealable`], which names the place, if `reseal` does.
    pub async fn replace_all<F>(&self, reseal: F) -> Result<u64>
    where
        F: Fn(&SealedPlace, &[u8]) -> std::result::Result<Vec<u8>, String> + Send + 'static,
    {
        self.0
            .write(move |connection| {
                let mut count = 0;
                for &(table, column, id) in COLUMNS {
                    let mut rows = connection.prepare(&format!(
                        "SELECT CAST({id} AS TEXT), {column} FROM {table} WHERE {column} IS NOT NULL"
                    ))?;
                    let rows: rusqlite::Result<Vec<(String, Vec<u8>)>> =
                        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect();
                    let mut update = connection.prepare(&format!(
                        "UPDATE {table} SET {column} = ?2 WHERE CAST({id} AS TEXT) = ?1"
                    ))?;
                    for (row, sealed) in rows? {
                        let place = SealedPlace { table, column, row };
                        let anew = reseal(&place, &sealed).map_err(Error::Unsealable)?;
                        update.execute((place.row, anew))?;
                        count += 1;
                    }
                }
                Ok(count)
            })
            .await
    }
}
