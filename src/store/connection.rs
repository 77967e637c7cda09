//! Opens connections: the one that writes and the ones that only read.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{Error, Result};
use crate::migrations;

/// Below this, two connections in WAL mode can corrupt the file (the WAL-reset bug).
const MIN_SQLITE_VERSION: i32 = 3_051_003;
/// How long SQLite itself waits for a lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_millis(5_000);
/// Statements kept prepared per connection; there are fewer than this in the room.
const CACHED_STATEMENTS: usize = 128;
/// Pages that the writing connection keeps in memory at most, in KiB: of millions of rows of usage
/// those that grow are scattered over each user's part of an index.
const WRITER_CACHE_KIB: i64 = 32 << 10;
/// Pages of the WAL file after which it is carried into the database: 8 MiB. With fewer, pages that
/// change all the time are carried often; with more, those who wait meanwhile wait longer.
const CHECKPOINT_PAGES: i64 = 2_048;
/// The WAL file is cut back to this after a checkpoint.
const WAL_BYTES: i64 = 64 << 20;

/// Opens the connection that writes, with the newest format in the file.
pub(crate) fn open_writer(path: &Path) -> Result<Connection> {
    check_version()?;
    create_private(path)?;
    let mut connection = open(path)?;
    prepare_writer(&mut connection).map_err(|error| name_damage(error, path))?;
    migrations::apply(&mut connection, path).map_err(|error| name_damage(error, path))?;
    Ok(connection)
}

/// Opens a connection that cannot write. The writer must be open already.
pub(crate) fn open_reader(path: &Path) -> Result<Connection> {
    let connection = open(path)?;
    prepare(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Runs a job in a transaction of its own, before the writing thread has begun.
pub(crate) fn in_transaction<T>(
    connection: &Connection,
    job: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    let transaction = connection.unchecked_transaction()?;
    let done = job(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

fn check_version() -> Result<()> {
    if rusqlite::version_number() < MIN_SQLITE_VERSION {
        return Err(Error::OldSqlite { found: rusqlite::version() });
    }
    Ok(())
}

/// Makes the file before SQLite does, so that it is never readable by others. SQLite gives the
/// same mode to the `-wal` and `-shm` files beside it.
fn create_private(path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let made = options.open(path).and_then(|_file| restrict(path));
    made.map_err(|error| Error::Open { path: path.to_owned(), reason: error.to_string() })
}

#[cfg(unix)]
fn restrict(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn restrict(path: &Path) -> std::io::Result<()> {
    fs::metadata(path).map(|_| ())
}

fn open(path: &Path) -> Result<Connection> {
    // NO_MUTEX: every connection stays on one thread at a time. No URI: a path is a path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| Error::Open { path: path.to_owned(), reason: error.to_string() })?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    Ok(connection)
}

/// What holds for every connection.
fn prepare(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Otherwise a statement with `LIMIT ?` is planned anew whenever a number is bound to it, which
    // takes longer than most of them run.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

fn prepare_writer(connection: &mut Connection) -> Result<()> {
    prepare(connection)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Error::Open {
            path: connection.path().unwrap_or_default().into(),
            reason: format!("the file system allows no WAL journal (SQLite chose `{mode}`)"),
        });
    }
    // FULL: what has been acknowledged survives a power cut, not just a crash of the program.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    // What a savepoint may have to take back is kept in memory, not in a file of its own.
    connection.pragma_update(None, "temp_store", "memory")?;
    // Negative: in KiB.
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(())
}

fn name_damage(error: Error, path: &Path) -> Error {
    match &error {
        Error::Sql(reason)
            if matches!(
                reason.sqlite_error_code(),
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
            ) =>
        {
            Error::Damaged { path: path.to_owned(), reason: reason.to_string() }
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> T {
        connection.pragma_query_value(None, name, |row| row.get(0)).unwrap()
    }

    #[test]
    fn both_kinds_of_connection_have_the_promised_settings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hearth.db");
        let writer = open_writer(&path).unwrap();
        assert_eq!(pragma::<String>(&writer, "journal_mode"), "wal");
        assert_eq!(pragma::<i64>(&writer, "synchronous"), 2, "2 is FULL");
        let reader = open_reader(&path).unwrap();
        for connection in [&writer, &reader] {
            assert_eq!(pragma::<i64>(connection, "foreign_keys"), 1);
            assert_eq!(pragma::<i64>(connection, "trusted_schema"), 0);
            assert_eq!(pragma::<i64>(connection, "cell_size_check"), 1);
            assert_eq!(pragma::<i64>(connection, "busy_timeout"), 5_000);
            assert!(connection.db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE).unwrap());
        }
        assert_eq!(pragma::<i64>(&reader, "query_only"), 1);
        assert!(reader.execute("DELETE FROM users", []).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn the_files_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hearth.db");
        fs::write(&path, b"").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let _writer = open_writer(&path).unwrap();
        let mut files = 0;
        for entry in fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
            files += 1;
        }
        assert_eq!(files, 3, "database, -wal and -shm");
    }

    #[test]
    fn a_file_that_is_no_database_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hearth.db");
        fs::write(&path, b"this is a letter, not a database, and it is long enough").unwrap();
        let error = open_writer(&path).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("hearth.db"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("this is a letter"), "the file is left as it was");
    }

    #[test]
    fn a_path_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = open_writer(&dir.path().join("absent/hearth.db")).unwrap_err();
        assert!(matches!(error, Error::Open { .. }), "{error}");
    }
}
