//! Prices, wallets, budgets and rate limits: what admins set, and what callers may still spend.

pub(crate) mod budgets;
pub(crate) mod limits;
pub(crate) mod prices;
pub(crate) mod wallets;

use hearth_store::Holder;

use crate::error::{Failure, Result};
use crate::state::AppState;

/// The holder that a path names: by number, users and groups also by name.
async fn holder(state: &AppState, kind: &str, text: &str) -> Result<Holder> {
    let wrong = || Failure::invalid("A holder is a user, token or group, and a name or number.");
    if let Ok(id) = text.parse::<i64>() {
        return Holder::of(kind, id).ok_or_else(wrong);
    }
    let nobody = || Failure::from(hearth_gateway::Error::NotFound);
    match kind {
        "user" => {
            let found = state.store().users().by_name(text).await?;
            found.map(|user| Holder::User(user.id)).ok_or_else(nobody)
        }
        "group" => {
            let found = state.store().groups().by_name(text).await?;
            found.map(|group| Holder::Group(group.id)).ok_or_else(nobody)
        }
        "token" => Err(nobody()),
        _ => Err(wrong()),
    }
}
