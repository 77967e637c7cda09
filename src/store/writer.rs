//! The one thread that writes: it takes what is queued, commits it together, then answers.
//!
//! A commit costs one flush of the disk however many jobs share it. Each job has a savepoint of
//! its own, so a job that fails takes back only itself; nobody is answered before the commit.

use std::panic::{self, AssertUnwindSafe};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};

/// Jobs that may wait for the thread.
const QUEUED_JOBS: usize = 1_024;
/// Jobs that share one commit at most, so that the first is not kept waiting for long.
const BATCHED_JOBS: usize = 256;
/// How long a caller waits for a place in the queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handle of the writing thread; dropping it writes what is queued and closes the connection.
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// Runs inside its own savepoint and says whether to keep what it wrote; given an error instead
/// of a connection, it only makes its reply.
type Job = Box<dyn FnOnce(std::result::Result<&Connection, &rusqlite::Error>) -> Ended + Send>;

type Ended = (Verdict, Reply);

/// Answers the caller once the fate of the shared commit is known.
type Reply = Box<dyn FnOnce(std::result::Result<(), &rusqlite::Error>) + Send>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    Undo,
}

impl Writer {
    /// Starts the thread on a connection that is ready for writing.
    pub(crate) fn start(connection: Connection) -> std::io::Result<Writer> {
        let (jobs, queue) = mpsc::channel(QUEUED_JOBS);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || serve(&connection, queue))?;
        Ok(Writer { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `job` in a transaction; `Ok` means that its rows are on the disk.
    ///
    /// The job runs even if the caller stops waiting.
    pub(crate) async fn write<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = match connection {
                Ok(connection) => job(connection),
                Err(failure) => Err(Error::from(copy_of(failure))),
            };
            let verdict = if outcome.is_ok() { Verdict::Keep } else { Verdict::Undo };
            let reply: Reply = Box::new(move |committed| {
                let outcome = match (outcome, committed) {
                    (Ok(_), Err(failure)) => Err(Error::from(copy_of(failure))),
                    (outcome, _) => outcome,
                };
                // The caller may have gone; that is no error.
                let _ = answer.send(outcome);
            });
            (verdict, reply)
        });
        let jobs = self.jobs.as_ref().ok_or(Error::Closed)?;
        jobs.send_timeout(job, QUEUE_TIMEOUT).await.map_err(|refusal| match refusal {
            mpsc::error::SendTimeoutError::Timeout(_) => Error::Busy,
            mpsc::error::SendTimeoutError::Closed(_) => Error::Closed,
        })?;
        answered.await.map_err(|_| Error::Closed)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Jobs catch their own panics, so there is nothing to learn from a failed join.
            let _ = thread.join();
        }
    }
}

fn serve(connection: &Connection, mut queue: mpsc::Receiver<Job>) {
    let mut batch = Vec::with_capacity(BATCHED_JOBS);
    while let Some(first) = queue.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCHED_JOBS
            && let Ok(job) = queue.try_recv()
        {
            batch.push(job);
        }
        if let Err(failure) = run_batch(connection, batch.drain(..)) {
            // After a failed flush nobody knows what is on the disk. Only a restart, which
            // recovers from the WAL, can tell; until then nothing may be acknowledged.
            tracing::error!(%failure, "the disk failed; no more is written until a restart");
            return;
        }
    }
}

/// Runs jobs in one transaction. `Err` means that the disk failed and writing must end.
fn run_batch(
    connection: &Connection,
    jobs: impl Iterator<Item = Job>,
) -> std::result::Result<(), rusqlite::Error> {
    let mut replies: Vec<Reply> = Vec::new();
    let mut broken: Option<rusqlite::Error> = None;
    for job in jobs {
        if broken.is_none() {
            broken = begin(connection).err();
        }
        if let Some(failure) = &broken {
            let (_, reply) = job(Err(failure));
            replies.push(reply);
            continue;
        }
        match run_job(connection, job) {
            Ok(reply) => replies.extend(reply),
            Err(failure) => broken = Some(failure),
        }
        if connection.is_autocommit() && broken.is_none() {
            // A full disk makes SQLite take the whole transaction back by itself.
            settle(connection, std::mem::take(&mut replies), Err(aborted()))?;
        }
    }
    let committed = match broken {
        Some(failure) => Err(failure),
        None if connection.is_autocommit() => Ok(()),
        None => run(connection, "COMMIT"),
    };
    settle(connection, replies, committed)
}

/// Opens the shared transaction, if it is not open, and the savepoint of the next job.
fn begin(connection: &Connection) -> std::result::Result<(), rusqlite::Error> {
    if connection.is_autocommit() {
        run(connection, "BEGIN IMMEDIATE")?;
    }
    run(connection, "SAVEPOINT job")
}

/// Runs a statement that is parsed once: at thousands of jobs a second parsing counts.
fn run(
    connection: &Connection,
    statement: &'static str,
) -> std::result::Result<(), rusqlite::Error> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}

/// Runs one job in its savepoint; `None` if it panicked.
fn run_job(
    connection: &Connection,
    job: Job,
) -> std::result::Result<Option<Reply>, rusqlite::Error> {
    let ended = panic::catch_unwind(AssertUnwindSafe(|| job(Ok(connection))));
    let (verdict, reply) = match ended {
        Ok((verdict, reply)) => (verdict, Some(reply)),
        Err(_panic) => {
            tracing::error!("a write job panicked; it was taken back");
            (Verdict::Undo, None)
        }
    };
    if !connection.is_autocommit() {
        if verdict == Verdict::Undo {
            run(connection, "ROLLBACK TO job")?;
        }
        run(connection, "RELEASE job")?;
    }
    Ok(reply)
}

/// Answers everyone who shared the transaction.
fn settle(
    connection: &Connection,
    replies: Vec<Reply>,
    committed: std::result::Result<(), rusqlite::Error>,
) -> std::result::Result<(), rusqlite::Error> {
    if committed.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    for reply in replies {
        reply(committed.as_ref().map(|_| ()));
    }
    match committed {
        Err(failure) if failure.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => {
            Err(failure)
        }
        _ => Ok(()),
    }
}

/// What the earlier jobs of a transaction hear when SQLite took it back because of a later one.
fn aborted() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    rusqlite::Error::SqliteFailure(code, Some("the shared transaction was taken back".to_owned()))
}

/// SQLite's errors cannot be cloned, but every caller of a failed commit needs one.
fn copy_of(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, text) => {
            rusqlite::Error::SqliteFailure(*code, text.clone())
        }
        other => rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR),
            Some(other.to_string()),
        ),
    }
}
