//! Rows of what requests used: one per request, however it ended, and never a prompt.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, named_params};
use serde::Serialize;

use crate::api_tokens::ApiTokenId;
use crate::error::Result;
use crate::groups::GroupId;
use crate::ledger::{self, Settled};
use crate::money::MicroDollars;
use crate::page;
use crate::store::Store;
use crate::users::UserId;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The answer is whole.
    Complete,
    /// The client went away.
    Stopped,
    /// The backend failed, or the time limit ended it.
    Failed,
}

/// What one request used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UsageRow {
    /// Names the request.
    pub request_id: String,
    /// Who asked; `None` is the operator.
    pub user_id: Option<UserId>,
    /// With which API token; `None` is a session or the operator.
    pub token_id: Option<ApiTokenId>,
    /// The model's public name.
    pub model: String,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of all choices.
    pub completion_tokens: u32,
    /// Part of the prompt that was not computed again.
    pub cached_tokens: u32,
    /// Time in the queue.
    pub queue_ms: u64,
    /// Time from the request to the first token.
    pub first_token_ms: u64,
    /// Time from the request to the end.
    pub total_ms: u64,
    /// What it costs.
    #[serde(rename = "cost_micros")]
    pub cost: MicroDollars,
    /// How the request ended.
    pub outcome: Outcome,
    /// Unix seconds of the end.
    pub created_at: i64,
}

/// Which rows to count or show.
#[derive(Clone, Debug, Default)]
pub struct UsageFilter {
    /// Only this user's; `None` is everybody's.
    pub user_id: Option<UserId>,
    /// Rows of this time or later.
    pub since: i64,
}

/// Sums over rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UsageTotals {
    /// Number of requests.
    pub requests: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Tokens of their answers.
    pub completion_tokens: u64,
    /// What they cost, in micro-dollars.
    pub cost_micros: u64,
}

/// Questions about usage.
pub struct UsageTable<'a>(pub(crate) &'a Store);

impl UsageTable<'_> {
    /// Records a request that reserved nothing; says whether it was not recorded before. The
    /// first record stays.
    pub async fn record(&self, row: UsageRow) -> Result<bool> {
        let settled = self.0.write(move |connection| ledger::settle(connection, &row)).await?;
        Ok(matches!(settled, Settled::Now { .. }))
    }

    /// The latest rows, the newest first.
    pub async fn latest(&self, filter: UsageFilter, limit: u32) -> Result<Vec<UsageRow>> {
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT * FROM usage WHERE (?1 IS NULL OR user_id = ?1) AND created_at >= ?2
                     ORDER BY created_at DESC, request_id DESC LIMIT ?3",
                )?;
                let rows: rusqlite::Result<Vec<UsageRow>> = statement
                    .query_map((filter.user_id, filter.since, page::rows(limit)), read_row)?
                    .collect();
                Ok(rows?)
            })
            .await
    }

    /// Sums over all rows that pass the filter.
    pub async fn totals(&self, filter: UsageFilter) -> Result<UsageTotals> {
        self.0
            .read(move |connection| {
                let totals = connection
                    .prepare_cached(
                        "SELECT count(*), coalesce(sum(prompt_tokens), 0),
                             coalesce(sum(completion_tokens), 0),
                             coalesce(sum(cost_micros), 0)
                         FROM usage WHERE (?1 IS NULL OR user_id = ?1) AND created_at >= ?2",
                    )?
                    .query_row((filter.user_id, filter.since), |row| {
                        Ok(UsageTotals {
                            requests: row.get::<_, i64>(0)?.unsigned_abs(),
                            prompt_tokens: row.get::<_, i64>(1)?.unsigned_abs(),
                            completion_tokens: row.get::<_, i64>(2)?.unsigned_abs(),
                            cost_micros: row.get::<_, i64>(3)?.unsigned_abs(),
                        })
                    })?;
                Ok(totals)
            })
            .await
    }
}

/// Writes a row, for whoever does more in the same transaction; says whether it is new.
pub(crate) fn insert(
    connection: &Connection,
    row: &UsageRow,
    group: Option<GroupId>,
) -> Result<bool> {
    let added = connection
        .prepare_cached(
            "INSERT INTO usage (request_id, user_id, token_id, group_id, model, prompt_tokens,
                 completion_tokens, cached_tokens, queue_ms, first_token_ms, total_ms,
                 cost_micros, outcome, created_at)
             VALUES (:request_id, :user_id, :token_id, :group_id, :model, :prompt_tokens,
                 :completion_tokens, :cached_tokens, :queue_ms, :first_token_ms, :total_ms,
                 :cost, :outcome, :created_at)
             ON CONFLICT (request_id) DO NOTHING",
        )?
        .execute(named_params! {
            ":request_id": row.request_id,
            ":user_id": row.user_id,
            ":token_id": row.token_id,
            ":group_id": group,
            ":model": row.model,
            ":prompt_tokens": row.prompt_tokens,
            ":completion_tokens": row.completion_tokens,
            ":cached_tokens": row.cached_tokens,
            ":queue_ms": row.queue_ms as i64,
            ":first_token_ms": row.first_token_ms as i64,
            ":total_ms": row.total_ms as i64,
            ":cost": row.cost,
            ":outcome": row.outcome,
            ":created_at": row.created_at,
        })?;
    Ok(added == 1)
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<UsageRow> {
    Ok(UsageRow {
        request_id: row.get("request_id")?,
        user_id: row.get("user_id")?,
        token_id: row.get("token_id")?,
        model: row.get("model")?,
        prompt_tokens: row.get("prompt_tokens")?,
        completion_tokens: row.get("completion_tokens")?,
        cached_tokens: row.get("cached_tokens")?,
        queue_ms: row.get::<_, i64>("queue_ms")?.unsigned_abs(),
        first_token_ms: row.get::<_, i64>("first_token_ms")?.unsigned_abs(),
        total_ms: row.get::<_, i64>("total_ms")?.unsigned_abs(),
        cost: row.get("cost_micros")?,
        outcome: row.get("outcome")?,
        created_at: row.get("created_at")?,
    })
}

impl ToSql for Outcome {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = match self {
            Outcome::Complete => "complete",
            Outcome::Stopped => "stopped",
            Outcome::Failed => "failed",
        };
        Ok(text.into())
    }
}

impl FromSql for Outcome {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Outcome> {
        match value.as_str()? {
            "complete" => Ok(Outcome::Complete),
            "stopped" => Ok(Outcome::Stopped),
            "failed" => Ok(Outcome::Failed),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}
