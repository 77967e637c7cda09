//! The backend that joins this machine and the channels.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_store::UserId;
use tokio_util::task::TaskTracker;

use super::config::RoutingConfig;
use super::plan::{self, Candidate, Plan, Planner, Who};
use super::policy::Facts;
use super::pursuit::Pursuit;
use super::sticky::Sticky;
use crate::backend::{Activity, Asker, Backend, KeepAlive, ModelState, ServedModel};
use crate::channels::Channels;
use crate::embedding::{EmbedRequest, Embedding};
use crate::error::{Error, Result};
use crate::event::EventStream;
use crate::passage::{PassRequest, Passage};
use crate::request::GenerateRequest;
use crate::wire::estimate;

/// This machine and the channels as one backend. Cheap to clone.
#[derive(Clone)]
pub struct Switchboard {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) local: Arc<dyn Backend>,
    pub(super) channels: Channels,
    pub(super) config: RoutingConfig,
    pub(super) sticky: Sticky,
    pub(super) tasks: TaskTracker,
}

impl Switchboard {
    /// Joins this machine and these channels.
    pub fn new(local: Arc<dyn Backend>, channels: Channels, config: RoutingConfig) -> Switchboard {
        let sticky = Sticky::new(Duration::from_secs(config.sticky_s));
        let tasks = TaskTracker::new();
        Switchboard { inner: Arc::new(Inner { local, channels, config, sticky, tasks }) }
    }

    /// Who could answer this user's request for a model.
    pub(super) async fn plan(&self, user: Option<UserId>, model: &str) -> Result<Plan> {
        let Inner { local, channels, config, .. } = &*self.inner;
        let board = channels.board();
        let group = match user {
            Some(user) if board.looks_at_groups => channels.store().groups().of_user(user).await?,
            _ => None,
        };
        let planner = Planner {
            board: &board,
            local: &**local,
            group,
            policy: config.policy,
            spill_wait_ms: config.spill_wait_ms,
        };
        Ok(planner.plan(model))
    }

    /// What is known of each candidate now.
    pub(super) fn facts(&self, plan: &Plan) -> Vec<Facts> {
        let has_local = plan.candidates.iter().any(|candidate| matches!(candidate.who, Who::Local));
        let activity = if has_local { self.inner.local.activity() } else { Vec::new() };
        let now = std::time::Instant::now();
        let facts = |candidate: &Candidate| candidate.facts(plan.policy, &activity, now);
        plan.candidates.iter().map(facts).collect()
    }

    /// The model of this machine that a name stands for, if any.
    fn local_name(&self, model: &str) -> Option<String> {
        let board = self.inner.channels.board();
        let targets = board.routes.get(model).map_or(&[][..], |route| &route.targets);
        let names = targets.iter().map(|target| target.model.as_str()).chain([model]);
        names.filter_map(|name| self.inner.local.model(name)).map(|model| model.name).next()
    }
}

#[async_trait]
impl Backend for Switchboard {
    fn models(&self) -> Vec<ServedModel> {
        let board = self.inner.channels.board();
        let mut models = self.inner.local.models();
        let remote = plan::listed(&board).into_iter().map(|(name, created_at)| ServedModel {
            name,
            state: ModelState::Remote,
            created_at,
        });
        models.extend(remote);
        let mut aliases: Vec<ServedModel> = board
            .routes
            .iter()
            .filter(|(_, route)| !route.targets.is_empty())
            .filter_map(|(name, _)| self.model(name))
            .collect();
        aliases.sort_by(|one, other| one.name.cmp(&other.name));
        models.extend(aliases);
        // An alias or a channel may have the name of a model of this machine.
        let mut known = std::collections::HashSet::new();
        models.retain(|model| known.insert(model.name.clone()));
        models
    }

    fn model(&self, name: &str) -> Option<ServedModel> {
        let board = self.inner.channels.board();
        let named = |name: &str, created_at| {
            Some(ServedModel { name: name.to_owned(), state: ModelState::Remote, created_at })
        };
        if board.routes.get(name).is_some_and(|route| !route.targets.is_empty()) {
            let local = self.local_name(name).and_then(|local| self.inner.local.model(&local));
            return match local {
                Some(local) => Some(ServedModel { name: name.to_owned(), ..local }),
                None => named(name, 0),
            };
        }
        if let Some(model) = self.inner.local.model(name) {
            return Some(model);
        }
        plan::offered(&board, name).and_then(|created_at| named(name, created_at))
    }

    fn is_offered(&self, group: Option<&str>, model: &str) -> bool {
        let board = self.inner.channels.board();
        let has_closed = board.channels.iter().any(|live| !live.settings.groups.is_empty());
        !has_closed || self.local_name(model).is_some() || plan::is_offered(&board, group, model)
    }

    async fn generate(&self, asker: Asker, mut request: GenerateRequest) -> Result<EventStream> {
        let plan = self.plan(asker.user, &request.model).await?;
        match plan.candidates.as_slice() {
            [] => Err(Error::NoModel(request.model)),
            // Nothing to choose: nothing to remember either.
            [only] if matches!(only.who, Who::Local) && plan.on_context_full.is_empty() => {
                request.model.clone_from(&only.model);
                self.inner.local.generate(asker, request).await
            }
            _ => Pursuit::new(self, asker, request, plan).run().await,
        }
    }

    async fn embed(&self, user: Option<UserId>, request: EmbedRequest) -> Result<Embedding> {
        self.vectors(user, request).await
    }

    async fn pass(&self, user: Option<UserId>, request: PassRequest) -> Result<Passage> {
        self.pass_on(user, request).await
    }

    async fn count_tokens(&self, request: GenerateRequest) -> Result<u32> {
        self.tokens(request).await
    }

    async fn reckon(&self, mut request: GenerateRequest) -> Result<u32> {
        let plan = self.plan(None, &request.model).await?;
        let here = plan.candidates.iter().find(|candidate| matches!(candidate.who, Who::Local));
        let guess = estimate(&request);
        let Some(here) = here else { return Ok(guess) };
        request.model.clone_from(&here.model);
        match self.inner.local.count_tokens(request).await {
            Ok(counted) => Ok(counted),
            Err(_) if plan.candidates.len() > 1 => Ok(guess),
            Err(error) => Err(error),
        }
    }

    async fn render(&self, mut request: GenerateRequest) -> Result<String> {
        match self.local_name(&request.model) {
            Some(model) => {
                request.model = model;
                self.inner.local.render(request).await
            }
            None => {
                let message = format!("The prompts of `{}` are not written here.", request.model);
                Err(Error::invalid("model", message))
            }
        }
    }

    async fn load(&self, model: &str) -> Result<()> {
        match self.local_name(model) {
            Some(model) => self.inner.local.load(&model).await,
            None => Ok(()),
        }
    }

    async fn unload(&self, model: &str) -> Result<()> {
        match self.local_name(model) {
            Some(model) => self.inner.local.unload(&model).await,
            None => Ok(()),
        }
    }

    async fn keep(&self, model: &str, time: KeepAlive) -> Result<()> {
        match self.local_name(model) {
            Some(model) => self.inner.local.keep(&model, time).await,
            None => Ok(()),
        }
    }

    fn activity(&self) -> Vec<Activity> {
        self.inner.local.activity()
    }
}
