//! Which names this server answers to.
//!
//! A page at evil.example whose name is re-pointed to this machine (DNS rebinding) is, for the
//! browser, of one origin with us; but its requests carry `Host: evil.example`. An IP address
//! in `Host` is safe whichever it is: then the page's own origin is that address, and no name was
//! looked up that could have been re-pointed.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

/// The authority that the client asked for: HTTP/2's own, else the `Host` header.
pub(crate) fn authority(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let written = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.to_str().ok()?.parse().ok()?),
        (None, _) => None,
        // Two hosts are two opinions.
        (Some(_), Some(_)) => return None,
    };
    uri.authority().cloned().or(written)
}

/// Whether this host is answered. `named`: the names in the configuration.
pub(crate) fn is_ours(authority: &Authority, named: &[String]) -> bool {
    let host = authority.host();
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || bare.parse::<Ipv4Addr>().is_ok()
        || bare.parse::<Ipv6Addr>().is_ok()
        || named.iter().any(|name| name.eq_ignore_ascii_case(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_configured_are_refused() {
        let named = ["hearth.lan".to_owned()];
        let ours = |host: &str| is_ours(&host.parse().unwrap(), &named);
        for host in ["localhost:3000", "127.0.0.1", "[::1]:80", "10.1.2.3:3000", "Hearth.LAN:1"] {
            assert!(ours(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "1.2.3"] {
            assert!(!ours(host), "{host}");
        }
    }
}
