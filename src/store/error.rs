//! What can go wrong with rows, named by what the caller can do about it.

use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::ledger::Shortage;

/// Result of this room.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a row could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another user, or another group, has this name; case does not matter.
    #[error("this name is taken already")]
    NameTaken,
    /// The change would leave nobody who may administer.
    #[error("this is the last active admin")]
    LastAdmin,
    /// The change would leave no owner.
    #[error("this is the last active owner")]
    LastOwner,
    /// A user of a higher role is changed by their like alone.
    #[error("only an owner can do this to an owner")]
    Higher,
    /// A list of rows is refused because of this one, which counts from 1.
    #[error("row {row}: a user with this name exists already")]
    RowRefused {
        /// Its place.
        row: usize,
    },
    /// A second factor that counts, or this passkey, is there already.
    #[error("there is one already; remove it first")]
    FactorExists,
    /// There is a first user already.
    #[error("the first user exists already")]
    SetupDone,
    /// An API token with exactly this secret exists already.
    #[error("this API token exists already")]
    TokenTaken,
    /// No such row, or it belongs to somebody else: the two are not told apart.
    #[error("no such row")]
    NotFound,
    /// A list that belongs to one owner has reached its limit.
    #[error("there are {limit} {what} already, which is the limit")]
    TooMany {
        /// What there are too many of, in the plural.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// A chat has reached its size; a new one can be begun.
    #[error("this chat is full ({messages} messages or {mebibytes} MiB of text); start a new one")]
    ChatFull {
        /// Most messages.
        messages: i64,
        /// Most text.
        mebibytes: i64,
    },
    /// There is less than a request needs.
    #[error("{}", short(.0))]
    Short(Box<Shortage>),
    /// A request of this id has reserved or was settled before.
    #[error("a request with this id exists already")]
    RequestTaken,
    /// A sum of money is beyond all limits.
    #[error("this is more money than one wallet can hold (a billion dollars)")]
    TooMuchMoney,
    /// The ledger would not add up; nothing was changed.
    #[error("the ledger does not add up: {0}")]
    Unbalanced(String),
    /// A sealed secret cannot be opened; nothing was changed.
    #[error("{0}")]
    Unsealable(String),
    /// The queue of writes or reads was full for the whole time that a caller may wait.
    #[error("the database is busy")]
    Busy,
    /// The store is being closed.
    #[error("the database is closed")]
    Closed,
    /// The disk has no room left; reading still works.
    #[error("the disk with the database is full")]
    DiskFull,
    /// The file is no database of New API or One API.
    #[error("{path} is no database of New API or One API: {reason}")]
    NotNewApi {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A trial was taken back, as it should be.
    #[error("this was a trial")]
    Trial,
    /// The disk could not be written or read; what was asked for is not written down.
    #[error("the disk with the database has failed")]
    DiskFailed,
    /// The file is no SQLite database, or a damaged one.
    #[error("the database {path} is damaged: {reason}")]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// The file was written by a later version of the program.
    #[error(
        "the database {path} has format {found}, this version of hearth knows {known}: \
         start the newer version that wrote it, or use another data directory"
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The format number in the file.
        found: i64,
        /// The highest format number that this program knows.
        known: i64,
    },
    /// The program is linked with an SQLite that can corrupt a database in WAL mode.
    #[error("SQLite {found} is linked; at least 3.51.3 is needed (earlier ones can corrupt WAL)")]
    OldSqlite {
        /// The version that is linked.
        found: &'static str,
    },
    /// The file cannot be made or opened.
    #[error("cannot open the database {path}: {reason}")]
    Open {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// SQLite refused for a reason that no caller can do anything about.
    #[error("database error: {0}")]
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Busy,
            Some(ErrorCode::DiskFull) => Error::DiskFull,
            Some(ErrorCode::SystemIoFailure) => Error::DiskFailed,
            _ => Error::Sql(error),
        }
    }
}

impl Error {
    /// Whether SQLite refused a row because one with the same unique value exists.
    pub(crate) fn is_unique_violation(&self) -> bool {
        self.has_extended_code(rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE)
            || self.has_extended_code(rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
    }

    /// Whether SQLite refused a row because what it points to does not exist.
    pub(crate) fn is_foreign_key_violation(&self) -> bool {
        self.has_extended_code(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
    }

    fn has_extended_code(&self, code: i32) -> bool {
        matches!(self, Error::Sql(rusqlite::Error::SqliteFailure(failure, _))
            if failure.extended_code == code)
    }
}

fn short(shortage: &Shortage) -> String {
    let Shortage { holder, unit, left, needed, .. } = shortage;
    format!("{} of the {} are short: {left} left, {needed} needed", unit.as_str(), holder.kind())
}
