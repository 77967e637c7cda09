//! Questions about usage over ten million requests: a month's sums, pages and filters.
//!
//! `cargo run --release -p hearth-store --example bench-usage -- [ROWS] [DIR]`; ten million rows in
//! a folder of its own without numbers. The rows are of a year: 500 people with 750 API tokens
//! use 6 models, three of them by channels; about sixty of them at work in the same hour.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hearth_store::{Dimension, Outcome, Span, Store, Summary, UsageFilter, UserId};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The first second of 2026, and how many seconds the rows spread over.
const START: i64 = 1_767_225_600;
const YEAR_S: u64 = 365 * 86_400;
/// The month that is asked about: June.
const MONTH: Span = Span { start: START + 151 * 86_400, end: START + 181 * 86_400 };
/// Times that each question is asked; the median counts.
const ROUNDS: usize = 5;

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let rows: u64 = arguments.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let own = tempfile::tempdir()?;
    let dir = arguments.next().map_or_else(|| own.path().to_owned(), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let begun = Instant::now();
        let store = filled(&dir, rows).await?;
        println!("{rows} rows are there after {} s", begun.elapsed().as_secs());
        ask_for_sums(&store).await?;
        ask_for_pages(&store, rows).await
    })
}

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
async fn ask_for_sums(store: &Store) -> Result<(), Failure> {
    let all = UsageFilter::default();
    for (name, by) in [
        ("a month's sum", None),
        ("a month by user", Some(Dimension::User)),
        ("a month by API token", Some(Dimension::Token)),
        ("a month by group", Some(Dimension::Group)),
        ("a month by model", Some(Dimension::Model)),
        ("a month by channel", Some(Dimension::Channel)),
    ] {
        let question = Summary { span: MONTH, by, filter: all.clone() };
        let took = median(async || Ok(store.usage().summary(question.clone()).await?.len()));
        println!("{name:44} {:8.1} ms", millis(took.await?));
    }
    let hours = Span { start: MONTH.start - 7_200, end: MONTH.end - 7_200 };
    let question = Summary { span: hours, by: Some(Dimension::User), filter: all.clone() };
    let took = median(async || Ok(store.usage().summary(question.clone()).await?.len()));
    println!("{:44} {:8.1} ms", "a month of another zone by user", millis(took.await?));
    let took = median(async || {
        let mut count = 0;
        for day in 0..30 {
            let start = MONTH.start - 7_200 + day * 86_400;
            let span = Span { start, end: start + 86_400 };
            let question = Summary { span, by: Some(Dimension::Model), filter: all.clone() };
            count += store.usage().summary(question).await?.len();
        }
        Ok(count)
    });
    println!("{:44} {:8.1} ms", "its thirty days by model", millis(took.await?));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
async fn ask_for_pages(store: &Store, rows: u64) -> Result<(), Failure> {
    let all = UsageFilter::default();
    let in_month = UsageFilter { since: MONTH.start, until: Some(MONTH.end), ..all };
    for (name, filter) in [
        ("a page of the month", in_month.clone()),
        ("a page of one user", UsageFilter { user_id: Some(UserId(77)), ..in_month.clone() }),
        (
            "a page of one model's failures",
            UsageFilter {
                model: Some("model-3".to_owned()),
                outcome: Some(Outcome::Failed),
                ..in_month.clone()
            },
        ),
        (
            "one request by its id",
            UsageFilter {
                request_id: Some(format!("c{:012}", rows / 2)),
                ..UsageFilter::default()
            },
        ),
    ] {
        let took = median(async || Ok(store.usage().page(filter.clone(), None, 100).await?.len()));
        println!("{name:44} {:8.1} ms", millis(took.await?));
    }
    Ok(())
}

/// A store with so many rows; a folder that has them already is taken as it is.
async fn filled(dir: &Path, rows: u64) -> Result<Store, Failure> {
    let store = Store::open(dir)?;
    if store.usage().totals(UsageFilter::default()).await?.requests == rows {
        return Ok(store);
    }
    drop(store);
    // By the database's own means: settling ten million requests takes a quarter of an hour.
    let connection = rusqlite::Connection::open(dir.join("hearth.db"))?;
    // One transaction of gigabytes is kept in no log.
    connection.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_mode", "off", |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -1_000_000)?;
    connection.execute_batch("BEGIN")?;
    connection.execute(FILL, (rows as i64, YEAR_S as i64, START))?;
    for (table, seconds) in [("usage_hours", 3_600), ("usage_days", 86_400)] {
        connection.execute(
            &format!(
                "INSERT INTO {table}
                 SELECT created_at - created_at % {seconds}, user_id, token_id, 0,
                     coalesce(channel_id, 0), model, count(*), sum(outcome = 'failed'),
                     sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens),
                     sum(cost_micros), sum(first_token_ms), sum(total_ms)
                 FROM usage GROUP BY 1, 2, 3, 5, 6"
            ),
            [],
        )?;
    }
    connection.execute_batch("COMMIT")?;
    drop(connection);
    Ok(Store::open(dir)?)
}

/// ?1 rows over ?2 seconds from ?3 on. Multipliers are odd and large: no two columns go together.
const FILL: &str = "
    WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?1),
    chances AS (
        SELECT n, ?3 + n * ?2 / ?1 AS at, n * 2654435761 % 4294967296 AS chance FROM numbers
    ), people AS (
        -- About sixty of the 500 are at work in the same hour.
        SELECT n, at, chance, (at / 3600 * 40503 + chance % 60 * 7919) % 500 + 1 AS user
        FROM chances
    )
    INSERT INTO usage (request_id, client_request_id, user_id, token_id, model, channel_id,
        prompt_tokens, completion_tokens, cached_tokens, queue_ms, first_token_ms, total_ms,
        outcome, created_at)
    SELECT printf('%032x', n), printf('c%012d', n), user,
        user + iif(chance / 64 % 5 < 3, 0, 500 * (user % 2)),
        'model-' || (user % 3 + chance / 512 % 2 * 3),
        iif(chance / 512 % 2 = 1, user % 3 + 1, NULL),
        chance / 1024 % 4000, chance / 4096 % 900 + 1, 0, 3, 200, 9000,
        iif(chance % 97 = 0, 'failed', 'complete'), at
    FROM people";

async fn median(ask: impl AsyncFn() -> Result<usize, Failure>) -> Result<Duration, Failure> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        if ask().await? == 0 {
            return Err("a question without an answer".into());
        }
        times.push(started.elapsed());
    }
    times.sort();
    Ok(times[ROUNDS / 2])
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
