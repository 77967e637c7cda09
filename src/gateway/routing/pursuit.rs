//! Pursues one request: asks one after the other until somebody answers, within a budget of
//! attempts and of time.

use std::time::{Duration, Instant};

use tracing::Instrument;

use super::attempt::Ask;
use super::failure::{Next, after_local, after_remote, told};
use super::plan::{Candidate, Plan, Who};
use super::policy::{self, Policy, Question};
use super::sticky::Conversation;
use super::switchboard::Switchboard;
use crate::backend::Asker;
use crate::channels::exchange::Trouble;
use crate::error::{Error, Result};
use crate::event::EventStream;
use crate::request::GenerateRequest;

/// How long those who failed are left alone before they are asked once more, at least; up to twice
/// as long.
const BREATH: Duration = Duration::from_millis(150);
/// A request that has taken longer is not begun anew.
const SECOND_ROUND_LIMIT: Duration = Duration::from_secs(10);

/// One request on its way to somebody who answers.
pub(super) struct Pursuit<'a> {
    board: &'a Switchboard,
    asker: Asker,
    request: GenerateRequest,
    plan: Plan,
    conversation: Option<Conversation>,
    since: Instant,
    /// For each candidate: whether it is asked no more, whether it may be asked in a second round,
    /// and the keys that were tried.
    tried: Vec<bool>,
    may_return: Vec<bool>,
    keys: Vec<Vec<usize>>,
    attempts: u32,
    waited: Duration,
    is_second_round: bool,
    last: Option<Error>,
}

/// Why one candidate has not answered.
enum Failure {
    Local(Error),
    Remote(Trouble),
    /// No key of it is left.
    NoKey,
}

impl<'a> Pursuit<'a> {
    pub(super) fn new(
        board: &'a Switchboard,
        asker: Asker,
        request: GenerateRequest,
        plan: Plan,
    ) -> Pursuit<'a> {
        let conversation = board.inner.sticky.conversation(asker.user, &request);
        let mut pursuit = Pursuit {
            board,
            asker,
            request,
            conversation,
            since: Instant::now(),
            tried: Vec::new(),
            may_return: Vec::new(),
            keys: Vec::new(),
            attempts: 0,
            waited: Duration::ZERO,
            is_second_round: false,
            last: None,
            plan,
        };
        pursuit.start_anew();
        pursuit
    }

    /// The answer of the first who gives one.
    pub(super) async fn run(mut self) -> Result<EventStream> {
        loop {
            let Some(index) = self.choose() else {
                self.wait().await?;
                continue;
            };
            if self.attempts >= self.board.inner.config.max_attempts {
                return Err(self.give_up());
            }
            match self.ask(index).await {
                Ok((answering, stream)) => {
                    if let Some(conversation) = self.conversation {
                        let who = self.plan.candidates[answering].who.channel();
                        self.board.inner.sticky.note(conversation, who, Instant::now());
                    }
                    return Ok(stream);
                }
                Err((failed, failure)) => self.note(failed, failure).await?,
            }
        }
    }

    fn choose(&self) -> Option<usize> {
        self.choose_but(&self.tried)
    }

    fn choose_but(&self, tried: &[bool]) -> Option<usize> {
        let (now, policy, candidates) = (Instant::now(), self.plan.policy, &self.plan.candidates);
        let facts = self.board.facts(&self.plan);
        let last = self.conversation.and_then(|known| self.board.inner.sticky.last(known, now));
        let sticky = last
            .and_then(|who| candidates.iter().position(|candidate| candidate.who.channel() == who));
        let spill_wait_ms = self.plan.spill_wait_ms;
        let question = Question { policy, spill_wait_ms, candidates: &facts, tried, sticky };
        policy::choose(&question, rand::random())
    }

    /// Asks one, and perhaps a second one if the first takes unusually long; says who answers, or
    /// who has failed.
    async fn ask(
        &mut self,
        index: usize,
    ) -> std::result::Result<(usize, EventStream), (usize, Failure)> {
        let key = self.take_key(index).map_err(|failure| (index, failure))?;
        self.attempts += 1;
        let slow = match &self.plan.candidates[index].who {
            Who::Channel(live) if self.plan.hedges => live.health.slow_first_token_ms(),
            _ => None,
        };
        let Some(slow_ms) = slow else {
            let answer = self.attempt(index, key).await;
            return answer.map(|stream| (index, stream)).map_err(|failure| (index, failure));
        };
        let other = self.second(index);
        self.race((index, key), other, Duration::from_millis(slow_ms)).await
    }

    /// Somebody else to ask at the same time, and with which key.
    fn second(&mut self, first: usize) -> Option<(usize, usize)> {
        let mut tried = self.tried.clone();
        tried[first] = true;
        let other = self.choose_but(&tried)?;
        // This machine is not asked twice over: its queue is fair as it is.
        matches!(self.plan.candidates[other].who, Who::Channel(_)).then_some(())?;
        Some((other, self.take_key(other).ok()?))
    }

    /// The first to begin answers; the other is dropped, which ends it.
    async fn race(
        &self,
        first: (usize, usize),
        second: Option<(usize, usize)>,
        head_start: Duration,
    ) -> std::result::Result<(usize, EventStream), (usize, Failure)> {
        let one = self.attempt(first.0, first.1);
        tokio::pin!(one);
        let said = |index, answer: std::result::Result<EventStream, Failure>| {
            answer.map(|stream| (index, stream)).map_err(|failure| (index, failure))
        };
        let Some((other, key)) = second else { return said(first.0, one.await) };
        tokio::select! {
            answer = &mut one => return said(first.0, answer),
            () = tokio::time::sleep(head_start) => {}
        }
        let two = self.attempt(other, key);
        tokio::pin!(two);
        tokio::select! {
            answer = &mut one => match answer {
                Ok(stream) => Ok((first.0, stream)),
                Err(_) => said(other, two.await),
            },
            answer = &mut two => match answer {
                Ok(stream) => Ok((other, stream)),
                Err(_) => said(first.0, one.await),
            },
        }
    }

    /// A key of this candidate that was not tried; 0 for this machine.
    fn take_key(&mut self, index: usize) -> std::result::Result<usize, Failure> {
        let Who::Channel(live) = &self.plan.candidates[index].who else { return Ok(0) };
        let key = live.next_key(&self.keys[index], Instant::now()).ok_or(Failure::NoKey)?;
        self.keys[index].push(key);
        Ok(key)
    }

    async fn attempt(&self, index: usize, key: usize) -> std::result::Result<EventStream, Failure> {
        let Candidate { who, model, .. } = &self.plan.candidates[index];
        let Who::Channel(live) = who else {
            let request = GenerateRequest { model: model.clone(), ..self.request.clone() };
            let answer = self.board.inner.local.generate(self.asker, request).await;
            return answer.map_err(Failure::Local);
        };
        let span = tracing::debug_span!(
            "attempt",
            request.id = %self.request.id.0,
            channel.id = live.id().0,
            channel.name = %live.row.row.name,
            gen_ai.provider.name = live.preset.name,
            gen_ai.request.model = live.own_name(model),
            attempt = self.attempts,
        );
        let fetcher = self.board.inner.channels.fetcher();
        let is_timed = self.plan.hedges || self.plan.policy == Policy::Fastest;
        let (request, since) = (&self.request, self.since);
        let ask = Ask { live, key, model, request, since, fetcher, is_timed };
        ask.run(&self.board.inner.tasks).instrument(span).await.map_err(Failure::Remote)
    }

    /// Takes note of a failure; an error if the request ends with it.
    async fn note(&mut self, index: usize, failure: Failure) -> Result<()> {
        let candidate = &self.plan.candidates[index];
        let next = match failure {
            Failure::NoKey => Next::OnlyOthers,
            Failure::Local(error) => {
                let next = after_local(&error);
                tracing::info!(model.name = %candidate.model, %error, "not answered here");
                self.last = Some(error);
                next
            }
            Failure::Remote(trouble) => {
                let next = after_remote(&trouble);
                tracing::warn!(
                    request.id = %self.request.id.0,
                    channel.id = candidate.who.channel().map(|id| id.0),
                    model.name = %candidate.model,
                    problem = %trouble.message,
                    "a channel has not answered"
                );
                self.last = Some(told(&self.request.model, trouble));
                next
            }
        };
        match next {
            Next::Stop => return Err(self.give_up()),
            Next::LongerContext => return self.go_longer().await,
            Next::OtherKey => {
                let Who::Channel(live) = &candidate.who else { return Ok(()) };
                // It stays in question while it has another key, and after its rest again.
                if self.keys[index].len() >= live.keys.len() {
                    self.keys[index].clear();
                    self.tried[index] = live.rests_until(Instant::now()).is_none();
                }
            }
            Next::Others => {
                self.tried[index] = true;
                self.may_return[index] = true;
            }
            Next::OnlyOthers => self.tried[index] = true,
        }
        Ok(())
    }

    /// Goes on with the models that have longer contexts, if there are any.
    async fn go_longer(&mut self) -> Result<()> {
        let longer = std::mem::take(&mut self.plan.on_context_full);
        let policy = self.plan.policy;
        let mut candidates = Vec::new();
        for model in longer {
            let plan = self.board.plan(self.asker.user, &model).await?;
            if policy != Policy::LocalOnly || plan.policy == Policy::LocalOnly {
                candidates.extend(plan.candidates);
            } else {
                let stays = |candidate: &Candidate| matches!(candidate.who, Who::Local);
                candidates.extend(plan.candidates.into_iter().filter(stays));
            }
        }
        if candidates.is_empty() {
            return Err(self.give_up());
        }
        self.plan.candidates = candidates;
        self.start_anew();
        Ok(())
    }

    /// Waits until somebody may be asked (again), or gives up.
    async fn wait(&mut self) -> Result<()> {
        let now = Instant::now();
        let rests = self.plan.candidates.iter().zip(&self.tried).filter(|(_, tried)| !**tried);
        let soonest = rests.filter_map(|(candidate, _)| match &candidate.who {
            Who::Channel(live) => live.rests_until(now),
            Who::Local => None,
        });
        let limit = Duration::from_millis(self.board.inner.config.max_retry_wait_ms);
        if let Some(until) = soonest.min() {
            let rest = until.saturating_duration_since(now);
            if self.waited + rest > limit || self.attempts >= self.board.inner.config.max_attempts {
                let nobody = Error::Overloaded { retry_after: rest };
                return Err(self.last.take().unwrap_or(nobody));
            }
            self.waited += rest;
            tokio::time::sleep(rest).await;
            return Ok(());
        }
        let may_return = self.may_return.iter().any(|may| *may);
        if self.is_second_round || !may_return || self.since.elapsed() > SECOND_ROUND_LIMIT {
            return Err(self.give_up());
        }
        self.is_second_round = true;
        for index in 0..self.tried.len() {
            if self.may_return[index] {
                self.tried[index] = false;
                self.keys[index].clear();
            }
        }
        tokio::time::sleep(BREATH.mul_f64(1.0 + rand::random::<f64>())).await;
        Ok(())
    }

    fn start_anew(&mut self) {
        let count = self.plan.candidates.len();
        self.tried = vec![false; count];
        self.may_return = vec![false; count];
        self.keys = vec![Vec::new(); count];
    }

    fn give_up(&mut self) -> Error {
        self.last.take().unwrap_or_else(|| Error::NoModel(self.request.model.clone()))
    }
}
