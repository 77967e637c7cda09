//! Limits of the HTTP side.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Most entries of a list in the configuration.
const MAX_ENTRIES: usize = 64;

/// How requests are taken and how long they may last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Names in `Host` that are answered, besides `localhost` and IP addresses. A page of
    /// another name that points here (DNS rebinding) is refused.
    pub hosts: Vec<String>,
    /// Addresses or networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// Whether browsers reach Hearth over HTTPS (behind a TLS proxy): the session cookie is then
    /// never sent without it.
    pub secure_cookies: bool,
    /// Whether `/metrics` needs no credential.
    pub public_metrics: bool,
    /// Largest request body, in bytes.
    pub max_body_bytes: u32,
    /// Largest request head, in bytes.
    pub max_header_bytes: u32,
    /// Seconds for a request's head to arrive; an idle connection is closed after as long.
    pub header_timeout_s: u32,
    /// Seconds for a request's body to arrive.
    pub body_timeout_s: u32,
    /// Open connections, in all.
    pub max_connections: u32,
    /// Open connections of one address.
    pub max_connections_per_address: u32,
    /// Requests that wait for their answer to begin, in all.
    pub max_requests: u32,
    /// Seconds that running requests may take to end after SIGTERM.
    pub drain_s: u32,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            secure_cookies: false,
            public_metrics: false,
            max_body_bytes: 32 << 20,
            max_header_bytes: 64 << 10,
            header_timeout_s: 10,
            body_timeout_s: 60,
            max_connections: 4096,
            max_connections_per_address: 1024,
            max_requests: 1024,
            drain_s: 30,
        }
    }
}

impl ServerConfig {
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), String> {
        let within = |key: &str, value: u32, least: u32, most: u32| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(format!("{key} is {value}, must be {least} to {most}"))
        };
        within("max_body_bytes", self.max_body_bytes, 1 << 10, 1 << 30)?;
        // hyper takes no less than 8 KiB.
        within("max_header_bytes", self.max_header_bytes, 8 << 10, 1 << 20)?;
        within("header_timeout_s", self.header_timeout_s, 1, 600)?;
        within("body_timeout_s", self.body_timeout_s, 1, 3600)?;
        within("max_connections", self.max_connections, 1, 1_000_000)?;
        within("max_connections_per_address", self.max_connections_per_address, 1, 1_000_000)?;
        within("max_requests", self.max_requests, 1, 1_000_000)?;
        within("drain_s", self.drain_s, 0, 3600)?;
        if self.hosts.len() > MAX_ENTRIES || self.trusted_proxies.len() > MAX_ENTRIES {
            return Err(format!("hosts and trusted_proxies have at most {MAX_ENTRIES} entries"));
        }
        match self.trusted_proxies.iter().find(|text| parse_network(text).is_none()) {
            Some(text) => Err(format!("trusted_proxies: `{text}` is no address or network")),
            None => Ok(()),
        }
    }

    /// The networks of trusted proxies; [`ServerConfig::validate`] has refused others.
    pub(crate) fn proxies(&self) -> Vec<IpNet> {
        self.trusted_proxies.iter().filter_map(|text| parse_network(text)).collect()
    }
}

fn parse_network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().map(IpNet::from).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_wrong_values_are_named() {
        assert_eq!(ServerConfig::default().validate(), Ok(()));
        let refused = |config: ServerConfig, name: &str| {
            assert!(config.validate().unwrap_err().starts_with(name), "{name}");
        };
        refused(ServerConfig { header_timeout_s: 0, ..Default::default() }, "header_timeout_s");
        refused(ServerConfig { max_body_bytes: 1, ..Default::default() }, "max_body_bytes");
        let trusted_proxies = vec!["10.0.0.0/8".to_owned(), "proxy".to_owned()];
        refused(ServerConfig { trusted_proxies, ..Default::default() }, "trusted_proxies");
    }
}
