//! What requests used: rows a page at a time, all of them as CSV, and sums by day, week or month.

mod csv;
pub(crate) mod summary;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use hearth_gateway::caller::Caller;
use hearth_store::{
    ApiTokenId, ChannelId, GroupId, MAX_PAGE, Outcome, UsageCursor, UsageFilter, UserId,
};
use serde::Deserialize;
use serde_json::json;

use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

/// Rows of a page without a wish.
const PAGE: u32 = 100;
/// Longest text that rows are filtered by, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// Which rows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    user_id: Option<i64>,
    token_id: Option<i64>,
    group_id: Option<i64>,
    model: Option<String>,
    /// 0 is this machine.
    channel_id: Option<i64>,
    outcome: Option<Outcome>,
    request_id: Option<String>,
    /// Unix seconds.
    since: Option<i64>,
    /// Unix seconds; not part of it.
    until: Option<i64>,
    /// Where the page before ended.
    before: Option<String>,
    limit: Option<u32>,
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
}

impl Which {
    /// The rows that this caller may see: admins all, others their own.
    fn filter(&self, caller: &Caller) -> Result<UsageFilter> {
        let texts = [&self.model, &self.request_id];
        if texts.into_iter().flatten().any(|text| text.len() > MAX_TEXT_BYTES) {
            return Err(Failure::invalid("That is longer than any name."));
        }
        Ok(UsageFilter {
            user_id: own_or(caller, self.user_id)?,
            token_id: self.token_id.map(ApiTokenId),
            group_id: self.group_id.map(GroupId),
            model: self.model.clone(),
            channel_id: self.channel_id.map(ChannelId),
            outcome: self.outcome,
            request_id: self.request_id.clone(),
            since: self.since.unwrap_or(0),
            until: self.until,
        })
    }
}

/// The user whose rows a caller asks for: others' are for admins.
fn own_or(caller: &Caller, wanted: Option<i64>) -> Result<Option<UserId>> {
    if caller.require_admin().is_ok() {
        return Ok(wanted.map(UserId));
    }
    let own = caller.owner()?;
    match wanted {
        Some(other) if UserId(other) != own => Err(hearth_gateway::Error::NotFound.into()),
        _ => Ok(Some(own)),
    }
}

pub(crate) async fn list(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Query(which): Query<Which>,
) -> Result<Response> {
    let filter = which.filter(&caller)?;
    let before = which.before.as_deref().map(parse_cursor).transpose()?;
    if which.format == Some(Format::Csv) {
        return Ok(csv::answer(state.store().clone(), filter, before));
    }
    let limit = which.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let rows = state.store().usage().page(filter, before, limit).await?;
    let last = rows.last().filter(|_| rows.len() == limit as usize);
    let next = last.map(|last| format!("{}:{}", last.row.created_at, last.row.request_id));
    Ok(axum::Json(json!({ "usage": rows, "next": next })).into_response())
}

fn parse_cursor(text: &str) -> Result<UsageCursor> {
    let parse = || {
        let (created_at, id) = text.split_once(':')?;
        Some(UsageCursor { created_at: created_at.parse().ok()?, id: id.to_owned() })
    };
    parse().ok_or_else(|| Failure::invalid("'before' is the 'next' of the page before."))
}
