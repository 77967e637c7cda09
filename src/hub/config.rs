//! Where models may come from, and what pulling may take.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// Most entries of a list in the configuration.
const MAX_ENTRIES: usize = 64;

/// How models are pulled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HubConfig {
    /// Hosts, with their port if they have one of their own, that models may be pulled from.
    pub registries: Vec<String>,
    /// Hosts that models may be pushed to; none at first, because whatever a model carries leaves
    /// this machine.
    pub push_registries: Vec<String>,
    /// `HOST=USER:PASSWORD`, for registries that want an account; never printed.
    pub registry_credentials: Vec<Credential>,
    /// Those of both lists that are reached over plain HTTP.
    pub plain_http: Vec<String>,
    /// Hosts and networks that may be reached although their addresses are private.
    pub private_hosts: Vec<String>,
    /// Where models of hf.co are fetched: Hugging Face, or a mirror of it.
    pub huggingface_endpoint: String,
    /// For models of hf.co that are not open to all.
    pub huggingface_token: Token,
    /// A proxy through which everything is fetched, `http://host:port`; empty is none. Which
    /// addresses are reached is then for the proxy to decide.
    pub proxy: String,
    /// Pulls that run at once; others wait.
    pub max_pulls: u32,
    /// Pulls that may wait.
    pub queue_pulls: u32,
    /// Connections that fetch one file together.
    pub connections: u32,
    /// Most bytes per second, all pulls together; 0 is no limit.
    pub bytes_per_second: u64,
    /// How often in a row a connection may break before the pull fails.
    pub retries: u32,
    /// Seconds without a byte after which a connection counts as broken.
    pub stall_timeout_s: u32,
    /// Bytes that a pull leaves free on the disk.
    pub keep_free_bytes: u64,
}

/// A credential in the settings; it is never printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "***" })
    }
}

/// An account at a registry, `HOST=USER:PASSWORD`; the password is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Credential(pub String);

impl Credential {
    fn host(&self) -> &str {
        self.0.split_once('=').map_or("", |(host, _)| host)
    }

    fn account(&self) -> (&str, &str) {
        let account = self.0.split_once('=').and_then(|(_, account)| account.split_once(':'));
        account.unwrap_or_default()
    }

    pub(crate) fn user(&self) -> &str {
        self.account().0
    }

    pub(crate) fn password(&self) -> &str {
        self.account().1
    }

    fn is_whole(&self) -> bool {
        [self.host(), self.user(), self.password()].iter().all(|part| !part.is_empty())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=***", self.host())
    }
}

impl Serialize for Credential {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{self:?}"))
    }
}

impl Default for HubConfig {
    fn default() -> HubConfig {
        let registries = ["registry.ollama.ai", "hf.co", "huggingface.co"];
        HubConfig {
            registries: registries.map(str::to_owned).to_vec(),
            push_registries: Vec::new(),
            registry_credentials: Vec::new(),
            plain_http: Vec::new(),
            private_hosts: Vec::new(),
            huggingface_endpoint: "https://huggingface.co".to_owned(),
            huggingface_token: Token::default(),
            proxy: String::new(),
            max_pulls: 2,
            queue_pulls: 64,
            connections: 8,
            bytes_per_second: 0,
            retries: 8,
            stall_timeout_s: 30,
            keep_free_bytes: 1 << 30,
        }
    }
}

impl HubConfig {
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), String> {
        let within = |key: &str, value: u32, least: u32, most: u32| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(format!("{key} is {value}, must be {least} to {most}"))
        };
        within("max_pulls", self.max_pulls, 1, 64)?;
        within("queue_pulls", self.queue_pulls, 0, 10_000)?;
        within("connections", self.connections, 1, MAX_CONNECTIONS)?;
        within("retries", self.retries, 0, 100)?;
        within("stall_timeout_s", self.stall_timeout_s, 1, 3600)?;
        if (1..1024).contains(&self.bytes_per_second) {
            return Err("bytes_per_second must be 0 or at least 1024".to_owned());
        }
        let endpoint = reqwest::Url::parse(&self.huggingface_endpoint).ok();
        if endpoint.is_none_or(|url| !matches!(url.scheme(), "http" | "https") || !url.has_host()) {
            return Err("huggingface_endpoint must be a http or https URL".to_owned());
        }
        if !self.proxy.is_empty() && reqwest::Proxy::all(&self.proxy).is_err() {
            return Err("proxy must be a URL such as http://proxy:3128".to_owned());
        }
        if self.registry_credentials.iter().any(|credential| !credential.is_whole()) {
            return Err("registry_credentials must be written HOST=USER:PASSWORD".to_owned());
        }
        if self.registry_credentials.len() > MAX_ENTRIES {
            return Err(format!("registry_credentials has at most {MAX_ENTRIES} entries"));
        }
        if [&self.registries, &self.push_registries, &self.plain_http, &self.private_hosts]
            .iter()
            .any(|list| list.len() > MAX_ENTRIES)
        {
            return Err(format!("lists have at most {MAX_ENTRIES} entries"));
        }
        Ok(())
    }

    /// Whether models may come from this host, as it stands in a model's name.
    pub(crate) fn allows(&self, registry: &str) -> bool {
        contains(&self.registries, registry)
    }

    /// Whether models may go to this host.
    pub(crate) fn allows_push(&self, registry: &str) -> bool {
        contains(&self.push_registries, registry)
    }

    /// The account at this host, if one is set.
    pub(crate) fn account_at(&self, registry: &str) -> Option<Credential> {
        let is_it = |credential: &&Credential| credential.host().eq_ignore_ascii_case(registry);
        self.registry_credentials.iter().find(is_it).cloned()
    }

    /// Whether this host is spoken to without TLS.
    pub(crate) fn is_plain(&self, registry: &str) -> bool {
        contains(&self.plain_http, registry)
    }
}

/// Most connections for one file. What is fetched again after a crash is a piece for each of
/// them: 12 × 4 MiB = 48 MiB.
const MAX_CONNECTIONS: u32 = 12;

fn contains(list: &[String], host: &str) -> bool {
    list.iter().any(|entry| entry.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_wrong_values_are_named() {
        assert_eq!(HubConfig::default().validate(), Ok(()));
        let refused = |config: HubConfig, name: &str| {
            assert!(config.validate().unwrap_err().starts_with(name), "{name}");
        };
        refused(HubConfig { connections: 13, ..Default::default() }, "connections");
        refused(HubConfig { bytes_per_second: 1, ..Default::default() }, "bytes_per_second");
        for wrong in ["s3cret", "host=s3cret", "=me:s3cret", "host=me:"] {
            let registry_credentials = vec![Credential(wrong.to_owned())];
            let config = HubConfig { registry_credentials, ..Default::default() };
            assert!(!config.validate().unwrap_err().contains("s3cret"));
        }
        let huggingface_endpoint = "file:///etc".to_owned();
        refused(HubConfig { huggingface_endpoint, ..Default::default() }, "huggingface_endpoint");
    }

    #[test]
    fn a_token_is_never_printed() {
        let huggingface_token = Token("hf_secret".to_owned());
        let account = Credential("registry.example:5000=me:s3cret".to_owned());
        assert_eq!((account.host(), account.user()), ("registry.example:5000", "me"));
        let registry_credentials = vec![account];
        let config = HubConfig { huggingface_token, registry_credentials, ..Default::default() };
        assert_eq!(config.validate(), Ok(()));
        let printed = format!("{config:?}{}", serde_json::to_string(&config).unwrap());
        for secret in ["hf_secret", "s3cret", "me:"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
