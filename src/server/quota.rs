//! Prices, wallets, budgets and rate limits: what admins set, and what callers may still spend.

pub(crate) mod budgets;
pub(crate) mod limits;
pub(crate) mod prices;
pub(crate) mod wallets;

use std::collections::HashMap;

use hearth_store::{Budget, Holder, Wallet};
use serde::Serialize;
use serde_json::{Value, json};

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

/// What belongs to a holder, with the holder's name where there is one still.
fn with_name<T: Serialize>(thing: &T, holder: Holder, names: &HashMap<Holder, String>) -> Value {
    let mut shown = json!(thing);
    shown["holder"]["name"] = json!(names.get(&holder));
    shown
}

/// Budgets, each with the name of its holder.
async fn named_budgets(state: &AppState, budgets: &[Budget]) -> Result<Vec<Value>> {
    let holders = budgets.iter().map(|budget| budget.holder).collect();
    let names = state.store().holders().names(holders).await?;
    Ok(budgets.iter().map(|budget| with_name(budget, budget.holder, &names)).collect())
}

/// Wallets, each with the name of its holder.
async fn named_wallets(state: &AppState, wallets: &[Wallet]) -> Result<Vec<Value>> {
    let holders = wallets.iter().map(|wallet| wallet.holder).collect();
    let names = state.store().holders().names(holders).await?;
    Ok(wallets.iter().map(|wallet| with_name(wallet, wallet.holder, &names)).collect())
}
