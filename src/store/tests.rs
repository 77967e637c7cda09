//! Stories on a real file: who sees what, what survives, what is refused.

mod accounts;
mod audit;
mod channels;
mod chats;
mod chats_kept;
mod chats_searched;
mod crash;
mod ledger;
mod ledger_crash;
mod ledger_play;
mod people;
mod usage;
mod writing;

use crate::{NewUser, Store, User, UserRole};

/// A store in a directory of its own, which lives as long as the store.
struct Fixture {
    store: Store,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        Fixture { store: Store::open(dir.path()).unwrap(), dir }
    }

    async fn user(&self, name: &str, role: UserRole) -> User {
        self.store.users().create(new_user(name, role)).await.unwrap()
    }
}

fn new_user(name: &str, role: UserRole) -> NewUser {
    NewUser { name: name.to_owned(), password: "$argon2id$x".to_owned(), role, created_at: 100 }
}
