//! The audit log.

use axum::extract::{Query, State};
use hearth_store::{AuditFilter, AuditHash, MAX_PAGE};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

/// Which acts, and how many.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Exactly, or with a `.` at its end all that begin so.
    action: Option<String>,
    actor: Option<String>,
    target: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
    /// `next` of the page before.
    before: Option<i64>,
    limit: Option<u32>,
}

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Query(which): Query<Which>,
) -> Result<axum::Json<Value>> {
    let limit = which.limit.unwrap_or(100);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Failure::invalid(format!("'limit' must be 1 to {MAX_PAGE}.")));
    }
    let filter = AuditFilter {
        action: which.action,
        actor: which.actor,
        target: which.target,
        since: which.since,
        until: which.until,
        before: which.before,
    };
    let acts = state.accounts().list_audit(&caller, filter, limit).await?;
    let is_full = acts.len() == limit as usize;
    let next = acts.last().filter(|_| is_full).map(|act| act.sequence);
    Ok(axum::Json(json!({ "acts": acts, "next": next })))
}

/// What an earlier verification said, noted elsewhere.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Known {
    sequence: Option<i64>,
    hash: Option<String>,
}

pub(crate) async fn verify(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Query(known): Query<Known>,
) -> Result<axum::Json<Value>> {
    let known = match (known.sequence, known.hash) {
        (None, None) => None,
        (Some(sequence), Some(hash)) if sequence > 0 => {
            let hash = AuditHash::parse(&hash)
                .ok_or_else(|| Failure::invalid("'hash' must be 64 hexadecimal digits."))?;
            Some((sequence, hash))
        }
        _ => return Err(Failure::invalid("Give both 'sequence' and 'hash', or neither.")),
    };
    let report = state.accounts().verify_audit(&caller, known).await?;
    Ok(axum::Json(json!(report)))
}
