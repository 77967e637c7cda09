//! Sums of usage by user, API token, group, model or channel, for each day, week or month.

use axum::extract::{Query, State};
use hearth_gateway::quota::calendar;
use hearth_store::{ApiTokenId, ChannelId, Dimension, GroupId, Period, Span, Summary, UsageFilter};
use serde::Deserialize;
use serde_json::{Value, json};

use super::own_or;
use crate::error::{Failure, Result};
use crate::guard::Signed;
use crate::state::AppState;

/// Most periods in one answer: a year of days.
const MAX_SPANS: usize = 366;

/// What to sum up.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// `user`, `token`, `group`, `model` or `channel`; without it one sum of all.
    by: Option<Dimension>,
    /// `day`, `week` or `month`; without it one span.
    period: Option<Period>,
    time_zone: Option<String>,
    /// Unix seconds; without it, the begin of this month.
    since: Option<i64>,
    /// Unix seconds, not part of it; without it, now.
    until: Option<i64>,
    user_id: Option<i64>,
    token_id: Option<i64>,
    group_id: Option<i64>,
    model: Option<String>,
    channel_id: Option<i64>,
}

pub(crate) async fn show(
    State(state): State<AppState>,
    Signed(caller): Signed,
    Query(which): Query<Which>,
) -> Result<axum::Json<Value>> {
    let zone = which.time_zone.as_deref().unwrap_or("UTC");
    let month = calendar::span(zone, Period::Month, state.now())
        .ok_or_else(|| Failure::invalid("'time_zone' is a zone's name, as Europe/Berlin."))?;
    let start = which.since.unwrap_or(month.start);
    // The second that runs is part of it.
    let end = which.until.unwrap_or(state.now().saturating_add(1));
    let whole = Span { start, end };
    // A thousand years either way are more than anybody has used anything.
    let is_sane = (0..=40_000_000_000).contains(&start) && (0..=40_000_000_000).contains(&end);
    if !is_sane || end <= start {
        return Err(Failure::invalid("'since' must be before 'until'."));
    }
    let spans = match which.period {
        None => vec![whole],
        Some(period) => calendar::spans(zone, period, whole, MAX_SPANS).ok_or_else(|| {
            Failure::invalid("That is too long a time; ask for longer periods or less of it.")
        })?,
    };
    let filter = UsageFilter {
        user_id: own_or(&caller, which.user_id)?,
        token_id: which.token_id.map(ApiTokenId),
        group_id: which.group_id.map(GroupId),
        model: which.model,
        channel_id: which.channel_id.map(ChannelId),
        ..UsageFilter::default()
    };
    let mut told = Vec::with_capacity(spans.len());
    for span in spans {
        let question = Summary { span, by: which.by, filter: filter.clone() };
        let sums = state.store().usage().summary(question).await?;
        told.push(json!({ "start": span.start, "end": span.end, "sums": sums }));
    }
    Ok(axum::Json(json!({ "spans": told, "time_zone": zone })))
}
