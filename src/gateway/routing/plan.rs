//! Who could answer a request: the candidates, and the policy among them.

use std::collections::HashSet;
use std::sync::Arc;

use hearth_store::{Channel, ChannelId, Group, Price};

use super::policy::{Facts, Policy, Standing};
use super::route::{Route, RouteTarget};
use crate::backend::{Activity, Backend};
use crate::channels::Board;
use crate::channels::live::Live;

/// The name by which a route's target means this machine.
const LOCAL: &str = "local";

/// Who could answer a request.
pub(super) struct Plan {
    pub(super) policy: Policy,
    pub(super) spill_wait_ms: u64,
    pub(super) candidates: Vec<Candidate>,
    /// Models for a prompt that is too long for all of them.
    pub(super) on_context_full: Vec<String>,
    pub(super) hedges: bool,
}

/// One who could answer.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) who: Who,
    /// The model's name there; a channel may have another one of its own for it.
    pub(super) model: String,
    order: u32,
    /// What a million tokens of prompt and of answer cost there.
    price_micros: u64,
}

#[derive(Clone)]
pub(super) enum Who {
    Local,
    Channel(Arc<Live>),
}

impl Who {
    pub(super) fn channel(&self) -> Option<ChannelId> {
        match self {
            Who::Local => None,
            Who::Channel(live) => Some(live.id()),
        }
    }
}

/// What a plan is made from.
pub(super) struct Planner<'a> {
    pub(super) board: &'a Board,
    pub(super) local: &'a dyn Backend,
    /// The caller's, if it was asked for.
    pub(super) group: Option<Group>,
    pub(super) policy: Policy,
    pub(super) spill_wait_ms: u64,
}

impl Planner<'_> {
    /// The plan for a model, by its full name.
    pub(super) fn plan(&self, model: &str) -> Plan {
        let nothing = Route::default();
        let route = self.board.routes.get(model).unwrap_or(&nothing);
        let policy = self.policy(route);
        let itself = [RouteTarget { model: model.to_owned(), channel: None }];
        let targets = if route.targets.is_empty() { &itself[..] } else { &route.targets };
        let mut candidates = Vec::new();
        for (order, target) in (0..).zip(targets) {
            candidates.extend(self.candidates(model, target, order, policy));
        }
        Plan {
            policy,
            spill_wait_ms: route.spill_wait_ms.unwrap_or(self.spill_wait_ms),
            candidates,
            on_context_full: route.on_context_full.clone(),
            hedges: route.hedge,
        }
    }

    /// What may not leave the machine stays, whoever else says otherwise; besides, the model's
    /// route counts before the group.
    fn policy(&self, route: &Route) -> Policy {
        let of_group =
            self.group.as_ref().and_then(|group| self.board.group_policies.get(&group.id).copied());
        if [of_group, route.policy].contains(&Some(Policy::LocalOnly)) {
            return Policy::LocalOnly;
        }
        route.policy.or(of_group).unwrap_or(self.policy)
    }

    /// Who could answer for this target. `asked`: the model as the caller knows it.
    fn candidates(
        &self,
        asked: &str,
        target: &RouteTarget,
        order: u32,
        policy: Policy,
    ) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let wants = |name: &str| {
            target.channel.as_ref().is_none_or(|channel| channel.eq_ignore_ascii_case(name))
        };
        if wants(LOCAL)
            && let Some(model) = self.local.model(&target.model)
        {
            let (who, price_micros) = (Who::Local, 0);
            candidates.push(Candidate { who, model: model.name, order, price_micros });
        }
        if policy == Policy::LocalOnly {
            return candidates;
        }
        for live in &self.board.channels {
            let row = &live.row.row;
            if row.is_enabled
                && wants(&row.name)
                && live.offers(&target.model)
                && admits(live, self.group.as_ref().map(|group| group.name.as_str()))
            {
                let price_micros = sum(self.board.price(live.id(), [asked, &target.model]));
                let (who, model) = (Who::Channel(Arc::clone(live)), target.model.clone());
                candidates.push(Candidate { who, model, order, price_micros });
            }
        }
        candidates
    }
}

/// Whether a member of the group of this name may use a channel.
fn admits(live: &Live, group: Option<&str>) -> bool {
    let groups = &live.settings.groups;
    let is_named =
        |group: &str| groups.iter().any(|name| name.to_lowercase() == group.to_lowercase());
    groups.is_empty() || group.is_some_and(is_named)
}

/// Whether any channel offers this model, or what its route leads to, to members of this group.
pub(super) fn is_offered(board: &Board, group: Option<&str>, model: &str) -> bool {
    let targets = board.routes.get(model).map_or(&[][..], |route| &route.targets);
    let offers = |live: &Live| match targets {
        [] => live.offers(model),
        targets => targets.iter().any(|target| {
            let name = &live.row.row.name;
            target.channel.as_ref().is_none_or(|channel| channel.eq_ignore_ascii_case(name))
                && live.offers(&target.model)
        }),
    };
    board.channels.iter().any(|live| live.row.row.is_enabled && admits(live, group) && offers(live))
}

/// Whether any channel that is switched on offers this model, and since when.
pub(super) fn offered(board: &Board, model: &str) -> Option<i64> {
    let live = board.channels.iter().find(|live| live.row.row.is_enabled && live.offers(model))?;
    Some(live.row.created_at)
}

/// The models that channels offer by name, each once, with the time of its channel.
pub(super) fn listed(board: &Board) -> Vec<(String, i64)> {
    let mut known = HashSet::new();
    let mut models = Vec::new();
    for live in board.channels.iter().filter(|live| live.row.row.is_enabled) {
        let Channel { created_at, .. } = live.row;
        let new = live.listed().filter(|model| known.insert((*model).clone()));
        models.extend(new.map(|model| (model.clone(), created_at)));
    }
    models.sort();
    models
}

impl Candidate {
    /// What is known of it now. `activity`: of this machine.
    pub(super) fn facts(
        &self,
        policy: Policy,
        activity: &[Activity],
        now: std::time::Instant,
    ) -> Facts {
        match &self.who {
            Who::Local => {
                let model = activity.iter().find(|model| model.model == self.model);
                Facts {
                    is_local: true,
                    order: self.order,
                    priority: 0,
                    weight: 1,
                    in_flight: model.map_or(0, |model| model.running + model.waiting),
                    price_micros: 0,
                    first_token_ms: None,
                    wait_ms: model.map_or(0, |model| model.queue_wait_ms),
                    standing: Standing::Ready,
                }
            }
            Who::Channel(live) => {
                let row = &live.row.row;
                let standing = if live.rests_until(now).is_some() {
                    Standing::Resting
                } else if live.health.is_open(now) {
                    Standing::Broken
                } else {
                    Standing::Ready
                };
                let measured = (policy == Policy::Fastest).then(|| live.health.first_token_ms());
                Facts {
                    is_local: false,
                    order: self.order,
                    priority: row.priority,
                    weight: row.weight,
                    in_flight: live.health.in_flight(),
                    price_micros: self.price_micros,
                    first_token_ms: measured.flatten(),
                    wait_ms: 0,
                    standing,
                }
            }
        }
    }
}

/// A million tokens of prompt and of answer.
fn sum(price: Price) -> u64 {
    let tokens = [price.input_micros_per_million, price.output_micros_per_million];
    tokens.iter().fold(price.call_micros.micros(), |sum, part| sum.saturating_add(part.micros()))
}
