//! Under which name browsers reach us: passkeys are bound to it.

use webauthn_rp::request::{AsciiDomain, RpId};

use super::Accounts;
use crate::error::{Error, Result};

/// A name of this server, and the origins that its pages may have.
#[derive(Clone, Debug)]
pub struct Site {
    pub(super) rp_id: RpId,
    pub(super) origins: Vec<String>,
}

impl Site {
    /// The site whose pages are at this host, with its port if there is one. Browsers give
    /// passkeys to HTTPS alone, and to this machine itself.
    fn of_host(authority: &str) -> Result<Site> {
        let authority = authority.to_ascii_lowercase();
        let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host);
        let is_local = host == "localhost" || host.ends_with(".localhost");
        let mut origins = vec![format!("https://{authority}")];
        if is_local {
            origins.push(format!("http://{authority}"));
        }
        Ok(Site { rp_id: rp_id(host)?, origins })
    }

    /// The site at an address as browsers write it.
    pub(super) fn of_url(url: &str) -> Result<Site> {
        let origin = url.trim_end_matches('/').to_ascii_lowercase();
        let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let rp_id = rp_id(host)?;
        Ok(Site { rp_id, origins: vec![origin] })
    }

    pub(super) fn name(&self) -> &str {
        self.rp_id.as_ref()
    }
}

/// A name; addresses have no passkeys.
fn rp_id(host: &str) -> Result<RpId> {
    let is_address = host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok();
    let domain = AsciiDomain::try_from(host.to_owned()).ok().filter(|_| !is_address);
    domain.map(RpId::Domain).ok_or_else(|| {
        Error::NotOffered(
            "Passkeys belong to a name: open Hearth by its name instead of an address.".to_owned(),
        )
    })
}

impl Accounts {
    /// The site that a request asked for: the one of the settings, else the host that it named,
    /// which is one of ours.
    pub fn site(&self, host: &str) -> Result<Site> {
        match self.inner.config.public_url.as_str() {
            "" => Site::of_host(host),
            url => Site::of_url(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_a_name_with_its_port_and_only_this_machine_goes_without_tls() {
        let site = Site::of_host("LLM.example.com:8443").unwrap();
        assert_eq!(site.name(), "llm.example.com");
        assert_eq!(site.origins, ["https://llm.example.com:8443"]);
        let site = Site::of_host("localhost:3000").unwrap();
        assert_eq!(site.origins, ["https://localhost:3000", "http://localhost:3000"]);
        for address in ["127.0.0.1:3000", "[::1]:3000", "10.0.0.1", ""] {
            assert!(Site::of_host(address).is_err(), "{address}");
        }
        let site = Site::of_url("https://llm.example.com/").unwrap();
        assert_eq!(site.name(), "llm.example.com");
        assert_eq!(site.origins, ["https://llm.example.com"]);
    }
}
