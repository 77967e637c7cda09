//! Says which hosts a connection to elsewhere may reach.
//!
//! Pulls of models and channels go to hosts that people name. Each has rules of its own about
//! schemes; which addresses are private, and that a name is checked by what it leads to at every
//! connection, is the same for both and stands here.

mod address;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

pub use address::is_public;

/// The open internet, and what an admin has named besides.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Hosts that may have private addresses.
    names: Vec<String>,
    networks: Vec<IpNet>,
}

/// Passes on the addresses that may be reached, so that what was checked is what is connected to.
#[derive(Clone, Debug)]
pub struct Resolver(pub Arc<Reach>);

/// A name that leads to private addresses only.
#[derive(Debug, thiserror::Error)]
#[error("a private address")]
pub struct IsPrivate;

/// A network, or one address.
pub fn parse_network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().map(IpNet::from).ok())
}

impl Reach {
    /// The open internet, and these hosts, addresses and networks.
    pub fn new(private: &[String]) -> Reach {
        Reach {
            names: private.to_vec(),
            networks: private.iter().filter_map(|text| parse_network(text)).collect(),
        }
    }

    /// Whether this host was named.
    pub fn names(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    /// Whether this address of a host may be connected to.
    pub fn admits(&self, host: &str, address: IpAddr) -> bool {
        is_public(address)
            || self.names(host)
            || self.networks.iter().any(|network| network.contains(&address))
    }

    /// Of what a name leads to, what may be connected to.
    pub fn admitted(
        &self,
        name: &str,
        found: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, IsPrivate> {
        let admitted: Vec<SocketAddr> =
            found.filter(|address| self.admits(name, address.ip())).collect();
        if admitted.is_empty() { Err(IsPrivate) } else { Ok(admitted) }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(reach.admitted(name.as_str(), found)?.into_iter()) as Addrs)
        })
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
        let reach = Reach::new(&[]);
        let mixed = addresses(&["169.254.169.254", "1.1.1.1", "::1", "64:ff9b::7f00:1"]);
        let admitted = reach.admitted("rebind.example", mixed.into_iter()).unwrap();
        assert_eq!(admitted, addresses(&["1.1.1.1"]));
        let inside = addresses(&["127.0.0.1", "10.0.0.1"]);
        assert!(reach.admitted("rebind.example", inside.into_iter()).is_err());
    }

    #[test]
    fn a_host_or_a_network_that_is_named_may_be_reached() {
        let reach = Reach::new(&["vllm.lan".to_owned(), "10.0.0.0/8".to_owned()]);
        for (name, address, expected) in [
            ("vllm.lan", "192.168.0.9", true),
            ("VLLM.LAN", "192.168.0.9", true),
            ("other.lan", "192.168.0.9", false),
            ("other.lan", "10.2.3.4", true),
        ] {
            let admitted = reach.admitted(name, addresses(&[address]).into_iter());
            assert_eq!(admitted.is_ok(), expected, "{name} {address}");
        }
    }
}
