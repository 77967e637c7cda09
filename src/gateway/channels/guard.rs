//! Which hosts a channel may reach: its address is checked when it is saved, and what its name
//! leads to is checked at every connection, so that what was checked is what is connected to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::is_public;

/// Which hosts may be reached.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// Hosts that may have private addresses.
    names: Vec<String>,
    networks: Vec<IpNet>,
}

/// A name that leads to private addresses only.
#[derive(Debug, thiserror::Error)]
#[error("its address is private; name the host in `allow_private` if it may be reached")]
pub(crate) struct IsPrivate;

impl Guard {
    /// The open internet, and these hosts and networks.
    pub(crate) fn new(allow_private: &[String]) -> Guard {
        let network = |text: &String| -> Option<IpNet> {
            text.parse().ok().or_else(|| text.parse::<IpAddr>().map(IpNet::from).ok())
        };
        Guard {
            names: allow_private.to_vec(),
            networks: allow_private.iter().filter_map(network).collect(),
        }
    }

    /// Refuses other schemes, unencrypted connections to the open internet, which would show the
    /// key to everybody on the way, and literal private addresses. Names are checked again by what
    /// they lead to.
    pub(crate) fn check(&self, url: &Url) -> Result<(), String> {
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err("must name a host".to_owned());
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_named = self.is_named(host);
        // The parser has turned decimal, octal and short forms into the plain one.
        if let Ok(address) = host.parse::<IpAddr>() {
            if !self.admits(host, address) {
                return Err(format!(
                    "leads to the private address {address}; add it to `allow_private` if it may \
                     be reached"
                ));
            }
        } else if is_local_name(host) && !is_named {
            return Err(format!(
                "leads to this machine; add `{host}` to `allow_private` if it may be reached"
            ));
        }
        let may_be_plain =
            is_named || host.parse().is_ok_and(|address: IpAddr| !is_public(address));
        match url.scheme() {
            "https" => Ok(()),
            "http" if may_be_plain => Ok(()),
            "http" => Err(format!(
                "must be https, for the key would be readable on the way; add `{host}` to \
                 `allow_private` if it is in your own network"
            )),
            _ => Err("must begin with https://".to_owned()),
        }
    }

    fn is_named(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    fn admits(&self, host: &str, address: IpAddr) -> bool {
        is_public(address)
            || self.is_named(host)
            || self.networks.iter().any(|network| network.contains(&address))
    }
}

fn is_local_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::new(self.clone());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(guard.admitted(name.as_str(), found)?.into_iter()) as Addrs)
        })
    }
}

impl Guard {
    /// Of what a name leads to, what may be connected to.
    fn admitted(
        &self,
        name: &str,
        found: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, IsPrivate> {
        let admitted: Vec<SocketAddr> =
            found.filter(|address| self.admits(name, address.ip())).collect();
        if admitted.is_empty() { Err(IsPrivate) } else { Ok(admitted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 443)).collect()
    }

    #[test]
    fn a_name_that_comes_to_lead_inside_is_cut_down_to_what_is_outside() {
        let guard = Guard::new(&[]);
        let mixed = addresses(&["169.254.169.254", "1.1.1.1", "::1", "64:ff9b::7f00:1"]);
        let admitted = guard.admitted("rebind.example", mixed.into_iter()).unwrap();
        assert_eq!(admitted, addresses(&["1.1.1.1"]));
        let inside = addresses(&["127.0.0.1", "10.0.0.1"]);
        assert!(guard.admitted("rebind.example", inside.into_iter()).is_err());
    }

    #[test]
    fn a_host_or_a_network_that_is_named_may_be_reached() {
        let guard = Guard::new(&["vllm.lan".to_owned(), "10.0.0.0/8".to_owned()]);
        for (name, address, expected) in [
            ("vllm.lan", "192.168.0.9", true),
            ("VLLM.LAN", "192.168.0.9", true),
            ("other.lan", "192.168.0.9", false),
            ("other.lan", "10.2.3.4", true),
        ] {
            let admitted = guard.admitted(name, addresses(&[address]).into_iter());
            assert_eq!(admitted.is_ok(), expected, "{name} {address}");
        }
    }
}
