//! Stories of coming in, on a real store and with a clock of their own.

mod company;
mod credentials;
mod new_api;
mod people;
mod providers;
mod second_factor;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hearth_store::{Store, User, UserRole};

use super::{Accounts, AccountsConfig, NewAccount, SignedIn};
use crate::caller::Caller;
use crate::clock::Clock;
use crate::vault::Vault;

const PASSWORD: &str = "correct horse";
const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// Accounts in a directory of their own, and the hands of their clock.
struct Fixture {
    accounts: Accounts,
    store: Store,
    dir: tempfile::TempDir,
    time: Arc<AtomicI64>,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let time = Arc::new(AtomicI64::new(1_000_000));
        let hands = Arc::clone(&time);
        let clock = Clock::of(move || hands.load(Ordering::SeqCst));
        let config = AccountsConfig::default();
        let vault = Vault::open(dir.path(), None).unwrap();
        let accounts = Accounts::open(store.clone(), dir.path(), config, clock, vault).unwrap();
        Fixture { accounts, store, dir, time }
    }

    fn wait(&self, seconds: i64) {
        self.time.fetch_add(seconds, Ordering::SeqCst);
    }

    fn now(&self) -> i64 {
        self.time.load(Ordering::SeqCst)
    }

    async fn user(&self, name: &str, role: UserRole) -> User {
        let new = NewAccount { name: name.to_owned(), role, password: PASSWORD.to_owned() };
        self.accounts.create_user(&Caller::operator(), new).await.unwrap()
    }

    async fn sign_in(&self, name: &str) -> SignedIn {
        self.accounts.sign_in(name, PASSWORD, PEER).await.unwrap()
    }

    /// A caller with a session, as the server makes it.
    async fn caller(&self, name: &str) -> Caller {
        let session = self.sign_in(name).await.session;
        self.accounts.caller_by_session(session.reveal(), PEER).await.unwrap()
    }
}
