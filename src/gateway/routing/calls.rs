//! Requests that are answered at once: vectors, scores, and counts of tokens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_store::{ChannelId, UserId};
use tokio::sync::oneshot;

use super::attempt::{note_trouble, tell_path};
use super::failure::{Next, after_local, after_remote, told};
use super::plan::{Plan, Who};
use super::policy::{self, Question};
use super::switchboard::Switchboard;
use crate::channels::exchange::{self, Trouble, TroubleKind};
use crate::channels::health::Used;
use crate::channels::live::Live;
use crate::embedding::{EmbedRequest, Embedded, Embedding};
use crate::error::{Error, Result};
use crate::request::GenerateRequest;
use crate::wire::{Call, MAX_BODY_BYTES, RefusalKind, Shape, Target, estimate};

/// Longest answer to a question for a number of tokens, in bytes.
const MAX_COUNT_BYTES: usize = 64 << 10;

impl Switchboard {
    /// Vectors or scores, by whoever makes them.
    pub(super) async fn vectors(
        &self,
        user: Option<UserId>,
        request: EmbedRequest,
    ) -> Result<Embedding> {
        let plan = self.plan(user, &request.model).await?;
        let mut tried = vec![false; plan.candidates.len()];
        let mut last = None;
        while let Some(index) = self.next(&plan, &tried) {
            tried[index] = true;
            let candidate = &plan.candidates[index];
            let (next, error) = match &candidate.who {
                Who::Local => {
                    let request =
                        EmbedRequest { model: candidate.model.clone(), ..request.clone() };
                    match self.inner.local.embed(user, request).await {
                        Ok(embedding) => return Ok(embedding),
                        Err(error) => (after_local(&error), error),
                    }
                }
                Who::Channel(live) => match embed(live, &candidate.model, &request).await {
                    Ok(embedded) => return Ok(ready(embedded, live.row.id)),
                    Err(trouble) => (after_remote(&trouble), told(&request.model, trouble)),
                },
            };
            if next == Next::Stop {
                return Err(error);
            }
            last = Some(error);
        }
        Err(last.unwrap_or(Error::NoModel(request.model)))
    }

    /// Tokens of a prompt: counted by whoever would answer, or guessed where nobody counts.
    pub(super) async fn tokens(&self, mut request: GenerateRequest) -> Result<u32> {
        let plan = self.plan(None, &request.model).await?;
        let Some(index) = self.next(&plan, &vec![false; plan.candidates.len()]) else {
            return Err(Error::NoModel(request.model));
        };
        let candidate = &plan.candidates[index];
        let live = match &candidate.who {
            Who::Local => {
                request.model.clone_from(&candidate.model);
                return self.inner.local.count_tokens(request).await;
            }
            Who::Channel(live) => live,
        };
        // Who asks is not known here, and some may not leave the machine.
        if self.inner.channels.board().looks_at_groups {
            return Ok(estimate(&request));
        }
        let target = target(live, &candidate.model);
        let Some(call) = live.wire.count(&request, &target)? else { return Ok(estimate(&request)) };
        let path = &request.rules.delivery.path;
        let counted = async {
            let body = one_call(live, &candidate.model, (&call, path), MAX_COUNT_BYTES).await?;
            live.wire.counted(&body).map_err(Trouble::from)
        };
        counted.await.map_err(|trouble| told(&request.model, trouble))
    }

    pub(super) fn next(&self, plan: &Plan, tried: &[bool]) -> Option<usize> {
        let facts = self.facts(plan);
        let question = Question {
            policy: plan.policy,
            spill_wait_ms: plan.spill_wait_ms,
            candidates: &facts,
            tried,
            sticky: None,
        };
        policy::choose(&question, rand::random())
    }
}

/// The vectors of all texts, by as many calls as the provider wants.
async fn embed(
    live: &Arc<Live>,
    model: &str,
    request: &EmbedRequest,
) -> std::result::Result<Embedded, Trouble> {
    let started = Instant::now();
    let calls = live.wire.embed(request, &target(live, model)).map_err(Trouble::cannot_carry)?;
    let mut all: Option<Embedded> = None;
    for call in &calls {
        let body = one_call(live, model, (&call.call, &request.path), MAX_BODY_BYTES).await?;
        let some = live.wire.embedded(call, &body).map_err(Trouble::from)?;
        match &mut all {
            Some(all) => all.append(some),
            None => all = Some(some),
        }
    }
    let all = all.ok_or_else(|| Trouble::new(TroubleKind::Unreachable, "there was no call"))?;
    let (prompt_tokens, completion_tokens) = (all.usage.prompt_tokens, 0);
    let took = Some(started.elapsed());
    let used = Used { prompt_tokens, completion_tokens, took };
    live.health.note_end(model, used, live.limits(), Instant::now());
    Ok(all)
}

/// One exchange with the next of the channel's keys.
async fn one_call(
    live: &Arc<Live>,
    model: &str,
    (call, path): (&Call, &[String]),
    limit: usize,
) -> std::result::Result<Vec<u8>, Trouble> {
    let started = Instant::now();
    let key = live.next_key(&[], started).ok_or_else(|| {
        Trouble::new(TroubleKind::Refused(RefusalKind::Busy), "none of its keys can be used now")
    })?;
    let mut call = call.clone();
    for change in &live.settings.request.overrides {
        change.apply(&mut call.body);
    }
    tell_path(&mut call, live, path);
    let _flight = live.health.begin(live.limits(), started);
    let total = Duration::from_millis(live.settings.timeouts.total_ms.into());
    let answered = async {
        let response = exchange::post(live, &live.keys[key], &call).await?;
        exchange::read(response, limit, tokio::time::Instant::now() + total).await
    };
    let answered = answered.await;
    let now = Instant::now();
    match &answered {
        Ok(_) => {
            live.keys[key].health.note_success();
            live.health.note_first(model, Some(now - started), now);
        }
        Err(trouble) => note_trouble(live, key, model, trouble, now),
    }
    answered
}

fn target(live: &Live, model: &str) -> Target {
    Target { model: live.own_name(model).to_owned(), shape: Shape::Whole }
}

/// Vectors that are there already.
fn ready(embedded: Embedded, channel: ChannelId) -> Embedding {
    let (sender, vectors) = oneshot::channel();
    // The receiver stands above.
    let _ = sender.send(Ok(embedded.vectors));
    let usage = embedded.usage;
    Embedding {
        prompt_tokens: usage.prompt_tokens,
        dropped_tokens: usage.dropped_tokens,
        is_estimated: usage.is_estimated,
        channel: Some(channel),
        vectors,
    }
}
