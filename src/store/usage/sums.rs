//! Sums of usage by the hour and by the day: written with each row, so that a month of ten million
//! requests is told from some thousands of rows.

use rusqlite::types::ToSql;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::{Outcome, UsageFilter, UsageRow};
use crate::error::Result;
use crate::groups::GroupId;
use crate::ledger::Span;

/// Seconds of an hour and of a day.
const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;
/// Most sums that one question returns, the largest ones.
const MAX_SUMS: i64 = 10_000;

/// By what sums are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dimension {
    /// People.
    User,
    /// API tokens.
    Token,
    /// Groups.
    Group,
    /// Models.
    Model,
    /// Channels; 0 is this machine.
    Channel,
}

/// What to sum up.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Whole hours; the parts of hours at its ends count as whole.
    pub span: Span,
    /// `None` is one sum of all.
    pub by: Option<Dimension>,
    /// Its user, API token, group, model and channel; the rest of it is not looked at.
    pub filter: UsageFilter,
}

/// One sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UsageSum {
    /// The id or the model's name; empty for the sum of all. 0 is nobody, of channels this machine.
    pub key: String,
    /// The name of the user, API token or group, while there is one.
    pub name: Option<String>,
    /// Requests.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Part of them that was not computed again.
    pub cached_tokens: u64,
    /// Tokens of answers.
    pub completion_tokens: u64,
    /// What they cost, in micro-dollars.
    pub cost_micros: u64,
    /// Times to the first token, added up.
    pub first_token_ms: u64,
    /// Times to the end, added up.
    pub total_ms: u64,
}

impl Dimension {
    fn column(self) -> &'static str {
        match self {
            Dimension::User => "user_id",
            Dimension::Token => "token_id",
            Dimension::Group => "group_id",
            Dimension::Model => "model",
            Dimension::Channel => "channel_id",
        }
    }

    /// Where its names stand, for people.
    fn name(self) -> &'static str {
        match self {
            Dimension::User => "(SELECT name FROM users WHERE id = key)",
            Dimension::Token => "(SELECT name FROM api_tokens WHERE id = key)",
            Dimension::Group => "(SELECT name FROM groups WHERE id = key)",
            Dimension::Model | Dimension::Channel => "NULL",
        }
    }
}

/// Adds a row to its hour and its day.
pub(crate) fn add(connection: &Connection, row: &UsageRow, group: Option<GroupId>) -> Result<()> {
    for (statement, seconds) in [(ADD_HOUR, HOUR_S), (ADD_DAY, DAY_S)] {
        connection.prepare_cached(statement)?.execute(params![
            row.created_at - row.created_at.rem_euclid(seconds),
            row.user_id.map_or(0, |id| id.0),
            row.token_id.map_or(0, |id| id.0),
            group.map_or(0, |id| id.0),
            row.channel_id.map_or(0, |id| id.0),
            row.model,
            row.outcome == Outcome::Failed,
            row.prompt_tokens,
            row.cached_tokens,
            row.completion_tokens,
            row.cost,
            row.first_token_ms.cast_signed(),
            row.total_ms.cast_signed(),
        ])?;
    }
    Ok(())
}

macro_rules! adding_to {
    ($table:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT DO UPDATE SET requests = requests + 1, failed = failed + ?7,
                 prompt_tokens = prompt_tokens + ?8, cached_tokens = cached_tokens + ?9,
                 completion_tokens = completion_tokens + ?10, cost_micros = cost_micros + ?11,
                 first_token_ms = first_token_ms + ?12, total_ms = total_ms + ?13"
        )
    };
}

const ADD_HOUR: &str = adding_to!("usage_hours");
const ADD_DAY: &str = adding_to!("usage_days");

pub(super) fn summary(connection: &Connection, question: &Summary) -> Result<Vec<UsageSum>> {
    let Span { start, end } = question.span;
    // Whole days stand in one row for each who used something; the hours around them are added.
    let first_day = (start + DAY_S - 1).div_euclid(DAY_S) * DAY_S;
    let last_day = (end.div_euclid(DAY_S) * DAY_S).max(first_day);
    let (hours_before, hours_after) = (first_day.min(end), last_day.min(end).max(start));
    let start = start - start.rem_euclid(HOUR_S);
    let mut values: Vec<&dyn ToSql> =
        vec![&start, &hours_before, &first_day, &last_day, &hours_after, &end, &MAX_SUMS];
    let mut conditions = String::new();
    let filter = &question.filter;
    let parts: [(&str, Option<&dyn ToSql>); 5] = [
        ("user_id", filter.user_id.as_ref().map(|id| id as &dyn ToSql)),
        ("token_id", filter.token_id.as_ref().map(|id| id as &dyn ToSql)),
        ("group_id", filter.group_id.as_ref().map(|id| id as &dyn ToSql)),
        ("channel_id", filter.channel_id.as_ref().map(|id| id as &dyn ToSql)),
        ("model", filter.model.as_ref().map(|model| model as &dyn ToSql)),
    ];
    for (column, value) in parts {
        if let Some(value) = value {
            values.push(value);
            conditions.push_str(&format!(" AND {column} = ?{}", values.len()));
        }
    }
    let key = question.by.map_or("''", Dimension::column);
    let name = question.by.map_or("NULL", Dimension::name);
    let columns = format!(
        "{key} AS key, requests, failed, prompt_tokens, cached_tokens, completion_tokens,
         cost_micros, first_token_ms, total_ms"
    );
    let mut statement = connection.prepare_cached(&format!(
        "SELECT key, {name}, requests, failed, prompt, cached, completion, cost, first, total FROM (
             SELECT key, sum(requests) AS requests, sum(failed) AS failed,
                 sum(prompt_tokens) AS prompt, sum(cached_tokens) AS cached,
                 sum(completion_tokens) AS completion, sum(cost_micros) AS cost,
                 sum(first_token_ms) AS first, sum(total_ms) AS total
             FROM (
                 SELECT {columns} FROM usage_days
                     WHERE start >= ?3 AND start < ?4{conditions}
                 UNION ALL SELECT {columns} FROM usage_hours
                     WHERE start >= ?1 AND start < ?2{conditions}
                 UNION ALL SELECT {columns} FROM usage_hours
                     WHERE start >= ?5 AND start < ?6{conditions}
             ) GROUP BY key ORDER BY cost DESC, requests DESC LIMIT ?7)"
    ))?;
    let sums: rusqlite::Result<Vec<UsageSum>> =
        statement.query_map(values.as_slice(), read)?.collect();
    Ok(sums?)
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<UsageSum> {
    let count = |index: usize| row.get::<_, i64>(index).map(i64::unsigned_abs);
    let key = match row.get_ref(0)? {
        rusqlite::types::ValueRef::Integer(id) => id.to_string(),
        other => other.as_str()?.to_owned(),
    };
    Ok(UsageSum {
        key,
        name: row.get(1)?,
        requests: count(2)?,
        failed: count(3)?,
        prompt_tokens: count(4)?,
        cached_tokens: count(5)?,
        completion_tokens: count(6)?,
        cost_micros: count(7)?,
        first_token_ms: count(8)?,
        total_ms: count(9)?,
    })
}
