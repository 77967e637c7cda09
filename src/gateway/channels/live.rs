//! A channel that is ready to be asked: its row parsed, its keys open, its connections kept.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hearth_store::{Channel, ChannelId, ChannelKeyId, SealedPlace};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect;

use super::credential::Credential;
use super::guard::Guard;
use super::health::{Health, KeyHealth};
use super::overrides::matches;
use super::preset::Preset;
use super::spec::{ChannelSettings, ChannelSpec, Limits};
use crate::error::{Error, Result};
use crate::vault::Vault;
use crate::wire::Wire;

/// Seconds that an idle connection is kept.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);
/// Idle connections that are kept for each host.
const IDLE_CONNECTIONS: usize = 256;

/// A channel that can be asked.
pub(crate) struct Live {
    pub(crate) row: Channel,
    pub(crate) preset: &'static Preset,
    pub(crate) settings: ChannelSettings,
    /// Without a slash at its end.
    pub(crate) base_url: String,
    pub(crate) wire: &'static dyn Wire,
    pub(crate) client: reqwest::Client,
    /// Sent with every request, besides the key.
    pub(crate) headers: HeaderMap,
    /// Never empty: where there is no key, one that is none.
    pub(crate) keys: Vec<LiveKey>,
    pub(crate) health: Arc<Health>,
    exact: HashSet<String>,
    patterns: Vec<String>,
    next_key: AtomicUsize,
}

/// A key that can be shown to its provider.
pub(crate) struct LiveKey {
    pub(crate) id: Option<ChannelKeyId>,
    pub(crate) credential: Credential,
    pub(crate) health: Arc<KeyHealth>,
}

/// How channels and keys fare, kept while their rows change.
#[derive(Default)]
pub(crate) struct Healths {
    channels: Mutex<HashMap<ChannelId, Arc<Health>>>,
    keys: Mutex<HashMap<ChannelKeyId, Arc<KeyHealth>>>,
}

impl Healths {
    fn of(&self, id: ChannelId) -> Arc<Health> {
        let mut known = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(id).or_default())
    }

    fn of_key(&self, id: &ChannelKeyId) -> Arc<KeyHealth> {
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(id.clone()).or_default())
    }

    /// Forgets whoever is gone.
    pub(crate) fn keep_only(&self, channels: &[Channel]) {
        let mut known = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|id, _| channels.iter().any(|channel| channel.id == *id));
        let ids: HashSet<&ChannelKeyId> =
            channels.iter().flat_map(|channel| &channel.keys).map(|key| &key.id).collect();
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|id, _| ids.contains(id));
    }
}

impl Live {
    /// Opens a channel's keys and gets its connections ready.
    pub(crate) fn open(
        row: Channel,
        vault: &Vault,
        healths: &Healths,
        wires: super::Wires,
    ) -> Result<Live> {
        let spec = spec_of(&row)?;
        let (preset, base_url) = spec.check()?;
        let settings = spec.settings;
        let wire = wires(preset);
        let keys = open_keys(&row, wire, vault, healths)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.network.headers {
            headers.insert(parse_name(name)?, parse_value(value)?);
        }
        let (patterns, exact): (Vec<String>, Vec<String>) =
            settings.models.iter().cloned().partition(|model| model.contains('*'));
        let exact = exact.into_iter().chain(settings.model_mapping.keys().cloned()).collect();
        Ok(Live {
            client: client(&settings)?,
            health: healths.of(row.id),
            next_key: AtomicUsize::new(0),
            row,
            preset,
            settings,
            base_url,
            wire,
            headers,
            keys,
            exact,
            patterns,
        })
    }

    pub(crate) fn id(&self) -> ChannelId {
        self.row.id
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// Whether it answers for this model.
    pub(crate) fn offers(&self, model: &str) -> bool {
        self.exact.contains(model) || self.patterns.iter().any(|pattern| matches(pattern, model))
    }

    /// The models that it offers by name.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &String> {
        self.exact.iter()
    }

    /// The provider's own name of a model.
    pub(crate) fn own_name<'a>(&'a self, model: &'a str) -> &'a str {
        self.settings.model_mapping.get(model).map_or(model, String::as_str)
    }

    /// A key that may be used now and was not tried, each in its turn.
    pub(crate) fn next_key(&self, tried: &[usize], now: Instant) -> Option<usize> {
        let start = self.next_key.fetch_add(1, Ordering::Relaxed);
        (0..self.keys.len()).map(|step| (start.wrapping_add(step)) % self.keys.len()).find(
            |index| !tried.contains(index) && self.keys[*index].health.rests_until(now).is_none(),
        )
    }

    /// When it may be asked again, if not now: its limits are reached or all its keys rest.
    pub(crate) fn rests_until(&self, now: Instant) -> Option<Instant> {
        let full = self.health.full_until(self.limits(), now);
        let keys = self.keys.iter().map(|key| key.health.rests_until(now)).min().flatten();
        full.max(keys)
    }
}

/// What a row says, without its keys.
pub(crate) fn spec_of(row: &Channel) -> Result<ChannelSpec> {
    let settings = serde_json::from_str(&row.row.settings).map_err(|error| {
        Error::Internal(format!("the settings of the channel `{}`: {error}", row.row.name))
    })?;
    let new = row.row.clone();
    Ok(ChannelSpec {
        name: new.name,
        preset: new.preset,
        base_url: Some(new.base_url),
        enabled: new.is_enabled,
        priority: new.priority,
        weight: new.weight,
        keys: None,
        settings,
    })
}

/// Where a key stands in the store.
pub(crate) fn place_of(id: &ChannelKeyId) -> SealedPlace {
    SealedPlace { table: "channel_keys", column: "sealed", row: id.0.clone() }
}

fn open_keys(
    row: &Channel,
    wire: &'static dyn Wire,
    vault: &Vault,
    healths: &Healths,
) -> Result<Vec<LiveKey>> {
    let mut keys = Vec::with_capacity(row.keys.len().max(1));
    for key in &row.keys {
        let secret = vault.unseal(&place_of(&key.id), &key.sealed)?;
        let secret = String::from_utf8(secret)
            .map_err(|_| Error::Internal(format!("the key {} is no text", key.hint)))?;
        let credential = Credential::open(wire, &secret)?;
        let health = healths.of_key(&key.id);
        keys.push(LiveKey { id: Some(key.id.clone()), credential, health });
    }
    if keys.is_empty() {
        keys.push(LiveKey { id: None, credential: Credential::None, health: Arc::default() });
    }
    Ok(keys)
}

/// A client of its own for each channel: the addresses that one may reach are nobody else's.
fn client(settings: &ChannelSettings) -> Result<reqwest::Client> {
    // A second start in one process keeps the first one's choice, which is the same.
    rustls::crypto::ring::default_provider().install_default().ok();
    let guard = Guard::new(&settings.network.allow_private);
    let connect = Duration::from_millis(settings.timeouts.connect_ms.into());
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("hearth/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect)
        // A redirect would take the key, in whatever header it is, to a host that nobody checked.
        .redirect(redirect::Policy::none())
        .pool_idle_timeout(IDLE_CONNECTION)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .tcp_nodelay(true)
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .no_proxy();
    builder = match &settings.network.proxy {
        // Where the proxy is was the admin's choice; it decides for itself whom it reaches.
        Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy).map_err(unusable)?),
        None => builder.dns_resolver(guard.resolver()),
    };
    builder.build().map_err(unusable)
}

fn unusable(error: reqwest::Error) -> Error {
    Error::Internal(format!("no HTTP client for a channel: {error}"))
}

fn parse_name(name: &str) -> Result<HeaderName> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Error::Internal(format!("`{}` is no header", name.escape_debug())))
}

fn parse_value(value: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(value)
        .map_err(|_| Error::Internal("a header's value cannot be sent".to_owned()))
}
