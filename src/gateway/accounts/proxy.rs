//! Sign-in by a proxy in front of us that has checked who somebody is.
//!
//! The server tells only what came through a proxy that is named in its settings; a header that
//! anybody else sends is not even looked at.

use hearth_store::Identity;

use super::external::{Trust, Vouched};
use super::{Accounts, SignedIn, Visit};
use crate::error::{Error, Result};

impl Accounts {
    /// The header in which the proxy names people, if there is such a proxy.
    pub fn proxy_header(&self) -> Option<&str> {
        let name = self.inner.config.proxy_user_header.as_str();
        (!name.is_empty()).then_some(name)
    }

    /// Signs in whom the proxy names.
    pub async fn sign_in_by_proxy(&self, user: Option<&str>, visit: Visit) -> Result<SignedIn> {
        if self.proxy_header().is_none() {
            return Err(Error::NotOffered("No proxy signs people in here.".to_owned()));
        }
        let name = user.filter(|name| !name.trim().is_empty()).ok_or(Error::WrongCredentials)?;
        let who = Vouched {
            identity: Identity { provider: "proxy".to_owned(), subject: name.to_lowercase() },
            name: name.to_owned(),
            email: None,
            groups: None,
        };
        let trust = Trust { creates_users: true, admin_groups: &[], allowed_groups: &[] };
        let user = self.vouched_user(who, &trust).await?;
        self.start_session(user, "proxy", visit).await
    }
}
