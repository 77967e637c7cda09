//! Rows of usage, a page at a time, and sums over rows.

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};
use serde::Serialize;

use super::{Outcome, UsageRow};
use crate::api_tokens::ApiTokenId;
use crate::channels::ChannelId;
use crate::error::Result;
use crate::groups::GroupId;
use crate::page;
use crate::users::UserId;

/// Which rows to count or show. The default is all.
#[derive(Clone, Debug, Default)]
pub struct UsageFilter {
    /// Only this user's.
    pub user_id: Option<UserId>,
    /// Only this API token's.
    pub token_id: Option<ApiTokenId>,
    /// Only of users who were in this group.
    pub group_id: Option<GroupId>,
    /// Only of this model.
    pub model: Option<String>,
    /// Only by this channel; 0 is this machine.
    pub channel_id: Option<ChannelId>,
    /// Only such as ended so.
    pub outcome: Option<Outcome>,
    /// Only with this id in its answer's head, or with this name in the ledger.
    pub request_id: Option<String>,
    /// Rows of this time or later.
    pub since: i64,
    /// Rows before this time.
    pub until: Option<i64>,
}

/// Where a page ends: the next one begins after this row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageCursor {
    /// Its time.
    pub created_at: i64,
    /// Its name in the ledger.
    pub id: String,
}

/// A row with what the ledger added to it, and with names for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListedUsage {
    /// What was used.
    #[serde(flatten)]
    pub row: UsageRow,
    /// The group that its user was in.
    pub group_id: Option<GroupId>,
    /// Part of the cost that no balance was left for.
    pub unpaid_micros: u64,
    /// The user's name, while there is one.
    pub user: Option<String>,
    /// The API token's name, while there is one.
    pub token: Option<String>,
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

/// A condition for each part of a filter that is there: an `OR` with what is absent would keep
/// SQLite from using an index.
struct Conditions<'a> {
    text: String,
    values: Vec<&'a dyn ToSql>,
}

impl<'a> Conditions<'a> {
    fn of(filter: &'a UsageFilter) -> Conditions<'a> {
        let mut all = Conditions { text: "u.created_at >= ?1".to_owned(), values: Vec::new() };
        all.values.push(&filter.since);
        all.add("u.created_at < ?", filter.until.as_ref());
        all.add("u.user_id = ?", filter.user_id.as_ref());
        all.add("u.token_id = ?", filter.token_id.as_ref());
        all.add("u.group_id = ?", filter.group_id.as_ref());
        all.add("u.model = ?", filter.model.as_ref());
        all.add("u.outcome = ?", filter.outcome.as_ref());
        match &filter.channel_id {
            Some(ChannelId(0)) => all.text.push_str(" AND u.channel_id IS NULL"),
            other => all.add("u.channel_id = ?", other.as_ref()),
        }
        if let Some(id) = &filter.request_id {
            all.values.push(id);
            let place = all.values.len();
            all.text.push_str(&format!(
                " AND (u.request_id = ?{place} OR u.client_request_id = ?{place})"
            ));
        }
        all
    }

    fn add<T: ToSql>(&mut self, condition: &str, value: Option<&'a T>) {
        if let Some(value) = value {
            self.values.push(value);
            self.text.push_str(&format!(" AND {condition}{}", self.values.len()));
        }
    }
}

pub(super) fn page(
    connection: &Connection,
    filter: &UsageFilter,
    before: Option<UsageCursor>,
    limit: u32,
) -> Result<Vec<ListedUsage>> {
    let Conditions { mut text, mut values } = Conditions::of(filter);
    let limit = page::rows(limit);
    if let Some(UsageCursor { created_at, id }) = &before {
        let place = values.len() + 1;
        text.push_str(&format!(" AND (u.created_at, u.request_id) < (?{place}, ?{})", place + 1));
        values.extend([created_at as &dyn ToSql, id as &dyn ToSql]);
    }
    values.push(&limit);
    let mut statement = connection.prepare_cached(&format!(
        "SELECT u.*, p.name AS user_name, t.name AS token_name
         FROM usage u LEFT JOIN users p ON p.id = u.user_id
             LEFT JOIN api_tokens t ON t.id = u.token_id
         WHERE {text} ORDER BY u.created_at DESC, u.request_id DESC LIMIT ?{}",
        values.len()
    ))?;
    let rows: rusqlite::Result<Vec<ListedUsage>> =
        statement.query_map(values.as_slice(), read)?.collect();
    Ok(rows?)
}

pub(super) fn totals(connection: &Connection, filter: &UsageFilter) -> Result<UsageTotals> {
    let Conditions { text, values } = Conditions::of(filter);
    let mut statement = connection.prepare_cached(&format!(
        "SELECT count(*), coalesce(sum(u.prompt_tokens), 0),
             coalesce(sum(u.completion_tokens), 0), coalesce(sum(u.cost_micros), 0)
         FROM usage u WHERE {text}"
    ))?;
    let totals = statement.query_row(values.as_slice(), |row| {
        Ok(UsageTotals {
            requests: row.get::<_, i64>(0)?.unsigned_abs(),
            prompt_tokens: row.get::<_, i64>(1)?.unsigned_abs(),
            completion_tokens: row.get::<_, i64>(2)?.unsigned_abs(),
            cost_micros: row.get::<_, i64>(3)?.unsigned_abs(),
        })
    })?;
    Ok(totals)
}

fn read(row: &Row<'_>) -> rusqlite::Result<ListedUsage> {
    let used = UsageRow {
        request_id: row.get("request_id")?,
        client_request_id: row.get("client_request_id")?,
        user_id: row.get("user_id")?,
        token_id: row.get("token_id")?,
        model: row.get("model")?,
        channel_id: row.get("channel_id")?,
        prompt_tokens: row.get("prompt_tokens")?,
        completion_tokens: row.get("completion_tokens")?,
        cached_tokens: row.get("cached_tokens")?,
        reasoning_tokens: row.get("reasoning_tokens")?,
        is_estimated: row.get("is_estimated")?,
        queue_ms: row.get::<_, i64>("queue_ms")?.unsigned_abs(),
        first_token_ms: row.get::<_, i64>("first_token_ms")?.unsigned_abs(),
        total_ms: row.get::<_, i64>("total_ms")?.unsigned_abs(),
        cost: row.get("cost_micros")?,
        outcome: row.get("outcome")?,
        reason: row.get("reason")?,
        created_at: row.get("created_at")?,
    };
    Ok(ListedUsage {
        row: used,
        group_id: row.get("group_id")?,
        unpaid_micros: row.get::<_, i64>("unpaid_micros")?.unsigned_abs(),
        user: row.get("user_name")?,
        token: row.get("token_name")?,
    })
}
