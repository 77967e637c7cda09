//! Keeps models loaded: loads each once, makes room, and lets idle ones go.

mod free;
mod keep;
mod source;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::EngineConfig;
use crate::error::{Error, Result};
use crate::fit::{Fit, Outline};
use crate::handle::{Model, ModelInfo, ModelStats};
use crate::loader;
use crate::machine::{Facts, Machine};
use crate::placement::{Backends, DeviceChoice, Need, Placement, place};

use source::Sources;

pub use keep::Keep;
pub use source::Source;

/// How often idle models are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// Whether a model can answer at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelState {
    Loading,
    Loaded,
}

/// A model in the pool, and what it does.
#[derive(Clone, Debug)]
pub struct ModelActivity {
    pub name: String,
    pub state: ModelState,
    /// Both are there once the model is loaded.
    pub info: Option<ModelInfo>,
    pub stats: ModelStats,
    /// How long it stays if nobody uses it; `None` is for ever.
    pub expires_in: Option<Duration>,
}

/// All models that are loaded or loading. Dropping it lets idle models go at once and the others
/// when their sequences have ended.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    sweeper: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    config: EngineConfig,
    machine: Machine,
    backends: Backends,
    state: Mutex<State>,
    /// A load has ended, or the pool has.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<String, Slot>,
    is_closed: bool,
}

#[derive(Debug)]
enum Slot {
    Loading(Arc<Load>),
    Loaded { model: Model, source: Sources, last_used: Instant, keep: Keep },
}

/// A load in progress, shared by all who wait for it.
#[derive(Debug, Default)]
struct Load {
    failure: OnceLock<Error>,
    /// Where it will be and how much it takes, once that is decided.
    placement: OnceLock<Placement>,
}

impl Pool {
    /// An empty pool on this machine.
    pub fn new(config: EngineConfig, machine: Machine) -> Result<Pool> {
        config.validate()?;
        let shared = Arc::new(Shared {
            config,
            machine,
            backends: Backends::compiled(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let sweeping = Arc::clone(&shared);
        let sweeper = std::thread::Builder::new()
            .name("model sweeper".into())
            .spawn(move || sweeping.sweep_until_closed())
            .map_err(|error| Error::LoadFailed(error.to_string()))?;
        Ok(Pool { shared, sweeper: Some(sweeper) })
    }

    /// The model, loaded if it is not yet. Blocks while it loads; many callers share one load.
    pub fn get(&self, name: &str, source: &Source) -> Result<Model> {
        self.get_guided(name, source, None)
    }

    /// As above; `draft` is a smaller model of the same vocabulary that guesses what the model says
    /// next, so that several tokens are verified in one step. Answers are the same with and without.
    pub fn get_guided(&self, name: &str, source: &Source, draft: Option<&Source>) -> Result<Model> {
        let source = Sources { model: source.clone(), draft: draft.cloned() };
        let load = match self.shared.find_or_claim(name, &source)? {
            Found::Model(model) => return Ok(model),
            Found::Claimed(load) => load,
        };
        let loaded = catch_unwind(AssertUnwindSafe(|| self.shared.load(name, &source, &load)))
            .unwrap_or_else(|_| Err(Error::LoadFailed("the loader panicked".into())));
        let mut state = self.shared.lock();
        match &loaded {
            Ok(model) => {
                let (model, last_used, keep) = (model.clone(), Instant::now(), Keep::Default);
                let slot = Slot::Loaded { model, source, last_used, keep };
                state.slots.insert(name.to_string(), slot);
            }
            Err(error) => {
                let _ = load.failure.set(error.clone());
                state.slots.remove(name);
            }
        }
        drop(state);
        self.shared.changed.notify_all();
        loaded
    }

    /// Lets a model go; its running sequences end in their own time. `false` if it was not loaded.
    pub fn unload(&self, name: &str) -> bool {
        let mut state = self.shared.lock();
        if !matches!(state.slots.get(name), Some(Slot::Loaded { .. })) {
            return false;
        }
        let slot = state.slots.remove(name);
        drop(state);
        if let Some(Slot::Loaded { model, .. }) = slot {
            model.close();
        }
        true
    }

    /// How long this model stays when nobody uses it, until it is unloaded. `false` if it is not
    /// loaded.
    pub fn keep(&self, name: &str, time: Keep) -> bool {
        let mut state = self.shared.lock();
        let Some(Slot::Loaded { keep, .. }) = state.slots.get_mut(name) else { return false };
        *keep = time;
        drop(state);
        // The sweeper may have to act now.
        self.shared.changed.notify_all();
        true
    }

    /// What each model does now, by name.
    pub fn activity(&self) -> Vec<ModelActivity> {
        let state = self.shared.lock();
        let mut all: Vec<ModelActivity> = state
            .slots
            .iter()
            .map(|(name, slot)| {
                let name = name.clone();
                match slot {
                    Slot::Loading(_) => ModelActivity {
                        name,
                        state: ModelState::Loading,
                        info: None,
                        stats: ModelStats::default(),
                        expires_in: None,
                    },
                    Slot::Loaded { model, last_used, keep, .. } => ModelActivity {
                        name,
                        state: ModelState::Loaded,
                        info: Some(model.info().clone()),
                        stats: model.stats(),
                        expires_in: keep
                            .time(self.shared.config.keep_alive_s)
                            .map(|time| time.saturating_sub(last_used.elapsed())),
                    },
                }
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The settings that hold for all its models.
    pub fn config(&self) -> &EngineConfig {
        &self.shared.config
    }

    /// The machine's resources now.
    pub fn facts(&self) -> Facts {
        self.shared.machine.facts()
    }

    /// How each of these models would run here, if all others went that can.
    pub fn fit(&self, outlines: &[Outline]) -> Vec<Fit> {
        let Shared { config, backends, .. } = &*self.shared;
        let facts = self.shared.facts_emptied();
        outlines.iter().map(|outline| outline.fit(&facts, config, *backends)).collect()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_closed = true;
        let slots = std::mem::take(&mut state.slots);
        drop(state);
        self.shared.changed.notify_all();
        for (_, slot) in slots {
            if let Slot::Loaded { model, .. } = slot {
                model.close();
            }
        }
        if let Some(sweeper) = self.sweeper.take()
            && sweeper.join().is_err()
        {
            tracing::error!("the model sweeper panicked");
        }
    }
}

enum Found {
    Model(Model),
    /// Nobody has it: the caller is to load it.
    Claimed(Arc<Load>),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock half-way through a change.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn find_or_claim(&self, name: &str, source: &Sources) -> Result<Found> {
        let mut state = self.lock();
        loop {
            match state.slots.get_mut(name) {
                Some(Slot::Loaded { model, source: loaded, last_used, .. })
                    if model.is_alive() && loaded == source =>
                {
                    *last_used = Instant::now();
                    return Ok(Found::Model(model.clone()));
                }
                Some(Slot::Loading(load)) => {
                    let load = Arc::clone(load);
                    state = self.changed.wait(state).unwrap_or_else(|error| error.into_inner());
                    if let Some(error) = load.failure.get() {
                        return Err(error.clone());
                    }
                }
                // It has failed, or the name means another file now: the old one goes.
                Some(Slot::Loaded { .. }) | None => {
                    let load = Arc::new(Load::default());
                    let slot = Slot::Loading(Arc::clone(&load));
                    let old = state.slots.insert(name.to_string(), slot);
                    drop(state);
                    if let Some(Slot::Loaded { model, .. }) = old {
                        model.close();
                    }
                    return Ok(Found::Claimed(load));
                }
            }
        }
    }

    fn load(&self, name: &str, source: &Sources, load: &Load) -> Result<Model> {
        let file = source.model.open()?;
        let draft = source.draft.as_ref().map(Source::open).transpose()?;
        let mut need = Need::of(&file, &self.config);
        if let Some(draft) = &draft {
            need = need.with_draft(&Need::of(draft, &self.config));
        }
        let placement = self.make_room(&need, load)?;
        loader::load(name, &file, draft.as_ref(), &placement, &self.config)
    }

    /// Finds a place, letting idle models go until there is one.
    fn make_room(&self, need: &Need, load: &Load) -> Result<Placement> {
        loop {
            let mut state = self.lock();
            let loaded = state.slots.values().filter(|slot| slot.placement().is_some()).count();
            let placed = match loaded < self.config.max_loaded_models {
                true => place(need, &self.facts_left(&state), &self.config, self.backends),
                false => Err(Error::AllBusy { loaded }),
            };
            let error = match placed {
                Ok(placement) => {
                    // Under the lock: the next one to place counts this one in.
                    let _ = load.placement.set(placement);
                    return Ok(placement);
                }
                Err(error) => error,
            };
            let Some(name) = state.least_recently_used() else { return Err(error) };
            let slot = state.slots.remove(&name);
            drop(state);
            if let Some(Slot::Loaded { model, .. }) = slot {
                tracing::info!(model.name = %name, "unloading {name} to make room");
                model.close();
            }
        }
    }

    fn sweep_until_closed(&self) {
        let mut state = self.lock();
        while !state.is_closed {
            let gone = state.take_expired(self.config.keep_alive_s);
            drop(state);
            for (name, model) in gone {
                tracing::info!(model.name = %name, "unloading {name}: idle or failed");
                model.close();
            }
            state = self.lock();
            if state.is_closed {
                return;
            }
            let waited = self.changed.wait_timeout(state, SWEEP);
            state = waited.unwrap_or_else(|error| error.into_inner()).0;
        }
    }
}

impl State {
    fn least_recently_used(&self) -> Option<String> {
        let idle = self.slots.iter().filter_map(|(name, slot)| match slot {
            Slot::Loaded { model, last_used, .. } if model.is_idle() => Some((last_used, name)),
            _ => None,
        });
        idle.min_by_key(|(last_used, _)| **last_used).map(|(_, name)| name.clone())
    }

    /// Takes out models that have been idle for too long or have failed; work renews the time.
    fn take_expired(&mut self, keep_alive_s: u64) -> Vec<(String, Model)> {
        let now = Instant::now();
        let mut gone = Vec::new();
        for (name, slot) in &mut self.slots {
            let Slot::Loaded { model, last_used, keep, .. } = slot else { continue };
            if model.is_idle() {
                let time = keep.time(keep_alive_s);
                if time.is_some_and(|time| now - *last_used >= time) {
                    gone.push(name.clone());
                }
            } else {
                *last_used = now;
            }
            if !model.is_alive() && !gone.contains(name) {
                gone.push(name.clone());
            }
        }
        let taken = gone.into_iter().filter_map(|name| match self.slots.remove(&name) {
            Some(Slot::Loaded { model, .. }) => Some((name, model)),
            _ => None,
        });
        taken.collect()
    }
}

impl Slot {
    /// The device and bytes of a model that is loaded or whose place is decided.
    fn placement(&self) -> Option<(DeviceChoice, u64)> {
        match self {
            Slot::Loading(load) => {
                load.placement.get().map(|place| (place.device, place.memory_bytes))
            }
            Slot::Loaded { model, .. } => Some((model.info().device, model.info().memory_bytes)),
        }
    }
}

#[cfg(test)]
mod tests;
