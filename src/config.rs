//! Every setting: its default, where it may be set, and what is allowed.
//!
//! The file given with `--config` < environment `HEARTH_<SECTION>_<KEY>` (and the older names of
//! [`crate::legacy`]) < command line. This file alone reads the environment. A test holds
//! `config/hearth.toml` equal to [`Config::default`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use hearth_engine::EngineConfig;
use hearth_gateway::accounts::{AccountsConfig, LdapConfig, OidcConfig};
use hearth_gateway::alerts::AlertsConfig;
use hearth_gateway::gateway::GatewayConfig;
use hearth_gateway::routing::RoutingConfig;
use hearth_hub::HubConfig;
use hearth_server::ServerConfig;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::legacy;

/// Environment variables, as `std::env::vars` gives them.
pub type Environment = BTreeMap<String, String>;

/// The whole configuration: one section per room.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub listen: ListenConfig,
    pub data: DataConfig,
    pub log: LogConfig,
    pub server: ServerConfig,
    pub accounts: AccountsConfig,
    pub oidc: OidcConfig,
    pub ldap: LdapConfig,
    pub alerts: AlertsConfig,
    pub gateway: GatewayConfig,
    pub routing: RoutingConfig,
    pub engine: EngineConfig,
    pub hub: HubConfig,
    /// `INITIAL_ROOT_TOKEN`: password and API token of the first admin, `root`. Never in a file.
    #[serde(skip)]
    pub initial_root_token: Option<Secret>,
    /// `HEARTH_MASTER_KEY`: seals the secrets instead of the key file's. Never in a file.
    #[serde(skip)]
    pub master_key: Option<Secret>,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Where Hearth can be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenConfig {
    /// Address and port of everything: API, web app, health. Port 0 takes a free one.
    pub http: SocketAddr,
}

/// Where Hearth keeps what it must not lose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Database, keys and models live here.
    pub dir: PathBuf,
    /// Model files; empty means `models` in `dir`.
    pub models_dir: PathBuf,
}

/// What is written to standard error while serving.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,hearth_engine=debug`.
    pub level: String,
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for ListenConfig {
    fn default() -> Self {
        ListenConfig { http: SocketAddr::from(([127, 0, 0, 1], 3000)) }
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig { dir: "data".into(), models_dir: PathBuf::new() }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// What the command line may override.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub data: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
}

impl Config {
    /// Puts file, environment and command line together and checks every value.
    ///
    /// `file`: as given by `--config`; without it, `config/hearth.toml` is not read, so that the
    /// program behaves the same in every directory.
    pub fn load(file: Option<&Path>, environment: &Environment, over: Overrides) -> Result<Config> {
        let mut table = match file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the settings in {}", path.display()))?;
                let table: Table = text
                    .parse()
                    .with_context(|| format!("{} is not valid TOML", path.display()))?;
                // Checked on its own first, so that an error names this file's own line.
                toml::from_str::<Config>(&text)
                    .with_context(|| format!("{} has a wrong setting", path.display()))?;
                table
            }
            None => Table::new(),
        };
        legacy::overlay(&mut table, environment)?;
        overlay_environment(&mut table, environment)?;
        let mut config: Config = Value::Table(table).try_into().context("a setting is wrong")?;
        config.data.dir = over.data.unwrap_or(config.data.dir);
        let root_token = environment.get("INITIAL_ROOT_TOKEN").filter(|token| !token.is_empty());
        config.initial_root_token = root_token.cloned().map(Secret);
        let master_key = environment.get("HEARTH_MASTER_KEY").filter(|key| !key.is_empty());
        config.master_key = master_key.cloned().map(Secret);
        config.listen.http = over.listen.unwrap_or(config.listen.http);
        config.validate()?;
        Ok(config)
    }

    /// Where model files are kept.
    pub fn models_dir(&self) -> PathBuf {
        if self.data.models_dir.as_os_str().is_empty() {
            self.data.dir.join("models")
        } else {
            self.data.models_dir.clone()
        }
    }

    fn validate(&self) -> Result<()> {
        ensure!(!self.data.dir.as_os_str().is_empty(), "data.dir must name a directory");
        self.server.validate().map_err(|reason| anyhow::anyhow!("server.{reason}"))?;
        self.accounts.validate().map_err(|reason| anyhow::anyhow!("accounts.{reason}"))?;
        self.oidc.validate().map_err(|reason| anyhow::anyhow!("oidc.{reason}"))?;
        self.ldap.validate().map_err(|reason| anyhow::anyhow!("ldap.{reason}"))?;
        self.alerts.validate().map_err(|reason| anyhow::anyhow!("alerts.{reason}"))?;
        self.gateway.validate().map_err(|reason| anyhow::anyhow!("gateway.{reason}"))?;
        self.routing.validate().map_err(|reason| anyhow::anyhow!("routing.{reason}"))?;
        self.hub.validate().map_err(|reason| anyhow::anyhow!("hub.{reason}"))?;
        self.engine.validate().context("section [engine]")?;
        Ok(())
    }
}

/// The default configuration as a table: the list of all sections, keys and types.
fn default_table() -> Result<Table> {
    Table::try_from(Config::default()).context("the default settings do not print")
}

/// Lays `HEARTH_<SECTION>_<KEY>` over `table`.
fn overlay_environment(table: &mut Table, environment: &Environment) -> Result<()> {
    for (section, keys) in &default_table()? {
        for (key, default) in keys.as_table().into_iter().flatten() {
            let name = format!("HEARTH_{section}_{key}").to_uppercase();
            if let Some(text) = environment.get(&name) {
                let value = parse_as(default, text).with_context(|| name)?;
                set(table, section, key, value)?;
            }
        }
    }
    Ok(())
}

/// Sets `section.key`.
pub(crate) fn set(table: &mut Table, section: &str, key: &str, value: Value) -> Result<()> {
    let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    let Some(keys) = entry.as_table_mut() else { bail!("[{section}] must be a section") };
    keys.insert(key.to_owned(), value);
    Ok(())
}

/// Reads `text` as the type that `default` has; a list is written with commas.
fn parse_as(default: &Value, text: &str) -> Result<Value> {
    Ok(match default {
        Value::Integer(_) => Value::Integer(text.parse().context("must be a whole number")?),
        Value::Float(_) => Value::Float(text.parse().context("must be a number")?),
        Value::Boolean(_) => Value::Boolean(text.parse().context("must be true or false")?),
        Value::Array(_) => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| Value::String(item.to_owned()))
            .collect::<Vec<_>>()
            .into(),
        _ => Value::String(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)]) -> Result<Config> {
        let environment =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::load(None, &environment, Overrides::default())
    }

    #[test]
    fn the_shipped_file_says_every_setting_with_its_default() {
        let text = include_str!("../config/hearth.toml");
        let file: Table = text.parse().unwrap();
        assert_eq!(file, default_table().unwrap());
        for (section, keys) in &file {
            for key in keys.as_table().unwrap().keys() {
                let line = text.lines().position(|line| line.starts_with(&format!("{key} = ")));
                let line = line.unwrap_or_else(|| panic!("{section}.{key} is not on its own line"));
                let above = text.lines().nth(line - 1).unwrap();
                assert!(above.starts_with('#'), "{section}.{key} has no comment above it");
            }
        }
    }

    #[test]
    fn environment_beats_file_and_command_line_beats_environment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hearth.toml");
        std::fs::write(&file, "[log]\nlevel = \"warn\"\n[data]\ndir = \"/from/file\"\n").unwrap();
        let environment: Environment =
            [("HEARTH_DATA_DIR", "/from/env"), ("HEARTH_LISTEN_HTTP", "127.0.0.1:4000")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into();
        let over = Overrides { listen: Some("127.0.0.1:5000".parse().unwrap()), data: None };
        let config = Config::load(Some(&file), &environment, over).unwrap();
        assert_eq!(config.log.level, "warn");
        assert_eq!(config.data.dir, Path::new("/from/env"));
        assert_eq!(config.listen.http.port(), 5000);
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let error = load(&[("HEARTH_LISTEN_HTTP", "nowhere")]).unwrap_err();
        assert!(format!("{error:#}").contains("http"), "{error:#}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hearth.toml");
        std::fs::write(&file, "[log]\nlevle = \"warn\"\n").unwrap();
        let error =
            Config::load(Some(&file), &Environment::new(), Overrides::default()).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("levle") && text.contains("hearth.toml"), "{text}");
    }

    #[test]
    fn older_names_are_honoured_below_our_own() {
        assert_eq!(load(&[("PORT", "8080")]).unwrap().listen.http.port(), 8080);
        assert_eq!(load(&[("LOG_LEVEL", "DEBUG")]).unwrap().log.level, "debug");
        let both = [("PORT", "8080"), ("HEARTH_LISTEN_HTTP", "127.0.0.1:9000")];
        assert_eq!(load(&both).unwrap().listen.http.port(), 9000);
        assert!(load(&[("PORT", "eighty")]).is_err());
        let ollama = [("OLLAMA_NUM_PARALLEL", "0"), ("OLLAMA_MAX_QUEUE", "7")];
        let hugging_face = [("HF_TOKEN", "hf_x"), ("HF_ENDPOINT", "https://mirror.example")];
        let hub = load(&hugging_face).unwrap().hub;
        assert_eq!(hub.huggingface_token.0, "hf_x");
        assert_eq!(hub.huggingface_endpoint, "https://mirror.example");
        let engine = load(&ollama).unwrap().engine;
        assert_eq!(engine.max_sequences, EngineConfig::default().max_sequences);
        assert_eq!(engine.queue_sequences, 7);
    }
}
