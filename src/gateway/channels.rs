//! Channels: the providers elsewhere that may answer, and the routes to them.
//!
//! The server calls it for what admins do; [`crate::routing`] asks the channels that it holds
//! ready. Each change is saved first and counts from the next request on. Keys are sealed before
//! they are saved and never told again.

mod credential;
pub(crate) mod exchange;
pub(crate) mod fetch;
mod guard;
pub(crate) mod health;
pub(crate) mod live;
mod overrides;
mod preset;
mod probe;
mod routes;
pub(crate) mod spec;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use hearth_store::{
    Channel, ChannelId, ChannelKey, ChannelKeyId, GroupId, NewChannel, Price, Store,
};
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::routing::{Policy, Route};
use crate::vault::Vault;
use crate::wire::{self, Wire};

use credential::{Credential, on_one_line};
use fetch::Fetcher;
use live::{Healths, Live, place_of, spec_of};

#[cfg(test)]
pub(crate) use credential::google::file as account_file;
pub(crate) use guard::Guard;
pub use health::{ChannelStats, ModelStats};
pub(crate) use overrides::matches;
pub use overrides::{Condition, Override, OverrideMode};
pub use preset::{PRESETS, Preset};
pub use probe::{Probe, ProbeAnswer, ProbeList};
pub(crate) use spec::check_name;
pub use spec::{
    ChannelSettings, ChannelSpec, Limits, Network, SystemPrompt, SystemPromptMode, Timeouts, Tweaks,
};
pub use view::{ChannelView, KeyView};

/// Letters of a key that are shown, if it has several times as many.
const HINT_LETTERS: usize = 4;

/// The wire that a kind of provider speaks.
pub type Wires = fn(&'static Preset) -> &'static dyn Wire;

/// The wire of every kind of provider.
pub fn known_wire(preset: &'static Preset) -> &'static dyn Wire {
    wire::of(preset.provider)
}

/// The channels and routes of one data directory. Cheap to clone.
#[derive(Clone)]
pub struct Channels {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    vault: Vault,
    clock: Clock,
    wires: Wires,
    healths: Healths,
    fetcher: Fetcher,
    board: RwLock<Arc<Board>>,
    /// Held while the board is made anew, so that no older one takes a newer one's place.
    reload: tokio::sync::Mutex<()>,
}

/// Everything that routing needs to know, as of one moment.
#[derive(Default)]
pub(crate) struct Board {
    pub(crate) channels: Vec<Arc<Live>>,
    /// Channels that cannot be asked, and why.
    problems: HashMap<ChannelId, String>,
    rows: Vec<Channel>,
    pub(crate) routes: HashMap<String, Route>,
    pub(crate) group_policies: HashMap<GroupId, Policy>,
    /// By model; of a channel, or wherever no other price is set.
    prices: HashMap<String, Vec<(Option<ChannelId>, Price)>>,
    /// Whether who asks matters.
    pub(crate) looks_at_groups: bool,
}

impl Channels {
    /// Opens the channels of a store.
    pub async fn open(store: Store, vault: Vault, clock: Clock, wires: Wires) -> Result<Channels> {
        let channels = Channels::new(store, vault, clock, wires);
        channels.reload().await?;
        Ok(channels)
    }

    /// No channels, until one is made.
    pub fn new(store: Store, vault: Vault, clock: Clock, wires: Wires) -> Channels {
        let inner = Inner {
            store,
            vault,
            clock,
            wires,
            healths: Healths::default(),
            fetcher: Fetcher::default(),
            board: RwLock::default(),
            reload: tokio::sync::Mutex::default(),
        };
        Channels { inner: Arc::new(inner) }
    }

    /// Every channel. For admins.
    pub fn list(&self, caller: &Caller) -> Result<Vec<ChannelView>> {
        caller.require_admin()?;
        let board = self.board();
        board.rows.iter().map(|row| self.view(&board, row)).collect()
    }

    /// One channel. For admins.
    pub fn show(&self, caller: &Caller, id: ChannelId) -> Result<ChannelView> {
        caller.require_admin()?;
        let board = self.board();
        self.view(&board, board.row(id)?)
    }

    /// Makes a channel. For admins.
    pub async fn create(&self, caller: &Caller, spec: ChannelSpec) -> Result<ChannelView> {
        caller.require_admin()?;
        let new = self.checked(&spec)?;
        let keys = self.seal(&new.preset, spec.keys.as_deref().unwrap_or_default())?;
        let now = self.inner.clock.now();
        let detail = json!({ "type": new.preset, "host": origin(&new.base_url) });
        let store = self.acting(caller, "channels.create", named(&new.name), detail);
        let id = store.channels().create(new, keys, now).await?;
        self.reload().await?;
        self.show(caller, id)
    }

    /// Changes a channel: `patch` is laid over what it is (a JSON merge patch). For admins.
    ///
    /// A new address needs the keys anew: otherwise whoever may change channels could have the
    /// keys sent to themselves.
    pub async fn update(
        &self,
        caller: &Caller,
        id: ChannelId,
        patch: &Value,
    ) -> Result<ChannelView> {
        caller.require_admin()?;
        let before = self.board().row(id)?.clone();
        let mut value = serde_json::to_value(spec_of(&before)?)
            .map_err(|error| Error::Internal(error.to_string()))?;
        merge(&mut value, patch, 0)?;
        let spec: ChannelSpec = serde_json::from_value(value)
            .map_err(|error| Error::Invalid { param: None, message: format!("{error}.") })?;
        let new = self.checked(&spec)?;
        let has_moved = origin(&new.base_url) != origin(&before.row.base_url)
            || spec.settings.network.proxy != spec_of(&before)?.settings.network.proxy;
        if has_moved && spec.keys.is_none() && !before.keys.is_empty() {
            let message = "A channel that is to ask another host or proxy needs its keys anew: \
                           give `keys` too.";
            return Err(Error::invalid("keys", message));
        }
        let keys = spec.keys.as_deref().map(|keys| self.seal(&new.preset, keys)).transpose()?;
        // Names alone: what is changed to may be a secret, such as a header.
        let changed: Vec<&String> =
            patch.as_object().into_iter().flatten().map(|it| it.0).collect();
        let detail = json!({ "changed": changed, "host": origin(&new.base_url) });
        let store = self.acting(caller, "channels.update", named(&before.row.name), detail);
        store.channels().replace(id, new, keys, self.inner.clock.now()).await?;
        self.reload().await?;
        self.show(caller, id)
    }

    /// Removes a channel. Answers under way go on. For admins.
    pub async fn remove(&self, caller: &Caller, id: ChannelId) -> Result<()> {
        caller.require_admin()?;
        let target = named(&self.board().row(id)?.row.name);
        self.acting(caller, "channels.remove", target, json!({})).channels().remove(id).await?;
        self.reload().await
    }

    /// Adds a key to a channel. For admins.
    pub async fn add_key(&self, caller: &Caller, id: ChannelId, key: &str) -> Result<ChannelView> {
        caller.require_admin()?;
        spec::check_key(key)?;
        let now = self.inner.clock.now();
        let row = self.board().row(id)?.row.clone();
        let target = named(&row.name);
        for key in self.seal(&row.preset, &[key.to_owned()])? {
            let detail = json!({ "key_id": key.id.0 });
            let store = self.acting(caller, "channels.add_key", target.clone(), detail);
            store.channels().add_key(id, key, now).await?;
        }
        self.reload().await?;
        self.show(caller, id)
    }

    /// Removes a key of a channel. For admins.
    pub async fn remove_key(
        &self,
        caller: &Caller,
        id: ChannelId,
        key: ChannelKeyId,
    ) -> Result<()> {
        caller.require_admin()?;
        let target = named(&self.board().row(id)?.row.name);
        let store = self.acting(caller, "channels.remove_key", target, json!({ "key_id": key.0 }));
        store.channels().remove_key(id, key).await?;
        self.reload().await
    }

    /// Asks a channel for its models and for a word, and tells how that went. For admins.
    pub async fn probe(
        &self,
        caller: &Caller,
        id: ChannelId,
        model: Option<&str>,
    ) -> Result<Probe> {
        caller.require_admin()?;
        Ok(probe::probe(&*self.live(id)?, model).await)
    }

    /// The provider's own list of models. For admins.
    pub async fn fetch_models(&self, caller: &Caller, id: ChannelId) -> Result<ProbeList> {
        caller.require_admin()?;
        Ok(probe::list(&*self.live(id)?).await)
    }

    /// Makes a new master key and seals all secrets of the data directory under it. For whoever
    /// works on the machine itself.
    pub async fn rotate_secrets(&self, caller: &Caller) -> Result<u64> {
        caller.require_operator()?;
        let store = self.acting(caller, "secrets.rotate", "secrets".to_owned(), json!({}));
        let count = self.inner.vault.rotate(&store).await?;
        self.reload().await?;
        Ok(count)
    }

    /// Looks at the store anew, after others have changed what stands there, such as prices.
    pub async fn refresh(&self) -> Result<()> {
        self.reload().await
    }

    /// What each channel did since the start, with its name.
    pub fn stats(&self) -> Vec<(String, ChannelStats)> {
        let now = std::time::Instant::now();
        let board = self.board();
        let stats = |live: &Arc<Live>| (live.row.row.name.clone(), live.health.stats(now));
        board.channels.iter().map(stats).collect()
    }

    pub(crate) fn board(&self) -> Arc<Board> {
        Arc::clone(&self.inner.board.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn fetcher(&self) -> &Fetcher {
        &self.inner.fetcher
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The store, through a handle that notes this act of the caller with what it writes.
    fn acting(
        &self,
        caller: &Caller,
        action: &'static str,
        target: String,
        detail: Value,
    ) -> Store {
        self.inner.store.audited(caller.act(self.inner.clock.now(), action, target, detail))
    }

    fn live(&self, id: ChannelId) -> Result<Arc<Live>> {
        let board = self.board();
        board.row(id)?;
        if let Some(problem) = board.problems.get(&id) {
            return Err(Error::Conflict { code: "channel_unusable", message: problem.clone() });
        }
        // A channel that is switched off can be tested too.
        let live = board.channels.iter().find(|live| live.id() == id);
        live.cloned().ok_or(Error::NotFound)
    }

    fn view(&self, board: &Board, row: &Channel) -> Result<ChannelView> {
        let live = board.channels.iter().find(|live| live.id() == row.id);
        let problem = board.problems.get(&row.id).cloned();
        view::view(row, live.map(Arc::as_ref), problem)
    }

    fn checked(&self, spec: &ChannelSpec) -> Result<NewChannel> {
        let (preset, base_url) = spec.check()?;
        let settings = serde_json::to_string(&spec.settings)
            .map_err(|error| Error::Internal(format!("settings of a channel: {error}")))?;
        Ok(NewChannel {
            name: spec.name.clone(),
            preset: preset.name.to_owned(),
            base_url,
            is_enabled: spec.enabled,
            priority: spec.priority,
            weight: spec.weight,
            settings,
        })
    }

    /// Seals keys, each of which this kind of provider can be shown.
    fn seal(&self, preset: &str, keys: &[String]) -> Result<Vec<ChannelKey>> {
        let preset = preset::find(preset).ok_or(Error::NotFound)?;
        let seal = |key: &String| {
            let key = &on_one_line(key);
            Credential::open((self.inner.wires)(preset), key)?;
            let id = ChannelKeyId(uuid::Uuid::now_v7().to_string());
            let sealed = self.inner.vault.seal(&place_of(&id), key.as_bytes())?;
            Ok(ChannelKey { id, sealed, hint: hint(key) })
        };
        keys.iter().map(seal).collect()
    }

    /// Makes the board anew from the store. Channels that are as before keep their connections.
    async fn reload(&self) -> Result<()> {
        let _turn = self.inner.reload.lock().await;
        let store = &self.inner.store;
        let rows = store.channels().list().await?;
        let before = self.board();
        let mut board = Board::default();
        for row in &rows {
            let known = before.channels.iter().find(|live| live.row == *row);
            let opened = match known {
                Some(live) => Ok(Arc::clone(live)),
                None => Live::open(
                    row.clone(),
                    &self.inner.vault,
                    &self.inner.healths,
                    self.inner.wires,
                )
                .map(Arc::new),
            };
            match opened {
                Ok(live) => board.channels.push(live),
                Err(error) => {
                    tracing::error!(channel.name = %row.row.name, %error, "a channel is unusable");
                    board.problems.insert(row.id, error.to_string());
                }
            }
        }
        self.inner.healths.keep_only(&rows);
        board.rows = rows;
        for row in store.prices().list().await? {
            board.prices.entry(row.model).or_default().push((row.channel_id, row.price));
        }
        for row in store.routes().list().await? {
            match serde_json::from_str(&row.settings) {
                Ok(route) => drop(board.routes.insert(row.model, route)),
                Err(error) => {
                    tracing::error!(model.name = %row.model, %error, "a route is unusable");
                }
            }
        }
        for (group, policy) in store.routes().group_policies().await? {
            // Whoever cannot be read keeps what would leave the machine here.
            let policy = Policy::parse(&policy).unwrap_or(Policy::LocalOnly);
            board.group_policies.insert(group, policy);
        }
        board.looks_at_groups = !board.group_policies.is_empty()
            || board.channels.iter().any(|live| !live.settings.groups.is_empty());
        *self.inner.board.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(board);
        Ok(())
    }
}

impl Board {
    /// What a channel asks for the first of these models that has a price there, or anywhere.
    pub(crate) fn price(&self, channel: ChannelId, models: [&str; 2]) -> Price {
        let of = |model: &str, channel: Option<ChannelId>| {
            let prices = self.prices.get(model)?;
            prices.iter().find(|(id, _)| *id == channel).map(|(_, price)| *price)
        };
        let there = models.iter().find_map(|model| of(model, Some(channel)));
        there.or_else(|| models.iter().find_map(|model| of(model, None))).unwrap_or_default()
    }

    fn row(&self, id: ChannelId) -> Result<&Channel> {
        self.rows.iter().find(|row| row.id == id).ok_or(Error::NotFound)
    }
}

/// A channel, in the audit log.
fn named(name: &str) -> String {
    format!("channel {name}")
}

/// The end of a key, if that says little about it.
fn hint(key: &str) -> String {
    let letters: Vec<char> = key.chars().collect();
    match letters.len() >= 4 * HINT_LETTERS {
        true => format!("…{}", letters[letters.len() - HINT_LETTERS..].iter().collect::<String>()),
        false => "…".to_owned(),
    }
}

/// Scheme, host and port.
fn origin(url: &str) -> String {
    reqwest::Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

/// Lays a JSON merge patch (RFC 7396) over a value: null removes.
pub(crate) fn merge(value: &mut Value, patch: &Value, depth: usize) -> Result<()> {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return Ok(());
    };
    if depth > 8 {
        return Err(Error::Invalid { param: None, message: "The change is too deep.".to_owned() });
    }
    if !value.is_object() {
        *value = Value::Object(serde_json::Map::new());
    }
    let Value::Object(members) = value else { return Ok(()) };
    for (name, change) in patch {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), change, depth + 1)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
