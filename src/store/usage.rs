//! Rows of what requests used: one per request, however it ended, and never a prompt.

mod pages;
mod sums;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use crate::api_tokens::ApiTokenId;
use crate::channels::ChannelId;
use crate::error::Result;
use crate::groups::GroupId;
use crate::ledger::{self, Settled};
use crate::money::MicroDollars;
use crate::store::Store;
use crate::users::UserId;

pub use pages::{ListedUsage, UsageCursor, UsageFilter, UsageTotals};
pub(crate) use sums::add;
pub use sums::{Dimension, Summary, UsageSum};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The answer is whole.
    Complete,
    /// The client went away.
    Stopped,
    /// The backend failed, or the time limit ended it.
    Failed,
}

/// What one request used. Serialized as Hearth's own API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UsageRow {
    /// The ledger's own name of the request, never used again.
    #[serde(rename = "id")]
    pub request_id: String,
    /// The request's id in its answer's head, which a client may choose and repeat.
    #[serde(rename = "request_id")]
    pub client_request_id: Option<String>,
    /// Who asked; `None` is the operator.
    pub user_id: Option<UserId>,
    /// With which API token; `None` is a session or the operator.
    pub token_id: Option<ApiTokenId>,
    /// The model's public name.
    pub model: String,
    /// Who answered; `None` is this machine.
    pub channel_id: Option<ChannelId>,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of all choices.
    pub completion_tokens: u32,
    /// Part of the prompt that was not computed again.
    pub cached_tokens: u32,
    /// Part of the answer that was thought.
    pub reasoning_tokens: u32,
    /// Whether the tokens were counted here because the provider did not tell them.
    pub is_estimated: bool,
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
    /// Why it ended so, in a word, where the outcome alone does not say.
    pub reason: Option<String>,
    /// Unix seconds of the end.
    pub created_at: i64,
}

impl Default for UsageRow {
    fn default() -> UsageRow {
        UsageRow {
            request_id: String::new(),
            client_request_id: None,
            user_id: None,
            token_id: None,
            model: String::new(),
            channel_id: None,
            prompt_tokens: 0,
            completion_tokens: 0,
            cached_tokens: 0,
            reasoning_tokens: 0,
            is_estimated: false,
            queue_ms: 0,
            first_token_ms: 0,
            total_ms: 0,
            cost: MicroDollars::ZERO,
            outcome: Outcome::Complete,
            reason: None,
            created_at: 0,
        }
    }
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
        let page = self.page(filter, None, limit).await?;
        Ok(page.into_iter().map(|listed| listed.row).collect())
    }

    /// Rows that pass the filter, the newest first, after the one that `before` names.
    pub async fn page(
        &self,
        filter: UsageFilter,
        before: Option<UsageCursor>,
        limit: u32,
    ) -> Result<Vec<ListedUsage>> {
        self.0.read(move |connection| pages::page(connection, &filter, before, limit)).await
    }

    /// Sums over all rows that pass the filter.
    pub async fn totals(&self, filter: UsageFilter) -> Result<UsageTotals> {
        self.0.read(move |connection| pages::totals(connection, &filter)).await
    }

    /// Sums of a span of time by the hours and days that were written with the rows.
    pub async fn summary(&self, question: Summary) -> Result<Vec<UsageSum>> {
        self.0.read(move |connection| sums::summary(connection, &question)).await
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
            "INSERT INTO usage (request_id, client_request_id, user_id, token_id, group_id, model,
                 channel_id, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens,
                 is_estimated, queue_ms, first_token_ms, total_ms, cost_micros, outcome, reason,
                 created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                 ?18, ?19)
             ON CONFLICT (request_id) DO NOTHING",
        )?
        .execute(params![
            row.request_id,
            row.client_request_id,
            row.user_id,
            row.token_id,
            group,
            row.model,
            row.channel_id,
            row.prompt_tokens,
            row.completion_tokens,
            row.cached_tokens,
            row.reasoning_tokens,
            row.is_estimated,
            row.queue_ms.cast_signed(),
            row.first_token_ms.cast_signed(),
            row.total_ms.cast_signed(),
            row.cost,
            row.outcome,
            row.reason,
            row.created_at,
        ])?;
    Ok(added == 1)
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
