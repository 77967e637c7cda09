//! Deliveries of alerts: what waits, and what became of it. They outlive the process.

use rusqlite::{Connection, Row};
use serde::Serialize;
use serde_json::Value;

use super::{AlertWay, Alerts};
use crate::error::Result;
use crate::page;

/// Alerts that are kept, the newest.
const KEPT: i64 = 10_000;

/// A delivery whose time has come.
#[derive(Clone, Debug, PartialEq)]
pub struct DueDelivery {
    /// Names it.
    pub id: i64,
    /// The alert's id.
    pub alert_id: i64,
    /// How.
    pub way: AlertWay,
    /// Where.
    pub address: String,
    /// The target, unless it is for a person.
    pub target_id: Option<i64>,
    /// Sealed secret of the target.
    pub secret: Option<Vec<u8>>,
    /// Attempts before this.
    pub attempts: u32,
    /// As [`super::NewAlert::rule`].
    pub rule: String,
    /// As [`super::NewAlert::subject`].
    pub subject: String,
    /// As [`super::NewAlert::body`].
    pub body: String,
    /// As [`super::NewAlert::detail`].
    pub detail: Value,
    /// Unix seconds.
    pub created_at: i64,
}

/// An alert to one address, for a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SentAlert {
    /// Names the delivery; the list goes on before it.
    pub id: i64,
    /// The alert's id; one alert may go to several addresses.
    pub alert_id: i64,
    /// As [`super::NewAlert::rule`].
    pub rule: String,
    /// As [`super::NewAlert::subject`].
    pub subject: String,
    /// As [`super::NewAlert::detail`].
    pub detail: Value,
    /// How.
    pub way: AlertWay,
    /// Where.
    pub address: String,
    /// `waiting`, `sent` or `failed`.
    pub state: String,
    /// Attempts so far.
    pub attempts: u32,
    /// What the last attempt failed by.
    pub error: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds at which it got there or was given up.
    pub ended_at: Option<i64>,
}

impl Alerts<'_> {
    /// Deliveries that should be tried now, the oldest first.
    pub async fn due(&self, now: i64, limit: u32) -> Result<Vec<DueDelivery>> {
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT d.*, a.rule, a.subject, a.body, a.detail, a.created_at, t.secret
                     FROM alert_deliveries d JOIN alerts a ON a.id = d.alert_id
                         LEFT JOIN alert_targets t ON t.id = d.target_id
                     WHERE d.state = 'waiting' AND d.next_at <= ?1
                     ORDER BY d.next_at, d.id LIMIT ?2",
                )?;
                let due: rusqlite::Result<Vec<DueDelivery>> =
                    statement.query_map((now, page::rows(limit)), read_due)?.collect();
                Ok(due?)
            })
            .await
    }

    /// Notes that a delivery got there.
    pub async fn sent(&self, id: i64, now: i64) -> Result<()> {
        self.0
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE alert_deliveries
                         SET state = 'sent', attempts = attempts + 1, ended_at = ?2, error = NULL
                         WHERE id = ?1",
                    )?
                    .execute((id, now))?;
                forget_old(connection)
            })
            .await
    }

    /// Notes that an attempt failed; there is another one at `next_at`, or none.
    pub async fn failed(
        &self,
        id: i64,
        error: String,
        now: i64,
        next_at: Option<i64>,
    ) -> Result<()> {
        self.0
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE alert_deliveries SET attempts = attempts + 1, error = ?2,
                             state = iif(?4 IS NULL, 'failed', 'waiting'),
                             next_at = coalesce(?4, next_at),
                             ended_at = iif(?4 IS NULL, ?3, NULL)
                         WHERE id = ?1",
                    )?
                    .execute((id, error, now, next_at))?;
                Ok(())
            })
            .await
    }

    /// Deliveries, the newest first, before the one with this id.
    pub async fn list(&self, before: Option<i64>, limit: u32) -> Result<Vec<SentAlert>> {
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT d.*, a.rule, a.subject, a.detail, a.created_at
                     FROM alert_deliveries d JOIN alerts a ON a.id = d.alert_id
                     WHERE d.id < ?1 ORDER BY d.id DESC LIMIT ?2",
                )?;
                let before = before.unwrap_or(i64::MAX);
                let sent: rusqlite::Result<Vec<SentAlert>> =
                    statement.query_map((before, page::rows(limit)), read_sent)?.collect();
                Ok(sent?)
            })
            .await
    }
}

/// Old alerts go once nobody waits for them.
fn forget_old(connection: &Connection) -> Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM alerts WHERE id <= (SELECT max(id) FROM alerts) - ?1
                 AND NOT EXISTS (SELECT 1 FROM alert_deliveries d
                     WHERE d.alert_id = alerts.id AND d.state = 'waiting')",
        )?
        .execute([KEPT])?;
    Ok(())
}

fn detail(row: &Row<'_>) -> rusqlite::Result<Value> {
    let text: String = row.get("detail")?;
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn read_due(row: &Row<'_>) -> rusqlite::Result<DueDelivery> {
    Ok(DueDelivery {
        id: row.get("id")?,
        alert_id: row.get("alert_id")?,
        way: row.get("way")?,
        address: row.get("address")?,
        target_id: row.get("target_id")?,
        secret: row.get("secret")?,
        attempts: row.get("attempts")?,
        rule: row.get("rule")?,
        subject: row.get("subject")?,
        body: row.get("body")?,
        detail: detail(row)?,
        created_at: row.get("created_at")?,
    })
}

fn read_sent(row: &Row<'_>) -> rusqlite::Result<SentAlert> {
    Ok(SentAlert {
        id: row.get("id")?,
        alert_id: row.get("alert_id")?,
        rule: row.get("rule")?,
        subject: row.get("subject")?,
        detail: detail(row)?,
        way: row.get("way")?,
        address: row.get("address")?,
        state: row.get("state")?,
        attempts: row.get("attempts")?,
        error: row.get("error")?,
        created_at: row.get("created_at")?,
        ended_at: row.get("ended_at")?,
    })
}
