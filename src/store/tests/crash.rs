//! What was acknowledged survives a process that is killed while it writes.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::writing::usage;
use crate::{Store, UsageFilter};

/// Tells the child which directory to write to.
const DIR: &str = "HEARTH_STORE_CRASH_DIR";
/// Acknowledged rows after which the child is killed.
const ROWS: usize = 400;

/// Not a test by itself: the process that the test below starts and kills.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(Path::new(&dir)).unwrap();
        let next = Arc::new(AtomicU32::new(0));
        let mut writers = tokio::task::JoinSet::<()>::new();
        for _ in 0..16 {
            let (store, next) = (store.clone(), Arc::clone(&next));
            writers.spawn(async move {
                loop {
                    let id = format!("r{}", next.fetch_add(1, Ordering::Relaxed));
                    store.usage().record(usage(&id)).await.unwrap();
                    println!("ack {id}");
                }
            });
        }
        writers.join_next().await;
    });
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::crash::child_that_writes_until_it_is_killed", "--nocapture"])
        .env(DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    for line in lines {
        let line = line.unwrap();
        // Lines of several threads may stand in one: only whole acknowledgements count.
        if let Some(id) = line.strip_prefix("ack r").filter(|id| id.parse::<u32>().is_ok()) {
            acknowledged.push(format!("r{id}"));
        }
        if acknowledged.len() == ROWS {
            // On Unix this is SIGKILL: no destructor runs, the WAL stays behind.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= ROWS);
    assert!(dir.path().join("hearth.db-wal").exists());
    let store = Store::open(dir.path()).unwrap();
    let (ids, check): (HashSet<String>, String) = store
        .read(|connection| {
            let mut statement = connection.prepare("SELECT request_id FROM usage")?;
            let ids = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let check = connection.pragma_query_value(None, "integrity_check", |row| row.get(0))?;
            Ok((ids, check))
        })
        .await
        .unwrap();
    assert_eq!(check, "ok");
    let lost: Vec<_> = acknowledged.iter().filter(|id| !ids.contains(*id)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let totals = store.usage().totals(UsageFilter::default()).await.unwrap();
    assert_eq!(totals.prompt_tokens, 3 * totals.requests, "no row is half written");
}
