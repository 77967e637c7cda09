//! Which hosts a channel may reach: its address is checked when it is saved, and what its name
//! leads to is checked at every connection, so that what was checked is what is connected to.

use std::net::IpAddr;
use std::sync::Arc;

use hearth_reach::{Reach, Resolver, is_public};
use reqwest::Url;

/// Whom a channel may reach.
#[derive(Clone, Debug)]
pub(crate) struct Guard(Arc<Reach>);

/// What is said of a name that leads to private addresses only.
pub(crate) const IS_PRIVATE: &str =
    "its address is private; name the host in `allow_private` if it may be reached";

impl Guard {
    /// The open internet, and these hosts and networks.
    pub(crate) fn new(allow_private: &[String]) -> Guard {
        Guard(Arc::new(Reach::new(allow_private)))
    }

    /// Checks names by what they lead to, at every connection.
    pub(crate) fn resolver(&self) -> Arc<Resolver> {
        Arc::new(Resolver(Arc::clone(&self.0)))
    }

    /// Refuses other schemes, unencrypted connections to the open internet, which would show the
    /// key to everybody on the way, and literal private addresses. Names are checked again by what
    /// they lead to.
    pub(crate) fn check(&self, url: &Url) -> Result<(), String> {
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err("must name a host".to_owned());
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_named = self.0.names(host);
        // The parser has turned decimal, octal and short forms into the plain one.
        if let Ok(address) = host.parse::<IpAddr>() {
            if !self.0.admits(host, address) {
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
}

fn is_local_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}
