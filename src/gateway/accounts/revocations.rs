//! Tells open answers that their caller's credential is no longer good.
//!
//! Whatever takes a credential away rings; whoever holds an answer open looks again then. All
//! changes come through this process, so nothing needs to be asked again and again.

use tokio::sync::watch;

use super::Accounts;
use super::sign_in::is_alive;
use crate::caller::{Caller, Via};
use crate::error::Result;

/// Rings when a credential may have been taken away.
pub(super) struct Revocations(watch::Sender<u64>);

/// Waits until one caller's credential is taken away.
pub struct Watch {
    accounts: Accounts,
    caller: Caller,
    bell: watch::Receiver<u64>,
}

impl Revocations {
    pub(super) fn new() -> Revocations {
        Revocations(watch::Sender::new(0))
    }

    pub(super) fn ring(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Accounts {
    /// To be awaited beside an answer of this caller.
    pub fn watch(&self, caller: &Caller) -> Watch {
        let bell = self.inner.revocations.0.subscribe();
        Watch { accounts: self.clone(), caller: caller.clone(), bell }
    }

    /// Whether the credential that the caller came with is still good.
    async fn is_good(&self, caller: &Caller) -> Result<bool> {
        let store = &self.inner.store;
        match caller.via {
            Via::Operator => Ok(true),
            Via::Session(hash) => {
                let session = store.sessions().find(hash).await?;
                Ok(session.is_some_and(|session| !session.user.disabled))
            }
            Via::ApiToken { id, .. } => {
                let now = self.inner.clock.now();
                let found = store.api_tokens().by_id(id).await?;
                Ok(found.is_some_and(|(token, user)| is_alive(&token, &user, now)))
            }
        }
    }
}

impl Watch {
    /// Returns when the credential is no longer good; never while it is.
    pub async fn revoked(&mut self) {
        loop {
            if self.bell.changed().await.is_err() {
                // The accounts are gone, and the process with them.
                return std::future::pending().await;
            }
            match self.accounts.is_good(&self.caller).await {
                Ok(true) => {}
                Ok(false) => return,
                // Whoever cannot be looked up is not cut off for it; the next ring asks again.
                Err(error) => tracing::warn!(%error, "cannot see whether a credential is good"),
            }
        }
    }
}
