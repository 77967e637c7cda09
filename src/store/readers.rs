//! A few connections that only read, lent to one question at a time on the blocking threads.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::connection;
use crate::error::{Error, Result};

/// Questions that are answered at the same time.
const CONNECTIONS: usize = 4;
/// How long a question waits for a connection.
const WAIT: Duration = Duration::from_secs(5);

/// The connections that are free, and a permit for each.
pub(crate) struct Readers {
    free: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// Opens the connections.
    pub(crate) fn open(path: &Path) -> Result<Readers> {
        let connections: Result<Vec<Connection>> =
            (0..CONNECTIONS).map(|_| connection::open_reader(path)).collect();
        Ok(Readers {
            free: Arc::new(Mutex::new(connections?)),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
        })
    }

    /// Answers a question off the async threads.
    pub(crate) async fn read<T, F>(&self, question: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let permit = tokio::time::timeout(WAIT, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| Error::Busy)?
            .map_err(|_| Error::Closed)?;
        let free = Arc::clone(&self.free);
        let answer = tokio::task::spawn_blocking(move || {
            let loan = Loan::take(free);
            let answer = question(loan.connection());
            // The connection is back before the permit that promises it to the next.
            drop(loan);
            drop(permit);
            answer
        });
        answer.await.map_err(|_| Error::Closed)?
    }
}

/// A connection that goes back by itself, also when the question panics.
struct Loan {
    connection: Option<Connection>,
    free: Arc<Mutex<Vec<Connection>>>,
}

impl Loan {
    fn take(free: Arc<Mutex<Vec<Connection>>>) -> Loan {
        let connection = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Loan { connection, free }
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("each permit stands for a free connection")
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}
