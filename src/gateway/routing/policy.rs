//! Chooses who is asked next. Pure: facts and a random number in, an index out.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

/// Where requests may go, and whom they prefer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Never off this machine.
    LocalOnly,
    /// Off this machine only when it cannot answer, or not soon.
    PreferLocal,
    /// To this machine only when nobody else answers.
    PreferRemote,
    /// To whoever asks least.
    Cheapest,
    /// To whoever was measured to begin first.
    Fastest,
    /// To all, by their weights alone.
    Weighted,
}

impl Policy {
    /// The policy of this name.
    pub fn parse(name: &str) -> Option<Policy> {
        serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
    }
}

/// What is known of one who could answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) is_local: bool,
    /// Place in the list of an alias.
    pub(super) order: u32,
    /// Higher comes first.
    pub(super) priority: i32,
    /// Share in its tier; 0 only when nobody else is left in it.
    pub(super) weight: u32,
    /// Requests that it answers now.
    pub(super) in_flight: u32,
    /// What a million tokens of prompt and of answer cost together.
    pub(super) price_micros: u64,
    /// How long its first token takes, if it was measured.
    pub(super) first_token_ms: Option<u64>,
    /// How long a request would wait before it is begun.
    pub(super) wait_ms: u64,
    pub(super) standing: Standing,
}

/// Whether somebody can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Ready,
    /// It has failed too often of late: asked only when nobody else is left.
    Broken,
    /// It has said when to come again, or its limits are reached: not asked.
    Resting,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) policy: Policy,
    /// Longest wait on this machine before others are asked.
    pub(super) spill_wait_ms: u64,
    pub(super) candidates: &'a [Facts],
    /// Who was asked in vain, by index.
    pub(super) tried: &'a [bool],
    /// Who has answered this conversation before.
    pub(super) sticky: Option<usize>,
}

/// Lower comes first; those of one rank are a tier.
type Rank = (bool, u64, u32, Reverse<i32>);

/// Who is asked next: of the first tier with anybody left in it the one with the least to do for
/// its weight. `random`: 0 ≤ random < 1.
pub(super) fn choose(question: &Question<'_>, random: f64) -> Option<usize> {
    let Question { policy, candidates, tried, sticky, .. } = *question;
    let may_be_asked = |index: usize| {
        let facts = &candidates[index];
        !tried[index]
            && facts.standing != Standing::Resting
            && (facts.is_local || policy != Policy::LocalOnly)
    };
    let best_ms = fastest(candidates);
    let rank = |index: usize| rank(question, &candidates[index], best_ms);
    let asked: Vec<usize> = (0..candidates.len()).filter(|&index| may_be_asked(index)).collect();
    let first = asked.iter().map(|&index| rank(index)).min()?;
    let tier: Vec<usize> = asked.into_iter().filter(|&index| rank(index) == first).collect();
    if let Some(sticky) = sticky.filter(|sticky| tier.contains(sticky)) {
        return Some(sticky);
    }
    let weighty: Vec<usize> =
        tier.iter().copied().filter(|&index| candidates[index].weight > 0).collect();
    let tier = if weighty.is_empty() { tier } else { weighty };
    let least: Vec<usize> = match policy {
        Policy::Weighted => tier,
        _ => least_loaded(candidates, &tier),
    };
    by_weight(candidates, &least, random)
}

fn rank(question: &Question<'_>, facts: &Facts, best_ms: u64) -> Rank {
    let class = match question.policy {
        Policy::LocalOnly | Policy::Weighted => 0,
        Policy::PreferLocal => match facts.is_local {
            true if facts.wait_ms <= question.spill_wait_ms => 0,
            false => 1,
            true => 2,
        },
        Policy::PreferRemote => u64::from(facts.is_local),
        Policy::Cheapest => facts.price_micros,
        // Who was never measured is asked, so that it will be. A fifth more is as fast.
        Policy::Fastest => match speed(facts) {
            Some(ms) if ms > best_ms + best_ms / 5 => ms,
            _ => 0,
        },
    };
    let is_broken = facts.standing == Standing::Broken;
    match question.policy {
        Policy::Weighted => (is_broken, class, 0, Reverse(0)),
        _ => (is_broken, class, facts.order, Reverse(facts.priority)),
    }
}

fn speed(facts: &Facts) -> Option<u64> {
    facts.first_token_ms.map(|ms| ms.saturating_add(facts.wait_ms))
}

fn fastest(candidates: &[Facts]) -> u64 {
    candidates.iter().filter_map(speed).min().unwrap_or(0)
}

/// Those with the fewest requests for each part of their weight, the next one counted.
fn least_loaded(candidates: &[Facts], tier: &[usize]) -> Vec<usize> {
    // a/b < c/d as a·d < c·b: exact.
    let load = |index: usize| {
        let facts = &candidates[index];
        (u64::from(facts.in_flight) + 1, u64::from(facts.weight.max(1)))
    };
    let is_less = |(a, b): (u64, u64), (c, d): (u64, u64)| a * d < c * b;
    let Some(&first) = tier.first() else { return Vec::new() };
    let least = tier
        .iter()
        .map(|&index| load(index))
        .fold(load(first), |least, next| if is_less(next, least) { next } else { least });
    tier.iter().copied().filter(|&index| !is_less(least, load(index))).collect()
}

fn by_weight(candidates: &[Facts], tier: &[usize], random: f64) -> Option<usize> {
    let weight = |index: usize| f64::from(candidates[index].weight.max(1));
    let total: f64 = tier.iter().map(|&index| weight(index)).sum();
    let mut left = random * total;
    for &index in tier {
        left -= weight(index);
        if left < 0.0 {
            return Some(index);
        }
    }
    tier.last().copied()
}

#[cfg(test)]
mod tests;
