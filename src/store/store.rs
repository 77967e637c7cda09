//! The handle that everyone above holds.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use crate::api_tokens::ApiTokens;
use crate::audit::{self, Act, Audit};
use crate::channels::Channels;
use crate::chats::Chats;
use crate::connection;
use crate::error::{Error, Result};
use crate::factors::Factors;
use crate::groups::Groups;
use crate::health::{self, StoreReport};
use crate::holders::Holders;
use crate::identities::Identities;
use crate::invites::Invites;
use crate::ledger::{self, Ledger};
use crate::messages::{self, Messages};
use crate::new_api::NewApi;
use crate::prices::Prices;
use crate::rate_limits::RateLimits;
use crate::readers::Readers;
use crate::routes::Routes;
use crate::sealed::Sealed;
use crate::sessions::Sessions;
use crate::settings::Settings;
use crate::shelf::Shelf;
use crate::usage::UsageTable;
use crate::users::Users;
use crate::writer::Writer;

/// Name of the database in the data directory.
const FILE_NAME: &str = "hearth.db";

/// All rows of one data directory. Cheap to clone.
///
/// Dropping the last clone writes what is still queued and closes the file, which may take some
/// milliseconds.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// Noted with what is written through this handle.
    act: Option<Arc<Act>>,
}

// Fields drop in this order: the writer closes last and so removes the WAL file.
struct Inner {
    readers: Readers,
    writer: Writer,
}

impl Store {
    /// Opens `hearth.db` in this directory, which must exist, and brings it to the newest
    /// format. Blocks for some milliseconds; called once, at the start.
    pub fn open(data_dir: &Path) -> Result<Store> {
        let path = data_dir.join(FILE_NAME);
        let writing = connection::open_writer(&path)?;
        let released = connection::in_transaction(&writing, ledger::release_all)?;
        if released > 0 {
            tracing::info!(ledger.holds = released, "gave back what unfinished requests held");
        }
        while connection::in_transaction(&writing, messages::catch_up)? {}
        let readers = Readers::open(&path)?;
        let writer = Writer::start(writing)
            .map_err(|error| Error::Open { path, reason: error.to_string() })?;
        Ok(Store { inner: Arc::new(Inner { readers, writer }), act: None })
    }

    /// The same rows, through a handle for one write: whatever it writes, this act is noted in the
    /// same transaction, or neither is.
    pub fn audited(&self, act: Act) -> Store {
        Store { inner: Arc::clone(&self.inner), act: Some(Arc::new(act)) }
    }

    /// Questions about the audit log.
    pub fn audit(&self) -> Audit<'_> {
        Audit(self)
    }

    /// Questions about second factors and passkeys.
    pub fn factors(&self) -> Factors<'_> {
        Factors(self)
    }

    /// Questions about who people are elsewhere.
    pub fn identities(&self) -> Identities<'_> {
        Identities(self)
    }

    /// What a database of New API or One API holds.
    pub fn new_api(&self) -> NewApi<'_> {
        NewApi(self)
    }

    /// Questions about invites.
    pub fn invites(&self) -> Invites<'_> {
        Invites(self)
    }

    /// Questions about users.
    pub fn users(&self) -> Users<'_> {
        Users(self)
    }

    /// Questions about sessions of the web app.
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions(self)
    }

    /// Questions about API tokens.
    pub fn api_tokens(&self) -> ApiTokens<'_> {
        ApiTokens(self)
    }

    /// Questions about chats.
    pub fn chats(&self) -> Chats<'_> {
        Chats(self)
    }

    /// Questions about messages of chats.
    pub fn messages(&self) -> Messages<'_> {
        Messages(self)
    }

    /// Questions about what requests used.
    pub fn usage(&self) -> UsageTable<'_> {
        UsageTable(self)
    }

    /// Questions about money and budgets.
    pub fn ledger(&self) -> Ledger<'_> {
        Ledger(self)
    }

    /// Questions about the names of holders.
    pub fn holders(&self) -> Holders<'_> {
        Holders(self)
    }

    /// Questions about prices.
    pub fn prices(&self) -> Prices<'_> {
        Prices(self)
    }

    /// Questions about channels.
    pub fn channels(&self) -> Channels<'_> {
        Channels(self)
    }

    /// Questions about how requests find who answers.
    pub fn routes(&self) -> Routes<'_> {
        Routes(self)
    }

    /// Every sealed secret, wherever it stands.
    pub fn sealed(&self) -> Sealed<'_> {
        Sealed(self)
    }

    /// Questions about how fast users, API tokens, groups and models may be used.
    pub fn rate_limits(&self) -> RateLimits<'_> {
        RateLimits(self)
    }

    /// Questions about groups.
    pub fn groups(&self) -> Groups<'_> {
        Groups(self)
    }

    /// Questions about prompts and presets.
    pub fn shelf(&self) -> Shelf<'_> {
        Shelf(self)
    }

    /// Settings that are changed while the server runs.
    pub fn settings(&self) -> Settings<'_> {
        Settings(self)
    }

    /// Reads the whole database anew; says what of it is damaged. Takes a while.
    pub async fn check(&self) -> Result<StoreReport> {
        self.read(health::check).await
    }

    pub(crate) async fn read<T, F>(&self, question: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.inner.readers.read(question).await
    }

    /// As [`Store::write`], but all is taken back at the end: what would be done is known then.
    pub(crate) async fn trial<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (told, answer) = std::sync::mpsc::channel();
        let job = move |connection: &Connection| -> Result<()> {
            let outcome = job(connection);
            let _ = told.send(outcome);
            Err(Error::Trial)
        };
        match self.inner.writer.write(job).await {
            Ok(()) | Err(Error::Trial) => answer.recv().unwrap_or(Err(Error::Closed)),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn write<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let Some(act) = self.act.clone() else { return self.inner.writer.write(job).await };
        let job = move |connection: &Connection| {
            let done = job(connection)?;
            audit::append(connection, &act)?;
            Ok(done)
        };
        self.inner.writer.write(job).await
    }
}
