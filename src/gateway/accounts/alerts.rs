//! Tells whoever should know that something unusual has happened.

use std::net::IpAddr;

use hearth_store::User;

use super::Accounts;

impl Accounts {
    /// Somebody signed in from a network that is new for them.
    #[expect(clippy::unused_async, reason = "it will send")]
    pub(super) async fn alert_new_network(&self, user: &User, _address: IpAddr) {
        tracing::warn!(user.id = user.id.0, "a user signed in from a network that is new for them");
    }
}
