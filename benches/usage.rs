//! Questions about usage over ten million requests: a month's sums, pages and filters.
//!
//! `cargo run --release -p hearth-store --example bench-usage -- [ROWS] [DIR]`; ten million rows in
//! a folder of its own without numbers. The rows are of a year: 500 people with 800 API tokens in 8
//! groups use 6 models of 3 channels, most of them by day. They are written by the ledger's own
//! statements, a thousand to a commit, so that hours and days are what they would be.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hearth_store::{
    ApiTokenId, ChannelId, Dimension, MicroDollars, Outcome, Span, Store, Summary, UsageFilter,
    UsageRow, UserId,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The first second of 2026, and how many seconds the rows spread over.
const START: i64 = 1_767_225_600;
const YEAR_S: u64 = 365 * 86_400;
/// The month that is asked about: June.
const MONTH: Span = Span { start: START + 151 * 86_400, end: START + 181 * 86_400 };
/// Requests under way while rows are written.
const WRITERS: u64 = 1_000;
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
            let took =
                median(async || Ok(store.usage().page(filter.clone(), None, 100).await?.len()));
            println!("{name:44} {:8.1} ms", millis(took.await?));
        }
        Ok(())
    })
}

/// A store with so many rows; those that the folder has already are kept.
async fn filled(dir: &Path, rows: u64) -> Result<Store, Failure> {
    let store = Store::open(dir)?;
    let there = store.usage().totals(UsageFilter::default()).await?.requests;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            let mut number = there + writer;
            while number < rows {
                store.usage().record(row(number, rows)).await?;
                number += WRITERS;
            }
            Ok::<_, hearth_store::Error>(())
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(store)
}

fn row(number: u64, rows: u64) -> UsageRow {
    let at = START + (u128::from(number) * u128::from(YEAR_S) / u128::from(rows)) as i64;
    let chance = mix(number);
    // Most people are at work by day: the same 500 come back, few of them at a time.
    let hour = (at / 3_600) as u64;
    let user = mix(hour * 64 + chance % 60) % 500 + 1;
    let token = user + if chance % 5 < 3 { 0 } else { 500 * (user % 2) };
    let model = mix(user) % 3 + (chance >> 8) % 2 * 3;
    let completion = (chance >> 16) as u32 % 900 + 1;
    UsageRow {
        request_id: format!("{number:032x}"),
        client_request_id: Some(format!("c{number:012}")),
        user_id: Some(UserId(user as i64)),
        token_id: Some(ApiTokenId(token as i64)),
        model: format!("model-{model}"),
        channel_id: (model > 2).then(|| ChannelId((model - 2) as i64)),
        prompt_tokens: (chance >> 32) as u32 % 4_000,
        completion_tokens: completion,
        queue_ms: 3,
        first_token_ms: 200,
        total_ms: 200 + u64::from(completion) * 20,
        cost: MicroDollars::ZERO,
        outcome: if chance.is_multiple_of(97) { Outcome::Failed } else { Outcome::Complete },
        created_at: at,
        ..UsageRow::default()
    }
}

/// SplitMix64.
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

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
