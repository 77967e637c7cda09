//! The list of one's sessions, and their end.

use hearth_store::{SessionRow, UserId};
use serde_json::json;

use super::Accounts;
use crate::caller::{Caller, Via};
use crate::error::{Error, Result};

/// Digits that name a session.
const ID_DIGITS: usize = 16;

impl Accounts {
    /// The caller's sessions, and the id of the one that they came with.
    pub async fn list_sessions(
        &self,
        caller: &Caller,
    ) -> Result<(Vec<SessionRow>, Option<String>)> {
        let rows = self.inner.store.sessions().list_of(caller.owner()?).await?;
        let current = match caller.via {
            Via::Session(hash) => Some(hash.id()),
            Via::ApiToken { .. } | Via::Operator => None,
        };
        Ok((rows, current))
    }

    /// Ends one session of the caller.
    pub async fn end_session(&self, caller: &Caller, id: &str) -> Result<()> {
        caller.require_unrestricted()?;
        let owner = caller.owner()?;
        if id.len() != ID_DIGITS || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Error::NotFound);
        }
        let target = format!("session {id} of {}", caller.name);
        let store = self.acting(caller, "session.end", target, json!({}));
        store.sessions().end_of(owner, id.to_ascii_lowercase()).await?;
        self.inner.revocations.ring();
        Ok(())
    }

    /// Ends all sessions of the caller but the one that they came with; says how many.
    pub async fn end_other_sessions(&self, caller: &Caller) -> Result<usize> {
        caller.require_unrestricted()?;
        let keep = match caller.via {
            Via::Session(hash) => Some(hash),
            Via::ApiToken { .. } | Via::Operator => None,
        };
        let target = format!("sessions of {}", caller.name);
        let store = self.acting(caller, "session.end_others", target, json!({}));
        let ended = store.sessions().end_all_of(caller.owner()?, keep).await?;
        self.inner.revocations.ring();
        Ok(ended)
    }

    /// Ends all sessions of a user; for admins.
    pub async fn end_sessions_of(&self, caller: &Caller, id: UserId) -> Result<usize> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        let user = self.inner.store.users().by_id(id).await?.ok_or(Error::NotFound)?;
        caller.require_rank(user.role)?;
        let target = format!("sessions of {}", user.name);
        let store = self.acting(caller, "users.end_sessions", target, json!({}));
        let ended = store.sessions().end_all_of(id, None).await?;
        self.inner.revocations.ring();
        Ok(ended)
    }
}
