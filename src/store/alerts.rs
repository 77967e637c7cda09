//! Rows of alerts: what is watched, who hears of it, what happened, and what has got there.

mod outbox;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::store::Store;

pub use outbox::{DueDelivery, SentAlert};

/// Most places where alerts go.
const MAX_TARGETS: i64 = 20;

/// How an alert travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertWay {
    /// To an address of e-mail.
    Email,
    /// To an address of the web.
    Webhook,
}

/// Where alerts go. The secret of a webhook is kept sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertTarget {
    /// Never used again for another.
    pub id: i64,
    /// How.
    pub way: AlertWay,
    /// Where.
    pub address: String,
    /// Sealed; signs what a webhook is sent.
    #[serde(skip)]
    pub secret: Option<Vec<u8>>,
    /// Unix seconds.
    pub created_at: i64,
}

/// A rule as it was set; what its numbers mean is decided above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertRule {
    /// Names it.
    pub rule: String,
    /// Whether it is watched.
    pub is_on: bool,
    /// From where on it speaks.
    pub threshold: u64,
    /// Below this it is silent whatever the threshold says.
    pub floor: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAlert {
    /// Names it once and for all: a second one of the same name is not written.
    pub occasion: String,
    /// The rule that spoke.
    pub rule: String,
    /// In a line.
    pub subject: String,
    /// In some sentences.
    pub body: String,
    /// For programs.
    pub detail: Value,
    /// Unix seconds.
    pub created_at: i64,
    /// The address of the person whom it is about, to be told besides.
    pub person: Option<String>,
    /// Which targets hear of it.
    pub audience: AlertAudience,
}

/// Which targets hear of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertAudience {
    /// Every target.
    All,
    /// This one.
    One(i64),
}

/// Questions about alerts.
pub struct Alerts<'a>(pub(crate) &'a Store);

impl Alerts<'_> {
    /// Rules that were set.
    pub async fn rules(&self) -> Result<Vec<AlertRule>> {
        self.0
            .read(|connection| {
                let mut statement =
                    connection.prepare_cached("SELECT * FROM alert_rules ORDER BY rule")?;
                let rules: rusqlite::Result<Vec<AlertRule>> = statement
                    .query_map([], |row| {
                        Ok(AlertRule {
                            rule: row.get("rule")?,
                            is_on: row.get("is_on")?,
                            threshold: row.get::<_, i64>("threshold")?.unsigned_abs(),
                            floor: row.get::<_, i64>("floor")?.unsigned_abs(),
                        })
                    })?
                    .collect();
                Ok(rules?)
            })
            .await
    }

    /// Sets a rule.
    pub async fn set_rule(&self, rule: AlertRule) -> Result<()> {
        self.0
            .write(move |connection| {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO alert_rules VALUES (?1, ?2, ?3, ?4)")?
                    .execute((
                        rule.rule,
                        rule.is_on,
                        rule.threshold.cast_signed(),
                        rule.floor.cast_signed(),
                    ))?;
                Ok(())
            })
            .await
    }

    /// Where alerts go.
    pub async fn targets(&self) -> Result<Vec<AlertTarget>> {
        self.0
            .read(|connection| {
                let mut statement = connection
                    .prepare_cached("SELECT * FROM alert_targets ORDER BY id LIMIT ?1")?;
                let targets: rusqlite::Result<Vec<AlertTarget>> =
                    statement.query_map([MAX_TARGETS], read_target)?.collect();
                Ok(targets?)
            })
            .await
    }

    /// Adds a target, whose secret is sealed by what its id makes of it.
    pub async fn add_target<F>(
        &self,
        way: AlertWay,
        address: String,
        created_at: i64,
        seal: F,
    ) -> Result<AlertTarget>
    where
        F: FnOnce(i64) -> std::result::Result<Option<Vec<u8>>, String> + Send + 'static,
    {
        self.0
            .write(move |connection| {
                let count: i64 = connection
                    .prepare_cached("SELECT count(*) FROM alert_targets")?
                    .query_row([], |row| row.get(0))?;
                if count >= MAX_TARGETS {
                    return Err(Error::TooMany { what: "targets", limit: MAX_TARGETS as u64 });
                }
                let id: i64 = connection
                    .prepare_cached(
                        "INSERT INTO alert_targets (way, address, created_at)
                         VALUES (?1, ?2, ?3) RETURNING id",
                    )?
                    .query_row((way, &address, created_at), |row| row.get(0))
                    .map_err(|error| match Error::from(error) {
                        error if error.is_unique_violation() => Error::NameTaken,
                        error => error,
                    })?;
                let secret = seal(id).map_err(Error::Unsealable)?;
                let target = connection
                    .prepare_cached(
                        "UPDATE alert_targets SET secret = ?2 WHERE id = ?1 RETURNING *",
                    )?
                    .query_row((id, secret), read_target)?;
                Ok(target)
            })
            .await
    }

    /// Removes a target, and what it still waits for; fails with [`Error::NotFound`].
    pub async fn remove_target(&self, id: i64) -> Result<()> {
        self.0
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "DELETE FROM alert_deliveries WHERE target_id = ?1 AND state = 'waiting'",
                    )?
                    .execute([id])?;
                match connection
                    .prepare_cached("DELETE FROM alert_targets WHERE id = ?1")?
                    .execute([id])?
                {
                    0 => Err(Error::NotFound),
                    _ => Ok(()),
                }
            })
            .await
    }

    /// Writes an alert and who is to hear of it; its id, or `None` if it was written before.
    pub async fn add(&self, alert: NewAlert) -> Result<Option<i64>> {
        self.0.write(move |connection| add(connection, &alert)).await
    }
}

/// As [`Alerts::add`], for whoever does more in the same transaction.
pub(crate) fn add(connection: &Connection, alert: &NewAlert) -> Result<Option<i64>> {
    let id: Option<i64> = connection
        .prepare_cached(
            "INSERT INTO alerts (occasion, rule, subject, body, detail, created_at)
             VALUES (:occasion, :rule, :subject, :body, :detail, :at)
             ON CONFLICT (occasion) DO NOTHING RETURNING id",
        )?
        .query_row(
            named_params! {
                ":occasion": alert.occasion, ":rule": alert.rule, ":subject": alert.subject,
                ":body": alert.body, ":detail": alert.detail.to_string(), ":at": alert.created_at,
            },
            |row| row.get(0),
        )
        .optional()?;
    let Some(id) = id else { return Ok(None) };
    let one = match alert.audience {
        AlertAudience::All => None,
        AlertAudience::One(target) => Some(target),
    };
    connection
        .prepare_cached(
            "INSERT INTO alert_deliveries (alert_id, target_id, way, address, state, next_at)
             SELECT ?1, id, way, address, 'waiting', ?2 FROM alert_targets
             WHERE ?3 IS NULL OR id = ?3",
        )?
        .execute((id, alert.created_at, one))?;
    if let Some(person) = &alert.person {
        connection
            .prepare_cached(
                "INSERT INTO alert_deliveries (alert_id, way, address, state, next_at)
                 VALUES (?1, 'email', ?2, 'waiting', ?3) ON CONFLICT DO NOTHING",
            )?
            .execute((id, person, alert.created_at))?;
    }
    Ok(Some(id))
}

fn read_target(row: &Row<'_>) -> rusqlite::Result<AlertTarget> {
    Ok(AlertTarget {
        id: row.get("id")?,
        way: row.get("way")?,
        address: row.get("address")?,
        secret: row.get("secret")?,
        created_at: row.get("created_at")?,
    })
}

impl ToSql for AlertWay {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = match self {
            AlertWay::Email => "email",
            AlertWay::Webhook => "webhook",
        };
        Ok(text.into())
    }
}

impl FromSql for AlertWay {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<AlertWay> {
        match value.as_str()? {
            "email" => Ok(AlertWay::Email),
            "webhook" => Ok(AlertWay::Webhook),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}
