//! The seam: the gateway's [`Backend`], answered by the engine on this machine.
//!
//! It turns a neutral request into token sequences and the engine's events into neutral ones. It
//! decides nothing about callers and computes nothing itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hearth_engine::{
    CallerKey, DeviceChoice, LaneKey, Model, ModelActivity, Pool, Sequence, SequenceRequest, Source,
};
use hearth_gateway::backend::{
    Activity, Asker, Backend, KeepAlive, ModelState, ServedModel, no_vectors,
};
use hearth_gateway::embedding::{EmbedRequest, Embedding};
use hearth_gateway::error::{Feature, sentence};
use hearth_gateway::event::{EventStream, Usage};
use hearth_gateway::request::{GenerateRequest, Input, Priority};
use hearth_gateway::{Error, Result};
use hearth_hub::{Entry, Library, ModelName, Origin};
use hearth_store::{ApiTokenId, UserId};
use tokio::sync::{mpsc, oneshot};

use crate::local_events::Answer;
use crate::local_rules::{Plan, rendered};
use crate::local_template::{Beside, Chosen, Templates};
use crate::local_vectors::VectorPlan;
use crate::{local_limits, local_profile};

/// Events that may wait for the gateway; the engine's own buffer stands behind it.
const EVENT_BUFFER: usize = 16;
/// What a caller is told to wait for a model that has just been unloaded: it is loaded again.
const UNLOADED_RETRY: Duration = Duration::from_secs(1);
/// Shortest and longest time that a caller is told to wait for a model to become idle.
const IDLE_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// The built-in guide is so small that it mixes its answers up when it may choose freely.
const GUIDE_TEMPERATURE: f32 = 0.2;

/// The models of this machine.
pub struct Local {
    library: Arc<Library>,
    pool: Arc<Pool>,
    templates: Arc<Templates>,
}

impl Local {
    /// Answers with the library's models, loaded by the pool.
    pub fn new(library: Arc<Library>, pool: Arc<Pool>) -> Local {
        Local { library, pool, templates: Arc::default() }
    }

    /// The loaded model; loads it if need be.
    async fn model(&self, name: &ModelName) -> Result<Model> {
        let (library, pool, name) = (self.library.clone(), self.pool.clone(), name.clone());
        run_blocking(move || {
            let source = source(&library, &name)?;
            let draft = draft(&library, &pool, &name);
            let started = Instant::now();
            let model = pool.get_guided(&name.to_string(), &source, draft.as_ref());
            tracing::debug!(model.name = %name, wait_ms = started.elapsed().as_millis(), "model");
            model.map_err(|error| load_error(&name, &pool, error))
        })
        .await
    }

    /// Loads the model that a request needs and works out what it means for that model.
    async fn plan(&self, request: GenerateRequest) -> Result<Planned> {
        let Prepared { model, template, request, load_ns } = self.prepare(request).await?;
        run_blocking(move || {
            let plan = Plan::new(&model, template.get(&model), &request)?;
            Ok(Planned { model, request, plan, load_ns })
        })
        .await
    }

    /// Loads the model that a request needs and lays under the request what the model carries.
    async fn prepare(&self, mut request: GenerateRequest) -> Result<Prepared> {
        let entry = self.find(&request.model)?;
        local_limits::check(&request)?;
        if entry.origin == Origin::Builtin {
            request.sampling.temperature.get_or_insert(GUIDE_TEMPERATURE);
        }
        let started = Instant::now();
        let model = self.model(&entry.name).await?;
        let load_ns = nanos(started.elapsed());
        if model.is_encoder() {
            let (makes, route) = match model.is_cross_encoder() {
                true => ("ranks documents", "/v1/rerank"),
                false => ("makes embeddings", "/v1/embeddings"),
            };
            let name = &entry.name;
            let message =
                format!("The model `{name}` {makes} and writes no text; use it with {route}.");
            let model = entry.name.to_string();
            return Err(Error::Unsupported { model, feature: Feature::Chat, message });
        }
        let (library, templates) = (Arc::clone(&self.library), Arc::clone(&self.templates));
        run_blocking(move || {
            let mut profile =
                library.profile(&entry.name).map_err(|error| library_error(&entry.name, error))?;
            let beside = Beside {
                source: profile.template.take(),
                is_last_resort: profile.is_asked_by_code,
            };
            let asked = request.rules.template.as_deref();
            let template = templates.choose(&model, beside, asked)?;
            local_profile::apply(profile, &mut request);
            Ok(Prepared { model, template, request, load_ns })
        })
        .await
    }

    fn find(&self, name: &str) -> Result<Entry> {
        self.library.find(name).map_err(|_| Error::NoModel(name.to_owned()))
    }
}

/// A request that is complete, and by what its model, which is loaded, is asked.
struct Prepared {
    model: Model,
    template: Chosen,
    request: GenerateRequest,
    load_ns: u64,
}

/// A request for a model that is loaded.
struct Planned {
    model: Model,
    request: GenerateRequest,
    plan: Plan,
    load_ns: u64,
}

#[async_trait]
impl Backend for Local {
    fn models(&self) -> Vec<ServedModel> {
        let activity = self.pool.activity();
        self.library.list().iter().map(|entry| served(entry, &activity)).collect()
    }

    fn model(&self, name: &str) -> Option<ServedModel> {
        Some(served(&self.library.find(name).ok()?, &self.pool.activity()))
    }

    async fn generate(&self, asker: Asker, request: GenerateRequest) -> Result<EventStream> {
        let Planned { model, request, plan, load_ns } = self.plan(request).await?;
        let (caller, lane) = (caller_key(asker.user), lane_key(asker.token));
        let weight = asker.weight;
        let mut sequences = Vec::with_capacity(usize::from(request.choices));
        for choice in 0..request.choices {
            let sequence = sequence_request(&request, &plan, choice);
            let sequence = SequenceRequest { caller, lane, weight, ..sequence };
            // A refusal drops the sequences before it, which cancels them.
            sequences.push(model.submit(sequence).map_err(run_error)?);
        }
        let echo = request.echo.then(|| echoed(&model, &request.input));
        let usage = Usage {
            prompt_tokens: u32::try_from(plan.prompt.len()).unwrap_or(u32::MAX),
            dropped_tokens: plan.dropped_tokens,
            load_ns,
            ..Usage::default()
        };
        let answer = Answer::new(model, usage, request.logprobs.is_some())
            .only_prompt(plan.max_tokens == Some(0));
        let context = request.window.tells_context.then_some(plan.prompt);
        Ok(spawn(answer.reading(plan.reading).telling(context), sequences, echo))
    }

    async fn embed(&self, user: Option<UserId>, request: EmbedRequest) -> Result<Embedding> {
        let entry = self.find(&request.model)?;
        let model = self.model(&entry.name).await?;
        if !model.is_encoder() {
            return Err(no_vectors(&request.model));
        }
        let (model, plan) = run_blocking(move || {
            let plan = VectorPlan::new(&model, request)?;
            Ok((model, plan))
        })
        .await?;
        let VectorPlan { texts, ending, dropped_tokens } = plan;
        let embedding = model.embed(caller_key(user), texts).map_err(run_error)?;
        let prompt_tokens = embedding.tokens();
        let (mut sender, vectors) = oneshot::channel();
        tokio::spawn(async move {
            // Held until the end: a model at work is not idle.
            let _model = model;
            tokio::select! {
                // The reader is gone: leaving drops the texts, which cancels them.
                () = sender.closed() => {}
                ended = embedding.vectors() => {
                    let ended = ended.map(|vectors| ending.apply(vectors));
                    let _ = sender.send(ended.map_err(run_error));
                }
            }
        });
        Ok(Embedding { prompt_tokens, dropped_tokens, vectors })
    }

    async fn count_tokens(&self, request: GenerateRequest) -> Result<u32> {
        let plan = self.plan(request).await?.plan;
        Ok(u32::try_from(plan.prompt.len()).unwrap_or(u32::MAX))
    }

    async fn render(&self, request: GenerateRequest) -> Result<String> {
        let Prepared { model, template, request, .. } = self.prepare(request).await?;
        run_blocking(move || rendered(&model, template.get(&model), &request)).await
    }

    async fn load(&self, model: &str) -> Result<()> {
        let entry = self.find(model)?;
        self.model(&entry.name).await.map(drop)
    }

    async fn unload(&self, model: &str) -> Result<()> {
        let (name, pool) = (self.find(model)?.name.to_string(), self.pool.clone());
        run_blocking(move || {
            pool.unload(&name);
            Ok(())
        })
        .await
    }

    async fn keep(&self, model: &str, time: KeepAlive) -> Result<()> {
        let time = match time {
            KeepAlive::For(time) => hearth_engine::Keep::For(time),
            KeepAlive::Forever => hearth_engine::Keep::Forever,
        };
        let (name, pool) = (self.find(model)?.name.to_string(), self.pool.clone());
        run_blocking(move || {
            pool.keep(&name, time);
            Ok(())
        })
        .await
    }

    fn activity(&self) -> Vec<Activity> {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.pool
            .activity()
            .into_iter()
            .filter_map(|model| {
                let (info, stats) = (model.info?, model.stats);
                Some(Activity {
                    model: model.name,
                    memory_bytes: info.memory_bytes,
                    gpu_bytes: match info.device {
                        DeviceChoice::Cpu => 0,
                        DeviceChoice::Cuda(_) | DeviceChoice::Metal => info.memory_bytes,
                    },
                    context_tokens: info.context_tokens,
                    expires_in: model.expires_in,
                    running: count(stats.running),
                    waiting: count(stats.waiting),
                    queue_wait_ms: millis(stats.queue_wait),
                    kv_pages_used: count(stats.pages_used),
                    kv_pages_cached: count(stats.pages_cached),
                    kv_pages_total: count(stats.pages_total),
                    cached_tokens: stats.reused_tokens,
                    preemptions: stats.preemptions,
                })
            })
            .collect()
    }
}

/// A model of the library, with what the pool does with it.
fn served(entry: &Entry, activity: &[ModelActivity]) -> ServedModel {
    let name = entry.name.to_string();
    let state = match activity.iter().find(|model| model.name == name) {
        Some(model) => match model.state {
            hearth_engine::ModelState::Loading => ModelState::Loading,
            hearth_engine::ModelState::Loaded => ModelState::Loaded,
        },
        None => ModelState::Idle,
    };
    ServedModel { name, state, created_at: entry.description.created_at }
}

/// Forwards the sequences' events until they end or the reader goes.
fn spawn(answer: Answer, sequences: Vec<Sequence>, echo: Option<String>) -> EventStream {
    let (sender, receiver) = mpsc::channel(EVENT_BUFFER);
    tokio::spawn(async move {
        tokio::select! {
            // The reader is gone: leaving drops the sequences, which cancels them.
            () = sender.closed() => {}
            () = answer.forward(sequences, echo, &sender) => {}
        }
    });
    receiver
}

/// The prompt as text, for an answer that begins with it.
fn echoed(model: &Model, input: &Input) -> String {
    match input {
        Input::Text(text) => text.clone(),
        Input::Tokens(ids) => hearth_text::decode(model.tokenizer(), ids),
        Input::Infill { prompt, .. } => prompt.clone(),
        Input::Chat(_) => String::new(),
    }
}

fn sequence_request(request: &GenerateRequest, plan: &Plan, choice: u16) -> SequenceRequest {
    let default = hearth_engine::Sampling::default();
    let (wanted, fallback) = (&request.sampling, &request.fallback);
    SequenceRequest {
        prompt: plan.prompt.clone(),
        grammar: plan.grammar.clone(),
        shown_controls: Arc::clone(&plan.marks),
        sampling: hearth_engine::Sampling {
            temperature: wanted.temperature.or(fallback.temperature).unwrap_or(default.temperature),
            top_k: wanted.top_k.or(fallback.top_k).unwrap_or(default.top_k),
            top_p: wanted.top_p.or(fallback.top_p).unwrap_or(default.top_p),
            min_p: wanted.min_p.unwrap_or(default.min_p),
            repetition_penalty: wanted.repetition_penalty.unwrap_or(default.repetition_penalty),
            presence_penalty: wanted.presence_penalty.unwrap_or(default.presence_penalty),
            frequency_penalty: wanted.frequency_penalty.unwrap_or(default.frequency_penalty),
            logit_bias: wanted.logit_bias.clone(),
            // Each choice has its own seed, or all of them would say the same.
            seed: wanted.seed.map(|seed| seed.wrapping_add(u64::from(choice))),
        },
        // A step that computes a prompt draws a token; who wants none is not told of it.
        max_tokens: plan.max_tokens.map(|most| most.max(1)),
        stop: request.stop.clone(),
        // Without them the engine does not say which tokens it drew.
        logprobs: request.logprobs.or(request.window.tells_context.then_some(0)),
        priority: match request.priority {
            Priority::Interactive => hearth_engine::Priority::Interactive,
            Priority::Default => hearth_engine::Priority::Default,
            Priority::Background => hearth_engine::Priority::Background,
        },
        continues_text: !matches!(request.input, Input::Chat(_)),
        ..SequenceRequest::default()
    }
}

/// What the engine knows of a user; the operator is nobody's number.
fn caller_key(user: Option<UserId>) -> CallerKey {
    CallerKey(user.map_or(0, |user| user.0.cast_unsigned()))
}

/// What the engine knows of a credential; sessions of the web app are one lane.
fn lane_key(token: Option<ApiTokenId>) -> LaneKey {
    LaneKey(token.map_or(0, |token| token.0.cast_unsigned()))
}

/// Where a model's files are.
fn source(library: &Library, name: &ModelName) -> Result<Source> {
    let source = library.source(name).map_err(|error| library_error(name, error))?;
    Ok(match source {
        hearth_hub::Source::Path(path) => Source::Path(path),
        hearth_hub::Source::Static(bytes) => Source::Static(bytes),
    })
}

/// The files of the small model that guesses for this one, if the settings name one. Without it
/// the model says the same, so that nothing fails where it is missing.
fn draft(library: &Library, pool: &Pool, name: &ModelName) -> Option<Source> {
    let is_large = |large: &str| library.find(large).is_ok_and(|entry| entry.name == *name);
    let (_, small) = pool.config().draft_pairs().find(|(large, _)| is_large(large))?;
    let found = library.find(small).map_err(|error| error.to_string());
    match found.and_then(|entry| source(library, &entry.name).map_err(|error| error.to_string())) {
        Ok(source) => Some(source),
        Err(problem) => {
            tracing::warn!(problem, "engine.draft_models names {small}, which is not there");
            None
        }
    }
}

/// Why the library does not give a model's files.
fn library_error(name: &ModelName, error: hearth_hub::Error) -> Error {
    match error {
        hearth_hub::Error::NotFound(name) => Error::NoModel(name.to_string()),
        other => Error::Internal(format!("model `{name}`: {other}")),
    }
}

/// Why a model could not be loaded.
fn load_error(name: &ModelName, pool: &Pool, error: hearth_engine::Error) -> Error {
    use hearth_engine::Error as E;
    let model = name.to_string();
    match error {
        E::TooBig { need_bytes, free_bytes } => {
            let loaded = pool.activity().into_iter().map(|model| model.name);
            let loaded = loaded.filter(|other| *other != model).collect::<Vec<_>>().join(", ");
            let loaded = if loaded.is_empty() { "nothing".to_owned() } else { loaded };
            Error::TooBig { model, need_bytes, free_bytes, loaded }
        }
        // A model is idle at the soonest when what it runs and what waits for it has run.
        E::AllBusy { .. } => {
            let stats = pool.activity().into_iter().map(|model| model.stats);
            let busy = stats.filter(|stats| stats.running + stats.waiting > 0);
            let soonest = busy.map(|stats| stats.queue_wait + stats.mean_run).min();
            let retry_after = soonest.unwrap_or_default().clamp(IDLE_RETRY.0, IDLE_RETRY.1);
            Error::Overloaded { retry_after }
        }
        // A file that cannot be read is this machine's fault, and the text would name its path.
        E::Format(error) if matches!(*error, hearth_formats::Error::Io { .. }) => {
            Error::Internal(error.to_string())
        }
        E::Format(_) | E::Text(_) | E::Unsupported(_) => {
            Error::BadModel { model, reason: error.to_string() }
        }
        other => run_error(other),
    }
}

/// Why a sequence was refused or broke off.
pub(crate) fn run_error(error: hearth_engine::Error) -> Error {
    use hearth_engine::Error as E;
    match error {
        E::ContextFull { prompt_tokens, context_tokens } => {
            Error::ContextFull { prompt_tokens, max_tokens: 0, context_tokens }
        }
        E::CallerBusy { retry_after } => Error::Busy { retry_after },
        E::Busy { retry_after } => Error::Overloaded { retry_after },
        E::Unloaded => Error::Overloaded { retry_after: UNLOADED_RETRY },
        E::InvalidRequest(_) | E::Text(_) | E::GrammarStuck => {
            Error::Invalid { param: None, message: sentence(&error) }
        }
        other => Error::Internal(other.to_string()),
    }
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Runs what computes or reads files away from the async threads.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Internal(format!("a task failed: {error}"))),
    }
}
