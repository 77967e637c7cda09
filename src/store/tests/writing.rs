//! The writing thread: shared commits, failures that stay alone, what survives a restart.

use std::time::Duration;

use super::{Fixture, new_user};
use crate::{Error, MicroDollars, Outcome, Store, UsageFilter, UsageRow, UserId, UserRole};

pub(super) fn usage(id: &str) -> UsageRow {
    UsageRow {
        request_id: id.to_owned(),
        user_id: Some(UserId(1)),
        token_id: None,
        model: "m".to_owned(),
        prompt_tokens: 3,
        completion_tokens: 4,
        cached_tokens: 0,
        queue_ms: 1,
        first_token_ms: 2,
        total_ms: 3,
        cost: MicroDollars::ZERO,
        outcome: Outcome::Complete,
        created_at: 50,
        ..UsageRow::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_once_lose_nothing() {
    let it = Fixture::new();
    let tasks: Vec<_> = (0..300)
        .map(|number| {
            let store = it.store.clone();
            tokio::spawn(async move { store.usage().record(usage(&format!("r{number}"))).await })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().unwrap());
    }
    let totals = it.store.usage().totals(UsageFilter::default()).await.unwrap();
    assert_eq!((totals.requests, totals.prompt_tokens), (300, 900));
}

#[tokio::test]
async fn a_request_is_recorded_once() {
    let it = Fixture::new();
    assert!(it.store.usage().record(usage("same")).await.unwrap());
    let again = UsageRow { completion_tokens: 99, ..usage("same") };
    assert!(!it.store.usage().record(again).await.unwrap());
    let rows = it.store.usage().latest(UsageFilter::default(), 10).await.unwrap();
    assert_eq!(rows, [usage("same")]);
}

#[tokio::test]
async fn a_failing_job_takes_back_only_itself() {
    let it = Fixture::new();
    let users = it.store.users();
    // Holds the thread until the four that follow are queued, so that they share one commit.
    let (open, opened) = std::sync::mpsc::channel();
    let gate = it.store.write(move |_| {
        opened.recv().expect("the gate is opened");
        Ok(())
    });
    let half_done = it.store.write(|connection| {
        connection.execute("INSERT INTO settings VALUES ('half', 'done')", [])?;
        connection.execute("INSERT INTO no_such_table VALUES (1)", [])?;
        Ok(())
    });
    let (gate, before, failed, panicked, after, ()) = tokio::join!(
        gate,
        users.create(new_user("before", UserRole::Admin)),
        half_done,
        it.store.write::<(), _>(|connection| {
            connection.execute("INSERT INTO settings VALUES ('panic', 'x')", [])?;
            panic!("a mistake in a job")
        }),
        users.create(new_user("after", UserRole::User)),
        // Polled last: by now each of them has queued its job.
        async { open.send(()).expect("the gate waits") },
    );
    gate.unwrap();
    before.unwrap();
    after.unwrap();
    assert!(matches!(failed, Err(Error::Sql(_))));
    assert!(matches!(panicked, Err(Error::Closed)));
    for key in ["half", "panic"] {
        assert_eq!(it.store.settings().get(key).await.unwrap(), None);
    }
    assert_eq!(users.list(None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_full_disk_fails_the_shared_commit_and_the_next_write_works() {
    let it = Fixture::new();
    let pages: i64 = it
        .store
        .write(
            |connection| Ok(connection.pragma_query_value(None, "page_count", |row| row.get(0))?),
        )
        .await
        .unwrap();
    // SQLite reports a database that may not grow exactly like a full disk.
    limit_pages(&it, pages).await;
    let long = "x".repeat(1 << 20);
    let refused = it.store.settings().set("long", &long).await;
    assert!(matches!(refused, Err(Error::DiskFull)), "{refused:?}");
    assert_eq!(it.store.settings().get("long").await.unwrap(), None);
    limit_pages(&it, 1 << 30).await;
    it.store.settings().set("long", &long).await.unwrap();
    assert_eq!(it.store.settings().get("long").await.unwrap(), Some(long));
}

#[tokio::test]
async fn a_lock_of_another_process_is_busy_and_the_next_write_works() {
    let it = Fixture::new();
    it.store.write(|connection| Ok(connection.busy_timeout(Duration::ZERO)?)).await.unwrap();
    let other = rusqlite::Connection::open(it.dir.path().join("hearth.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let settings = it.store.settings();
    let (one, two) = tokio::join!(settings.set("one", "x"), settings.set("two", "x"));
    assert!(matches!((one, two), (Err(Error::Busy), Err(Error::Busy))));
    other.execute_batch("COMMIT").unwrap();
    settings.set("one", "y").await.unwrap();
    assert_eq!(settings.get("one").await.unwrap().as_deref(), Some("y"));
    assert_eq!(settings.get("two").await.unwrap(), None);
}

async fn limit_pages(it: &Fixture, pages: i64) {
    let job = move |connection: &rusqlite::Connection| {
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        Ok(())
    };
    it.store.write(job).await.unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let it = Fixture::new();
    it.user("Änne", UserRole::Admin).await;
    it.store.settings().set("key", "first").await.unwrap();
    it.store.settings().set("key", "second").await.unwrap();
    let Fixture { store, dir } = it;
    drop(store);
    assert!(!dir.path().join("hearth.db-wal").exists(), "closing folds the WAL into the file");
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.settings().get("key").await.unwrap().as_deref(), Some("second"));
    assert_eq!(store.users().by_name("äNNE").await.unwrap().unwrap().name, "Änne");
}

#[tokio::test]
async fn readers_cannot_write() {
    let it = Fixture::new();
    let refused =
        it.store.read(|connection| Ok(connection.execute("DELETE FROM users", [])?)).await;
    assert!(matches!(refused, Err(Error::Sql(_))));
}

#[tokio::test]
async fn a_reader_that_panics_gives_its_connection_back() {
    let it = Fixture::new();
    for _ in 0..8 {
        let panicked = it.store.read::<(), _>(|_| panic!("a mistake in a question")).await;
        assert!(matches!(panicked, Err(Error::Closed)));
    }
    assert!(it.store.users().is_empty().await.unwrap());
}
