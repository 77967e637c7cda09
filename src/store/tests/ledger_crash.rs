//! Money survives a process that is killed at any moment, and a disk that takes no more.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::ledger::{ANN, KEY, assert_sound, grant, money, sums, used, wish};
use super::ledger_play::Random;
use crate::{Error, Grant, Settled, Store};

/// Tells the child which directory to work on, and from which number on requests are new.
const DIR: &str = "HEARTH_STORE_LEDGER_DIR";
const FIRST: &str = "HEARTH_STORE_LEDGER_FIRST";
/// How often the child is killed, each time on the same directory; with `HEARTH_SLOW=1`, and
/// without.
const KILLS: [u32; 2] = [200, 20];
/// What the wallets have: far more than the requests use.
const BALANCE: u64 = 1_000_000_000;

/// Not a test by itself: the process that the tests below start and kill.
#[test]
fn child_that_spends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let first: u32 = std::env::var(FIRST).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(Path::new(&dir)).unwrap();
        let next = Arc::new(AtomicU32::new(first));
        let mut clients = tokio::task::JoinSet::<Result<(), Error>>::new();
        for _ in 0..16 {
            let (store, next) = (store.clone(), Arc::clone(&next));
            clients.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let id = format!("r{number}");
                    let ledger = store.ledger();
                    ledger.reserve(wish(&id, 50)).await?;
                    let cost = u64::from(number % 50);
                    match number % 4 {
                        0 => {
                            ledger.void(id).await?;
                        }
                        _ => {
                            ledger.settle(used(&id, cost)).await?;
                            println!("\npaid r{number} {cost}.");
                        }
                    }
                }
            });
        }
        while let Some(ended) = clients.join_next().await {
            println!("\nrefused {:?}.", ended.unwrap().unwrap_err());
        }
    });
}

/// Runs the child on a directory; kills it after so many acknowledgements. What it said.
fn run_child(shell: &str, dir: &Path, first: u32, kill_after: u64) -> Vec<String> {
    let mut child = Command::new("sh")
        .args(["-c", &format!("{shell} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "tests::ledger_crash::child_that_spends_until_it_is_killed"])
        .arg("--nocapture")
        .env(DIR, dir)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    let mut acknowledged = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        acknowledged += u64::from(line.starts_with("paid "));
        // Lines that were cut off do not end with a point.
        said.extend(line.strip_suffix('.').map(str::to_owned));
        if acknowledged == kill_after {
            // On Unix this is SIGKILL: no destructor runs, the WAL stays behind.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    said
}

fn kills() -> u32 {
    let is_slow = std::env::var_os("HEARTH_SLOW").is_some_and(|slow| slow == "1");
    KILLS[usize::from(!is_slow)]
}

/// Which requests were acknowledged, with what they cost.
fn paid(said: &[String]) -> HashMap<String, u64> {
    let read = |line: &String| {
        let (id, cost) = line.strip_prefix("paid ")?.split_once(' ')?;
        Some((id.to_owned(), cost.parse().ok()?))
    };
    said.iter().filter_map(read).collect()
}

async fn costs(store: &Store) -> HashMap<String, u64> {
    store
        .read(|connection| {
            let mut statement = connection.prepare("SELECT request_id, cost_micros FROM usage")?;
            let rows = statement
                .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_process_killed_at_random_moments_loses_no_payment_and_no_balance() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    grant(&store, ANN, BALANCE).await;
    grant(&store, KEY, BALANCE).await;
    drop(store);
    let mut random = Random(7);
    let mut acknowledged = HashMap::new();
    for kill in 0..kills() {
        let first = 1_000_000 * kill;
        let said = run_child("", dir.path(), first, 1 + random.below(150));
        acknowledged.extend(paid(&said));
        let store = Store::open(dir.path()).unwrap();
        let booked = costs(&store).await;
        let lost: Vec<_> =
            acknowledged.iter().filter(|(id, cost)| booked.get(*id) != Some(*cost)).collect();
        assert!(lost.is_empty(), "kill {kill}: {lost:?}");
        let used: u64 = booked.values().sum();
        for holder in [ANN, KEY] {
            assert_eq!(sums(&store, holder).await, (BALANCE - used, 0, used), "kill {kill}");
        }
        assert_sound(&store).await;
    }
    assert!(acknowledged.len() >= kills() as usize);
}

/// What stands before the child's command so that strace spoils its flushes of the disk, `when` as it counts them;
/// `None` where there is no strace, or it may not trace.
#[cfg(target_os = "linux")]
fn spoiled_flush(what: &str, when: &str) -> Option<String> {
    let is_there = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let is_there = is_there.is_ok_and(|output| output.status.success());
    is_there.then(|| {
        format!(
            "exec strace -f -o /dev/null -e trace=fsync,fdatasync \
             -e inject=fsync,fdatasync:{what}:when={when} \"$0\" \"$@\";"
        )
    })
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_process_killed_at_any_flush_of_the_disk_loses_nothing_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    grant(&store, ANN, BALANCE).await;
    grant(&store, KEY, BALANCE).await;
    drop(store);
    let mut acknowledged = HashMap::new();
    for n in 1..=kills() / 2 {
        let Some(shell) = spoiled_flush("signal=KILL", &n.to_string()) else { return };
        let said = run_child(&shell, dir.path(), 1_000_000 * n, u64::MAX);
        acknowledged.extend(paid(&said));
        let store = Store::open(dir.path()).unwrap();
        let booked = costs(&store).await;
        let lost: Vec<_> =
            acknowledged.iter().filter(|(id, cost)| booked.get(*id) != Some(*cost)).collect();
        assert!(lost.is_empty(), "flush {n}: {lost:?}");
        let used: u64 = booked.values().sum();
        assert_eq!(sums(&store, ANN).await, (BALANCE - used, 0, used), "flush {n}");
        assert_sound(&store).await;
    }
    assert!(!acknowledged.is_empty());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn after_a_flush_that_failed_nothing_more_is_acknowledged() {
    // Far beyond what opening flushes, as each thread counts its own; and from there on all fail: one
    // that fails while the log is carried into the database spoils no commit.
    for n in [20, 45] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        grant(&store, ANN, BALANCE).await;
        grant(&store, KEY, BALANCE).await;
        drop(store);
        let Some(shell) = spoiled_flush("error=EIO", &format!("{n}+")) else { return };
        let said = run_child(&shell, dir.path(), 0, u64::MAX);
        let refused: Vec<_> = said.iter().filter(|line| line.starts_with("refused ")).collect();
        assert_eq!(refused.len(), 16, "every client is told: {said:?}");
        assert!(refused.iter().any(|line| line.contains("DiskFailed")), "{refused:?}");
        let acknowledged = paid(&said);
        let store = Store::open(dir.path()).unwrap();
        let booked = costs(&store).await;
        assert!(acknowledged.iter().all(|(id, cost)| booked.get(id) == Some(cost)), "flush {n}");
        let used: u64 = booked.values().sum();
        assert_eq!(sums(&store, ANN).await, (BALANCE - used, 0, used), "flush {n}");
        assert_sound(&store).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_disk_that_takes_no_more_acknowledges_nothing_that_is_not_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    grant(&store, ANN, BALANCE).await;
    grant(&store, KEY, BALANCE).await;
    drop(store);
    // Files may grow to 512 blocks of 512 bytes; beyond that writing fails with EFBIG.
    let said = run_child("trap '' XFSZ; ulimit -f 512;", dir.path(), 0, u64::MAX);
    let refused = said.iter().filter(|line| line.starts_with("refused ")).count();
    assert_eq!(refused, 16, "every client is told: {said:?}");
    let acknowledged = paid(&said);
    assert!(!acknowledged.is_empty());
    let store = Store::open(dir.path()).unwrap();
    let booked = costs(&store).await;
    assert!(acknowledged.iter().all(|(id, cost)| booked.get(id) == Some(cost)));
    let used_sum: u64 = booked.values().sum();
    assert_eq!(sums(&store, ANN).await, (BALANCE - used_sum, 0, used_sum));
    assert_sound(&store).await;
    // With room again, the ledger goes on.
    store.ledger().reserve(wish("after", 5)).await.unwrap();
    let settled = store.ledger().settle(used("after", 5)).await.unwrap();
    assert!(matches!(settled, Settled::Now { .. }));
}

#[tokio::test]
async fn a_full_disk_takes_no_money_and_lets_it_be_read() {
    let it = super::Fixture::new();
    grant(&it.store, ANN, 100).await;
    it.store.ledger().reserve(wish("r", 40)).await.unwrap();
    let pages = async |most: i64| {
        it.store
            .write(move |connection| {
                let count: i64 =
                    connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
                let most = most.max(count);
                connection.pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))?;
                Ok(())
            })
            .await
            .unwrap();
    };
    pages(0).await;
    let mut refused = 0;
    for number in 0..400 {
        let id = format!("{number}{}", "x".repeat(400));
        match it.store.ledger().settle(used(&id, 0)).await {
            Ok(_) => {}
            Err(Error::DiskFull) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0);
    assert_eq!(sums(&it.store, ANN).await, (60, 40, 0), "reading goes on");
    assert_sound(&it.store).await;
    pages(1 << 30).await;
    it.store.ledger().settle(used("r", 40)).await.unwrap();
    it.store.ledger().grant(ANN, Grant::Add(money(1)), String::new(), 1).await.unwrap();
    assert_eq!(sums(&it.store, ANN).await, (61, 0, 40));
    assert_sound(&it.store).await;
}
