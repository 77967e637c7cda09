//! Which hosts may be reached: every hop of a request is checked before it is taken, and what was
//! checked is what is connected to.

use std::net::IpAddr;
use std::sync::Arc;

use hearth_reach::{IsPrivate, Reach, Resolver};
use reqwest::Url;

use super::PullError;
use super::http::{Failure, bad_answer, host_of};
use crate::config::HubConfig;

/// Which hosts may be reached, and which of them without TLS.
pub(super) struct Guard {
    reach: Arc<Reach>,
    plain: Vec<String>,
}

impl Guard {
    pub(super) fn new(config: &HubConfig) -> Guard {
        let mut names = config.private_hosts.clone();
        // The proxy decides for itself whom it reaches; where it is was the admin's choice.
        let proxy = Url::parse(&config.proxy).ok();
        names.extend(proxy.and_then(|url| url.host_str().map(str::to_owned)));
        Guard { reach: Arc::new(Reach::new(&names)), plain: config.plain_http.clone() }
    }

    /// Checks names by what they lead to, at every connection.
    pub(super) fn resolver(&self) -> Arc<Resolver> {
        Arc::new(Resolver(Arc::clone(&self.reach)))
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
        if literal.is_some_and(|address| !self.reach.admits(&address.to_string(), address)) {
            return Err(Failure::Final(PullError::PrivateAddress { host }));
        }
        Ok(())
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
