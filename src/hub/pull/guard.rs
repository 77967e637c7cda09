//! Which hosts may be reached: every hop of a request is checked before it is taken, and what was
//! checked is what is connected to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::PullError;
use super::address::is_public;
use super::http::{Failure, bad_answer, host_of};
use crate::config::{HubConfig, parse_network};

/// Which hosts may be reached.
pub(super) struct Guard {
    names: Vec<String>,
    networks: Vec<IpNet>,
    plain: Vec<String>,
}

/// Passes on the addresses that the guard admits, so that what was checked is what is connected to.
pub(super) struct Resolver(pub(super) Arc<Guard>);

/// A name that leads to private addresses only.
#[derive(Debug, thiserror::Error)]
#[error("a private address")]
pub(super) struct IsPrivate;

impl Guard {
    pub(super) fn new(config: &HubConfig) -> Guard {
        let mut names = config.private_hosts.clone();
        // The proxy decides for itself whom it reaches; where it is was the admin's choice.
        let proxy = Url::parse(&config.proxy).ok();
        names.extend(proxy.and_then(|url| url.host_str().map(str::to_owned)));
        Guard {
            networks: names.iter().filter_map(|text| parse_network(text)).collect(),
            names,
            plain: config.plain_http.clone(),
        }
    }

    /// Refuses schemes and literal addresses; names are checked by what they resolve to.
    pub(super) fn check(&self, url: &Url) -> Result<(), Failure> {
        let host = host_of(url);
        let is_plain = self.plain.iter().any(|plain| plain.eq_ignore_ascii_case(&host));
        if !(url.scheme() == "https" || (url.scheme() == "http" && is_plain)) {
            return Err(bad_answer(url, &format!("insecure protocol {}", url.scheme())));
        }
        let literal = url.host_str().and_then(|host| {
            host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok()
        });
        if literal.is_some_and(|address| !self.admits(&address.to_string(), address)) {
            return Err(Failure::Final(PullError::PrivateAddress { host }));
        }
        Ok(())
    }

    fn admits(&self, name: &str, address: IpAddr) -> bool {
        is_public(address)
            || self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
            || self.networks.iter().any(|network| network.contains(&address))
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let admitted: Vec<SocketAddr> =
                found.filter(|address| guard.admits(name.as_str(), address.ip())).collect();
            if admitted.is_empty() {
                return Err(Box::from(IsPrivate));
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// Whether a request was refused because of where it would have gone.
pub(super) fn is_private(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<IsPrivate>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_and_literal_addresses_are_checked_before_any_connection() {
        let guard = Guard::new(&HubConfig {
            plain_http: vec!["10.0.0.9:5000".to_owned(), "plain.example".to_owned()],
            private_hosts: vec!["10.0.0.9".to_owned(), "192.168.0.0/16".to_owned()],
            ..HubConfig::default()
        });
        let check = |url: &str| {
            guard.check(&Url::parse(url).unwrap()).map_err(|failure| failure.into_error(1))
        };
        for good in [
            "https://example.com/a",
            "http://10.0.0.9:5000/v2",
            "https://192.168.3.4/",
            "http://plain.example/",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for private in ["https://169.254.169.254/latest", "https://[::1]/", "https://2130706433/"] {
            assert!(matches!(check(private), Err(PullError::PrivateAddress { .. })), "{private}");
        }
        for plain in ["http://example.com/", "http://10.0.0.9/", "ftp://example.com/", "file:///x"]
        {
            assert!(matches!(check(plain), Err(PullError::BadAnswer { .. })), "{plain}");
        }
    }
}
