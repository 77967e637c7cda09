//! The audit log: every administrative act, written in the transaction that did it.
//!
//! Each row's hash covers the row and the hash before it. A changed or missing row breaks the
//! chain; a missing end is told by the head, or by a head that somebody noted elsewhere.

use std::fmt::Write as _;

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::{Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::page;
use crate::store::Store;
use crate::users::UserId;

/// Rows that one verification reads at a time, so that no reader is kept for long.
const VERIFIED_AT_ONCE: i64 = 10_000;

/// An administrative act, to be noted with what it does: see [`Store::audited`].
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    /// Unix seconds.
    pub at: i64,
    /// Who did it; `None` is the operator of the machine, or nobody yet.
    pub actor_id: Option<UserId>,
    /// The name of who did it, at that time.
    pub actor: String,
    /// The kind of credential: `session`, `token 7`, `operator`.
    pub via: String,
    /// Where it came from; empty if unknown.
    pub address: String,
    /// What was done, such as `users.create`.
    pub action: &'static str,
    /// To whom or what, such as `user ann`.
    pub target: String,
    /// How; never a secret.
    pub detail: Value,
}

/// One act of the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditRow {
    /// Counts from 1 without gaps.
    pub sequence: i64,
    /// Unix seconds.
    pub created_at: i64,
    /// As [`Act::actor_id`].
    pub actor_id: Option<UserId>,
    /// As [`Act::actor`].
    pub actor: String,
    /// As [`Act::via`].
    pub via: String,
    /// As [`Act::address`].
    pub address: String,
    /// As [`Act::action`].
    pub action: String,
    /// As [`Act::target`].
    pub target: String,
    /// As [`Act::detail`].
    pub detail: Value,
    /// The end of the chain up to here.
    pub hash: AuditHash,
}

/// Covers a row and all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHash(pub [u8; 32]);

/// Which acts; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Exactly this action, or with a `.` at its end all that begin so.
    pub action: Option<String>,
    /// By this name.
    pub actor: Option<String>,
    /// To exactly this.
    pub target: Option<String>,
    /// Not earlier than this.
    pub since: Option<i64>,
    /// Earlier than this.
    pub until: Option<i64>,
    /// Below this sequence, for the next page.
    pub before: Option<i64>,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditReport {
    /// Rows that belong together, from the first.
    pub rows: i64,
    /// The hash of the last of them.
    pub hash: AuditHash,
    /// The first thing that is wrong; `None` if nothing is.
    pub fault: Option<String>,
}

/// Questions about the audit log.
pub struct Audit<'a>(pub(crate) &'a Store);

impl Audit<'_> {
    /// Notes an act that no row of this database tells of, such as a model that was removed.
    pub async fn note(&self, act: Act) -> Result<()> {
        self.0.audited(act).write(|_| Ok(())).await
    }

    /// Acts, the newest first.
    pub async fn list(&self, filter: AuditFilter, limit: u32) -> Result<Vec<AuditRow>> {
        self.0.read(move |connection| list(connection, &filter, limit)).await
    }

    /// Follows the chain from its beginning. `known`: a sequence and its hash that were noted
    /// elsewhere and must still stand.
    pub async fn verify(&self, known: Option<(i64, AuditHash)>) -> Result<AuditReport> {
        let mut report = AuditReport { rows: 0, hash: AuditHash([0; 32]), fault: None };
        loop {
            let (from, known) = (report.clone(), known);
            let (next, is_end) =
                self.0.read(move |connection| verify_some(connection, from, known)).await?;
            report = next;
            if is_end || report.fault.is_some() {
                break;
            }
        }
        if report.fault.is_none()
            && let Some((sequence, _)) = known
            && sequence > report.rows
        {
            let missing = format!("act {sequence}, which was noted elsewhere, is missing");
            report.fault = Some(missing);
        }
        Ok(report)
    }
}

/// Writes an act down; for whoever is in the transaction of what it did.
pub(crate) fn append(connection: &Connection, act: &Act) -> Result<()> {
    let (sequence, before) = head(connection)?;
    let mut row = AuditRow {
        sequence: sequence + 1,
        created_at: act.at,
        actor_id: act.actor_id,
        actor: act.actor.clone(),
        via: act.via.clone(),
        address: act.address.clone(),
        action: act.action.to_owned(),
        target: act.target.clone(),
        detail: act.detail.clone(),
        hash: before,
    };
    let detail = row.detail.to_string();
    row.hash = hash_of(&before, &row, &detail);
    connection
        .prepare_cached(
            "INSERT INTO audit (sequence, created_at, actor_id, actor, via, address, action,
                                target, detail, hash)
             VALUES (:sequence, :at, :actor_id, :actor, :via, :address, :action, :target,
                     :detail, :hash)",
        )?
        .execute(named_params! {
            ":sequence": row.sequence,
            ":at": row.created_at,
            ":actor_id": row.actor_id,
            ":actor": row.actor,
            ":via": row.via,
            ":address": row.address,
            ":action": row.action,
            ":target": row.target,
            ":detail": detail,
            ":hash": row.hash,
        })?;
    connection
        .prepare_cached("UPDATE audit_head SET sequence = ?1, hash = ?2 WHERE id = 1")?
        .execute((row.sequence, row.hash))?;
    Ok(())
}

fn head(connection: &Connection) -> Result<(i64, AuditHash)> {
    let mut statement =
        connection.prepare_cached("SELECT sequence, hash FROM audit_head WHERE id = 1")?;
    Ok(statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Lengths stand before texts, so that no two rows have the same bytes.
fn hash_of(before: &AuditHash, row: &AuditRow, detail: &str) -> AuditHash {
    let mut hash = Sha256::new();
    hash.update(before.0);
    hash.update(row.sequence.to_le_bytes());
    hash.update(row.created_at.to_le_bytes());
    hash.update([u8::from(row.actor_id.is_some())]);
    hash.update(row.actor_id.map_or(0, |id| id.0).to_le_bytes());
    for text in [&row.actor, &row.via, &row.address, &row.action, &row.target, detail] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    AuditHash(hash.finalize().into())
}

fn list(connection: &Connection, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditRow>> {
    // One exact column at most is looked up by an index; the rest is checked row by row.
    let mut conditions = String::from("sequence < coalesce(:before, 9223372036854775807)");
    let (action, prefix) = match filter.action.as_deref() {
        Some(action) if action.ends_with('.') => (None, Some(action)),
        action => (action, None),
    };
    if action.is_some() {
        conditions.push_str(" AND action = :action");
    }
    if prefix.is_some() {
        conditions.push_str(" AND substr(action, 1, length(:prefix)) = :prefix");
    }
    for (name, value) in [("actor", &filter.actor), ("target", &filter.target)] {
        if value.is_some() {
            let _ = write!(conditions, " AND {name} = :{name}");
        }
    }
    let mut statement = connection.prepare_cached(&format!(
        "SELECT * FROM audit WHERE {conditions}
             AND (:since IS NULL OR created_at >= :since)
             AND (:until IS NULL OR created_at < :until)
         ORDER BY sequence DESC LIMIT :limit"
    ))?;
    let limit = page::rows(limit);
    let mut values: Vec<(&str, &dyn ToSql)> = vec![
        (":before", &filter.before),
        (":since", &filter.since),
        (":until", &filter.until),
        (":limit", &limit),
    ];
    let optional: [(&str, &dyn ToSql, bool); 4] = [
        (":action", &action, action.is_some()),
        (":prefix", &prefix, prefix.is_some()),
        (":actor", &filter.actor, filter.actor.is_some()),
        (":target", &filter.target, filter.target.is_some()),
    ];
    values.extend(optional.into_iter().filter(|o| o.2).map(|(name, value, _)| (name, value)));
    let rows: rusqlite::Result<Vec<AuditRow>> =
        statement.query_map(values.as_slice(), |row| Ok(read_row(row)?.0))?.collect();
    Ok(rows?)
}

/// Goes on with a verification; says whether the end is reached.
fn verify_some(
    connection: &Connection,
    mut report: AuditReport,
    known: Option<(i64, AuditHash)>,
) -> Result<(AuditReport, bool)> {
    // One snapshot for the rows and the head.
    let snapshot = connection.unchecked_transaction()?;
    let mut statement = snapshot
        .prepare_cached("SELECT * FROM audit WHERE sequence > ?1 ORDER BY sequence LIMIT ?2")?;
    let mut rows = statement.query((report.rows, VERIFIED_AT_ONCE))?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let (row, detail) = read_row(row)?;
        count += 1;
        let wanted = report.rows + 1;
        if row.sequence != wanted {
            report.fault = Some(format!("act {wanted} is missing"));
            return Ok((report, true));
        }
        let hash = hash_of(&report.hash, &row, &detail);
        let is_known = known.is_none_or(|(sequence, known)| sequence != wanted || known == hash);
        if hash != row.hash || !is_known {
            report.fault = Some(format!("act {wanted} was changed"));
            return Ok((report, true));
        }
        (report.rows, report.hash) = (wanted, hash);
    }
    if count == VERIFIED_AT_ONCE {
        return Ok((report, false));
    }
    let head = snapshot
        .prepare_cached("SELECT sequence, hash FROM audit_head WHERE id = 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, AuditHash>(1)?)))
        .optional()?;
    if head != Some((report.rows, report.hash)) {
        report.fault = Some(format!("the acts after {} are missing", report.rows));
    }
    Ok((report, true))
}

/// A row, and its detail as it is written.
fn read_row(row: &Row<'_>) -> rusqlite::Result<(AuditRow, String)> {
    let detail: String = row.get("detail")?;
    let read = AuditRow {
        sequence: row.get("sequence")?,
        created_at: row.get("created_at")?,
        actor_id: row.get("actor_id")?,
        actor: row.get("actor")?,
        via: row.get("via")?,
        address: row.get("address")?,
        action: row.get("action")?,
        target: row.get("target")?,
        detail: serde_json::from_str(&detail).unwrap_or(Value::Null),
        hash: row.get("hash")?,
    };
    Ok((read, detail))
}

impl AuditHash {
    /// The hash that this text writes in hexadecimal digits.
    pub fn parse(text: &str) -> Option<AuditHash> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).ok()?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(AuditHash(bytes))
    }
}

impl Serialize for AuditHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }
}

impl ToSql for AuditHash {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_slice().into())
    }
}

impl FromSql for AuditHash {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<AuditHash> {
        <[u8; 32]>::column_result(value).map(AuditHash)
    }
}
