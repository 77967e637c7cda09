//! A channel as admins see it: everything but its keys.

use std::time::Instant;

use hearth_store::{Channel, ChannelId, ChannelKeyId};
use serde::Serialize;

use super::health::ChannelStats;
use super::live::{Live, spec_of};
use super::spec::ChannelSpec;
use crate::error::Result;

/// A channel as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelView {
    pub id: ChannelId,
    #[serde(flatten)]
    pub spec: ChannelSpec,
    pub keys: Vec<KeyView>,
    /// Why it cannot be asked.
    pub problem: Option<String>,
    /// Since the start.
    pub stats: Option<ChannelStats>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
}

/// A key as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct KeyView {
    pub id: ChannelKeyId,
    /// Its end.
    pub hint: String,
    /// Seconds until it is used again after the provider has refused it.
    pub rests_s: Option<u64>,
}

pub(super) fn view(
    row: &Channel,
    live: Option<&Live>,
    problem: Option<String>,
) -> Result<ChannelView> {
    let now = Instant::now();
    let keys = row.keys.iter().map(|key| {
        let known =
            live.and_then(|live| live.keys.iter().find(|open| open.id == Some(key.id.clone())));
        let rests_until = known.and_then(|open| open.health.rests_until(now));
        let rests_s = rests_until.map(|until| until.saturating_duration_since(now).as_secs());
        KeyView { id: key.id.clone(), hint: key.hint.clone(), rests_s }
    });
    Ok(ChannelView {
        id: row.id,
        spec: spec_of(row)?,
        keys: keys.collect(),
        problem,
        stats: live.map(|live| live.health.stats(now)),
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}
