//! Reserve, settle and log, everything on the disk: the ledger beside a connection per thread.
//!
//! `cargo run --release -p hearth-store --example bench-ledger -- [CLIENTS] [SECONDS] [ROUNDS]`;
//! 64 clients, 3 seconds and 3 rounds without numbers. Each client makes one request after the
//! other: it reserves, settles, and so pays from the wallets of a user and an API token and writes
//! a row of usage. The peer does the same sums in the same tables with the same `synchronous=FULL`
//! by the usual design, a connection and two transactions of its own for each thread. Sides take
//! turns in each round.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hearth_store::{
    Amounts, ApiTokenId, Grant, Holder, MicroDollars, Outcome, Reservation, Store, UsageRow, UserId,
};
use rusqlite::{Connection, TransactionBehavior};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a request reserves and costs, in micro-dollars.
const RESERVED: u64 = 900;
const COST: u64 = 700;
/// What each wallet has.
const BALANCE: u64 = 900_000_000_000_000;

/// What one side did in one round.
struct Side {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    most_ms: f64,
}

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn main() -> Result<(), Failure> {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse::<u64>().ok());
    let clients = numbers.next().unwrap_or(64);
    let time = Duration::from_secs(numbers.next().unwrap_or(3));
    let rounds = numbers.next().unwrap_or(3);
    println!("{clients} clients, {} s a side, {rounds} rounds", time.as_secs());
    println!("{:28} {:>10} {:>9} {:>9} {:>9}", "", "requests/s", "p50 ms", "p99 ms", "most ms");
    for _ in 0..rounds {
        for (name, side) in [
            ("one writer, group commit", ledger(clients, time)?),
            ("a connection per thread", naive(clients, time)?),
        ] {
            let Side { per_second, p50_ms, p99_ms, most_ms } = side;
            println!("{name:28} {per_second:10.0} {p50_ms:9.2} {p99_ms:9.2} {most_ms:9.2}");
        }
    }
    Ok(())
}

/// Hearth's own ledger.
fn ledger(clients: u64, time: Duration) -> Result<Side, Failure> {
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let side = runtime.block_on(async {
        let store = Store::open(dir.path())?;
        for client in 1..=clients.cast_signed() {
            for holder in [Holder::User(UserId(client)), Holder::Token(ApiTokenId(client))] {
                let grant = Grant::Add(dollars(BALANCE)?);
                store.ledger().grant(holder, grant, "bench".to_owned(), 1).await?;
            }
        }
        let begun = Instant::now();
        let next = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = (1..=clients)
            .map(|client| {
                let (store, next) = (store.clone(), Arc::clone(&next));
                tokio::spawn(async move {
                    let mut took = Vec::new();
                    while begun.elapsed() < time {
                        let started = Instant::now();
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        request(&store, client, number).await?;
                        took.push(started.elapsed());
                    }
                    Ok::<_, Failure>(took)
                })
            })
            .collect();
        let mut took = Vec::new();
        for task in tasks {
            took.extend(task.await??);
        }
        let side = Side::of(took, begun.elapsed());
        let report = store.ledger().check().await?;
        if !report.problems.is_empty() {
            return Err(report.problems.join("; ").into());
        }
        Ok::<_, Failure>(side)
    })?;
    Ok(side)
}

async fn request(store: &Store, client: u64, number: u64) -> Result<(), Failure> {
    let (user, token) = (UserId(client.cast_signed()), ApiTokenId(client.cast_signed()));
    // Ids grow with the time, as those that the gateway makes.
    let request_id = format!("{number:032x}");
    let most = Amounts { money: dollars(RESERVED)?, tokens: 900 };
    let wish = Reservation {
        request_id: request_id.clone(),
        user_id: Some(user),
        token_id: Some(token),
        least: most,
        most,
        now: 1_800_000_000,
        expires_at: 1_800_003_600,
        calendar: |_, _, _| None,
    };
    store.ledger().reserve(wish).await?;
    let row = UsageRow {
        client_request_id: Some(request_id.clone()),
        request_id,
        user_id: Some(user),
        token_id: Some(token),
        model: "qwen3:8b".to_owned(),
        prompt_tokens: 500,
        completion_tokens: 200,
        cached_tokens: 100,
        queue_ms: 1,
        first_token_ms: 100,
        total_ms: 2_000,
        cost: dollars(COST)?,
        outcome: Outcome::Complete,
        created_at: 1_800_000_000,
        ..UsageRow::default()
    };
    store.ledger().settle(row).await?;
    Ok(())
}

fn dollars(micros: u64) -> Result<MicroDollars, Failure> {
    MicroDollars::new(micros).ok_or_else(|| "too much money".into())
}

/// What most gateways do: each thread opens the database and waits for its lock.
fn naive(clients: u64, time: Duration) -> Result<Side, Failure> {
    let dir = tempfile::tempdir()?;
    drop(Store::open(dir.path())?);
    let path = Arc::new(dir.path().join("hearth.db"));
    let open = |path: &std::path::Path| -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(30))?;
        connection.pragma_update(None, "synchronous", "full")?;
        Ok(connection)
    };
    let setup = open(&path)?;
    for client in 1..=clients.cast_signed() {
        for kind in ["user", "token"] {
            setup.execute(
                "INSERT INTO wallets (kind, holder_id, is_unlimited, granted_micros,
                     remaining_micros) VALUES (?1, ?2, 0, ?3, ?3)",
                (kind, client, BALANCE.cast_signed()),
            )?;
        }
    }
    let begun = Instant::now();
    let done = AtomicU64::new(0);
    let took = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=clients.cast_signed())
            .map(|client| {
                let (path, done) = (Arc::clone(&path), &done);
                scope.spawn(move || {
                    let mut connection = open(&path)?;
                    let mut took = Vec::new();
                    while begun.elapsed() < time {
                        let started = Instant::now();
                        let number = done.fetch_add(1, Ordering::Relaxed);
                        naive_request(&mut connection, client, number)?;
                        took.push(started.elapsed());
                    }
                    Ok::<_, rusqlite::Error>(took)
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        let joined: Result<Vec<_>, _> = joined.collect();
        joined.map_err(|_| Failure::from("a thread panicked"))
    })?;
    let took: Result<Vec<Vec<Duration>>, _> = took.into_iter().collect();
    Ok(Side::of(took?.into_iter().flatten().collect(), begun.elapsed()))
}

fn naive_request(connection: &mut Connection, client: i64, number: u64) -> rusqlite::Result<()> {
    let id = format!("{number:08}-4f2a-9c1d-0000");
    let (reserved, cost) = (RESERVED.cast_signed(), COST.cast_signed());
    let reserve = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for kind in ["token", "user"] {
        reserve
            .prepare_cached(
                "UPDATE wallets SET remaining_micros = remaining_micros - ?3,
                     held_micros = held_micros + ?3
                 WHERE kind = ?1 AND holder_id = ?2 AND remaining_micros >= ?3",
            )?
            .execute((kind, client, reserved))?;
    }
    reserve.commit()?;
    let settle = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for kind in ["token", "user"] {
        settle
            .prepare_cached(
                "UPDATE wallets SET remaining_micros = remaining_micros + ?3 - ?4,
                     held_micros = held_micros - ?3, used_micros = used_micros + ?4
                 WHERE kind = ?1 AND holder_id = ?2",
            )?
            .execute((kind, client, reserved, cost))?;
    }
    settle
        .prepare_cached(
            "INSERT INTO usage (request_id, user_id, token_id, model, prompt_tokens,
                 completion_tokens, cached_tokens, queue_ms, first_token_ms, total_ms, outcome,
                 cost_micros, created_at)
             VALUES (?1, ?2, ?2, 'qwen3:8b', 500, 200, 100, 1, 100, 2000, 'complete', ?3,
                 1800000000)",
        )?
        .execute((id, client, cost))?;
    settle.commit()
}

impl Side {
    fn of(mut took: Vec<Duration>, whole: Duration) -> Side {
        took.sort();
        let at = |share: f64| {
            let index = ((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1));
            took.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
        };
        Side {
            per_second: took.len() as f64 / whole.as_secs_f64(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            most_ms: at(1.0),
        }
    }
}
