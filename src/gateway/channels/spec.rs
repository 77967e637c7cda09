//! A channel as an admin writes it, checked once.

use std::collections::BTreeMap;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::credential::on_one_line;
use super::guard::Guard;
use super::overrides::Override;
use super::preset::{self, Preset};
use crate::error::{Error, Result};

/// Most models, groups, tags, mappings or prices of a channel.
const MAX_LIST: usize = 5_000;
/// Most headers of a channel.
const MAX_HEADERS: usize = 32;
/// Most overrides of a channel.
const MAX_OVERRIDES: usize = 64;
/// Most keys of a channel.
const MAX_KEYS: usize = 100;
/// Longest name, pattern or tag, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Longest URL, header value or system prompt, in bytes.
const MAX_TEXT_BYTES: usize = 16 << 10;
/// Headers that Hearth sets itself, or that would carry credentials, which belong into `keys`.
const OWN_HEADERS: [&str; 16] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
];

/// A channel to be made, or what it becomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelSpec {
    /// What people call it; unique.
    pub name: String,
    /// Name of the kind of provider.
    #[serde(rename = "type")]
    pub preset: String,
    /// Where it is; left out, the preset's.
    #[serde(default)]
    pub base_url: Option<String>,
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Channels of a higher number come first.
    #[serde(default)]
    pub priority: i32,
    /// Share among channels of one priority; 0 only when nobody else is left.
    #[serde(default = "one")]
    pub weight: u32,
    /// Never shown again. Left out in a change, the keys stay.
    #[serde(default, skip_serializing)]
    pub keys: Option<Vec<String>>,
    #[serde(default)]
    pub settings: ChannelSettings,
}

/// How a channel is used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelSettings {
    /// What it offers, by public name; `*` stands for any text. Names without it are listed.
    pub models: Vec<String>,
    /// Public name → the provider's own name.
    pub model_mapping: BTreeMap<String, String>,
    /// Groups whose members may use it; empty is everybody.
    pub groups: Vec<String>,
    pub tags: Vec<String>,
    pub network: Network,
    pub request: Tweaks,
    pub limits: Limits,
    pub timeouts: Timeouts,
    /// The model that a test asks.
    pub test_model: Option<String>,
    /// Seconds that an answer is read on after its client has gone, for providers that bill it
    /// anyway; 0 ends it at once.
    pub drain_s: u32,
}

/// How the provider is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// `http://HOST:PORT` or `https://…`.
    pub proxy: Option<String>,
    /// Hosts and networks that may be reached although their addresses are private, also without
    /// TLS.
    pub allow_private: Vec<String>,
    /// Sent with every request.
    pub headers: BTreeMap<String, String>,
}

/// What is changed in requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tweaks {
    /// In order, on the body that goes to the provider.
    pub overrides: Vec<Override>,
    pub system_prompt: Option<SystemPrompt>,
    /// Whether the provider is asked for pieces also where a client wants the whole answer: one
    /// that hangs is noticed sooner, and few close the connection on a long answer.
    pub always_streams: bool,
}

/// A text for the model to read first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemPrompt {
    pub text: String,
    #[serde(default)]
    pub mode: SystemPromptMode,
}

/// How it stands to system messages of the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemPromptMode {
    /// Before them.
    #[default]
    Prepend,
    /// Only where there are none.
    Default,
    /// Instead of them.
    Replace,
}

/// How much a channel is asked for; left out, there is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub requests_per_minute: Option<u32>,
    pub tokens_per_minute: Option<u32>,
    pub concurrent: Option<u32>,
}

/// How long a provider may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For a connection to stand.
    pub connect_ms: u32,
    /// From the request to the first piece of the answer.
    pub first_byte_ms: u32,
    /// From the request to an answer that comes whole, instead of that.
    pub whole_ms: u32,
    /// Between two pieces.
    pub idle_ms: u32,
    /// For the whole answer.
    pub total_ms: u32,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        let minute_ms = 60 * 1000;
        Timeouts {
            connect_ms: 5_000,
            first_byte_ms: 2 * minute_ms,
            whole_ms: 10 * minute_ms,
            idle_ms: 2 * minute_ms,
            total_ms: 60 * minute_ms,
        }
    }
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

impl ChannelSpec {
    /// The preset, and the base URL without a slash at its end, if all of it can be used.
    pub(super) fn check(&self) -> Result<(&'static Preset, String)> {
        let settings = &self.settings;
        check_name("name", &self.name)?;
        let preset = preset::find(&self.preset).ok_or_else(|| {
            let known: Vec<&str> = preset::PRESETS.iter().map(|preset| preset.name).collect();
            invalid("type", &format!("must be one of: {}", known.join(", ")))
        })?;
        if self.weight > 1_000_000 {
            return Err(invalid("weight", "must be 0 to 1000000"));
        }
        self.check_keys()?;
        for (what, list) in [
            ("settings.models", &settings.models),
            ("settings.groups", &settings.groups),
            ("settings.tags", &settings.tags),
            ("settings.network.allow_private", &settings.network.allow_private),
        ] {
            check_list(what, list.iter())?;
        }
        let mapping = &settings.model_mapping;
        check_list("settings.model_mapping", mapping.keys().chain(mapping.values()))?;
        settings.check_rest()?;
        let base_url = check_base_url(self.base_url.as_deref(), preset, &settings.network)?;
        Ok((preset, base_url))
    }

    fn check_keys(&self) -> Result<()> {
        let keys = self.keys.as_deref().unwrap_or_default();
        if keys.len() > MAX_KEYS {
            return Err(invalid("keys", &format!("may be {MAX_KEYS} at most")));
        }
        keys.iter().try_for_each(|key| check_key(key))
    }
}

impl ChannelSettings {
    fn check_rest(&self) -> Result<()> {
        if let Some(model) = &self.test_model {
            check_name("settings.test_model", model)?;
        }
        if self.drain_s > 600 {
            return Err(invalid("settings.drain_s", "must be 0 to 600"));
        }
        let Timeouts { connect_ms, first_byte_ms, whole_ms, idle_ms, total_ms } = self.timeouts;
        for (name, time_ms) in [
            ("connect_ms", connect_ms),
            ("first_byte_ms", first_byte_ms),
            ("whole_ms", whole_ms),
            ("idle_ms", idle_ms),
            ("total_ms", total_ms),
        ] {
            if !(1..=24 * 60 * 60 * 1000).contains(&time_ms) {
                let what = "must be 1 ms to a day";
                return Err(invalid(&format!("settings.timeouts.{name}"), what));
            }
        }
        let Limits { requests_per_minute, tokens_per_minute, concurrent } = self.limits;
        if [requests_per_minute, tokens_per_minute, concurrent].contains(&Some(0)) {
            return Err(invalid("settings.limits", "must be 1 or more, or left out"));
        }
        if let Some(prompt) = &self.request.system_prompt
            && !(1..=MAX_TEXT_BYTES).contains(&prompt.text.len())
        {
            return Err(invalid("settings.request.system_prompt", "must be 1 byte to 16 KiB"));
        }
        if self.request.overrides.len() > MAX_OVERRIDES {
            return Err(invalid("settings.request.overrides", "are too many"));
        }
        self.request.overrides.iter().try_for_each(Override::check)?;
        self.network.check()
    }
}

impl Network {
    fn check(&self) -> Result<()> {
        if self.headers.len() > MAX_HEADERS {
            return Err(invalid("settings.network.headers", "are too many"));
        }
        for (name, value) in &self.headers {
            let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
            let is_fine = parsed.is_some_and(|name| !OWN_HEADERS.contains(&name.as_str()))
                && value.len() <= MAX_TEXT_BYTES
                && HeaderValue::from_str(value).is_ok();
            if !is_fine {
                let what = format!("cannot have `{}`", name.escape_debug());
                return Err(invalid("settings.network.headers", &what));
            }
        }
        let Some(proxy) = &self.proxy else { return Ok(()) };
        let url = Url::parse(proxy).ok();
        let is_fine = url.is_some_and(|url| {
            ["http", "https"].contains(&url.scheme()) && url.has_host() && !has_userinfo(&url)
        });
        if is_fine {
            return Ok(());
        }
        let what = "must be http://HOST:PORT or https://HOST:PORT, without a name or password";
        Err(invalid("settings.network.proxy", what))
    }
}

/// Whether a URL carries a name or a password, which has tricked people about its host before.
fn has_userinfo(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn check_base_url(given: Option<&str>, preset: &Preset, network: &Network) -> Result<String> {
    let field = "base_url";
    let text = given.unwrap_or(preset.base_url);
    if text.is_empty() {
        return Err(invalid(field, &format!("is needed here: {}", preset.note)));
    }
    let url = Url::parse(text).map_err(|_| invalid(field, "must be a URL"))?;
    if text.len() > MAX_TEXT_BYTES || has_userinfo(&url) {
        return Err(invalid(field, "cannot carry a name or a password; keys belong into `keys`"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid(field, "cannot have `?` or `#`"));
    }
    Guard::new(&network.allow_private).check(&url).map_err(|reason| invalid(field, &reason))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether a text can be a key: something that a header can carry.
pub(super) fn check_key(key: &str) -> Result<()> {
    let key = on_one_line(key);
    let is_fine = (1..=MAX_TEXT_BYTES).contains(&key.len())
        && key.trim() == key
        && HeaderValue::from_str(&key).is_ok();
    // The key itself is not repeated.
    if is_fine { Ok(()) } else { Err(invalid("keys", "must be visible characters on one line")) }
}

fn check_list<'a>(what: &str, list: impl Iterator<Item = &'a String>) -> Result<()> {
    for (index, entry) in list.enumerate() {
        if index >= 2 * MAX_LIST {
            return Err(invalid(what, &format!("may have {MAX_LIST} entries at most")));
        }
        check_name(what, entry)?;
    }
    Ok(())
}

pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let is_fine = (1..=MAX_NAME_BYTES).contains(&name.len())
        && !name.chars().any(char::is_control)
        && name.trim() == name;
    if is_fine {
        return Ok(());
    }
    let rule = format!("must be 1 to {MAX_NAME_BYTES} bytes without line breaks or outer spaces");
    Err(invalid(what, &rule))
}

pub(crate) fn invalid(field: &str, what: &str) -> Error {
    Error::invalid(field, format!("`{field}` {what}."))
}

#[cfg(test)]
mod tests;
