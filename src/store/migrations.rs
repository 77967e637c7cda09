//! Brings the database to the newest format: forward only, one transaction per step.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Error, Result};

/// The steps in order. A step that has been released is never edited; a change is a new step.
const STEPS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_ledger.sql"),
    include_str!("migrations/0003_usage.sql"),
    include_str!("migrations/0004_channels.sql"),
    include_str!("migrations/0005_people.sql"),
    include_str!("migrations/0006_chats.sql"),
    include_str!("migrations/0007_passkeys_alerts.sql"),
    include_str!("migrations/0008_weights.sql"),
];

/// Applies the steps that the file lacks; does nothing to a file that has them all.
pub(crate) fn apply(connection: &mut Connection, path: &Path) -> Result<()> {
    apply_steps(connection, path, STEPS)
}

fn apply_steps(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<()> {
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Read inside the transaction: another process may be migrating the same file.
        let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let known = steps.len() as i64;
        if found > known || found < 0 {
            return Err(Error::Newer { path: path.to_owned(), found, known });
        }
        let Some(step) = steps.get(found as usize) else { return Ok(()) };
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", found + 1)?;
        transaction.commit()?;
        tracing::info!(store.format = found + 1, "database format is now {}", found + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(connection: &Connection) -> i64 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    fn schema(connection: &Connection) -> Vec<String> {
        let mut statement =
            connection.prepare("SELECT type || ' ' || name FROM sqlite_schema ORDER BY 1").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(|row| row.unwrap()).collect()
    }

    #[test]
    fn an_empty_file_gets_every_table_and_a_second_run_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection, Path::new("x")).unwrap();
        let first = schema(&connection);
        for table in ["users", "settings", "sessions", "api_tokens", "chats", "messages", "usage"] {
            assert!(first.contains(&format!("table {table}")), "{table}");
        }
        let loose: i64 = connection
            .query_row(
                "SELECT count(*) FROM pragma_table_list
                 WHERE type = 'table' AND NOT strict AND name NOT LIKE 'sqlite%'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(loose, 0, "every table is STRICT");
        apply(&mut connection, Path::new("x")).unwrap();
        assert_eq!(schema(&connection), first);
        assert_eq!(version(&connection), STEPS.len() as i64);
    }

    #[test]
    fn a_newer_file_is_refused_and_named() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let error = apply(&mut connection, Path::new("/data/hearth.db")).unwrap_err();
        assert!(matches!(error, Error::Newer { found: 99, .. }));
        assert!(error.to_string().contains("/data/hearth.db"));
        assert!(schema(&connection).is_empty(), "nothing was written");
    }

    #[test]
    fn a_failing_step_leaves_the_format_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE a (x)"];
        assert!(apply_steps(&mut connection, Path::new("x"), &steps).is_err());
        assert_eq!(version(&connection), 1);
        assert_eq!(schema(&connection), ["table a"]);
    }
}
