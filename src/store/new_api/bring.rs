//! Writes what comes from the old database, for whoever holds the transaction.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, named_params};

use super::{Brought, BroughtCounts, BroughtToken, BroughtUser, MadeGroup};
use crate::api_tokens::{self, ApiTokenChange, ApiTokenId, NewApiToken};
use crate::error::Result;
use crate::groups;
use crate::ledger::{Grant, Holder, Settled, grant, settle};
use crate::money::MicroDollars;
use crate::usage::{Outcome, UsageRow};
use crate::users::{self, NewUser, UserChange, UserId};

/// Why wallets have what they have.
const REFERENCE: &str = "import from New API";

pub(super) fn bring(connection: &Connection, all: &Brought, now: i64) -> Result<BroughtCounts> {
    let mut counts = BroughtCounts::default();
    let mut people: HashMap<i64, UserId> = HashMap::new();
    let mut grants: Vec<(Holder, MicroDollars)> = Vec::new();
    for user in &all.users {
        let (id, has_new_group) = bring_user(connection, user, now)?;
        grants.push((Holder::User(id), user.remaining));
        people.insert(user.old_id, id);
        counts.users += 1;
        counts.groups += u64::from(has_new_group);
    }
    let mut tokens: HashMap<i64, ApiTokenId> = HashMap::new();
    for token in &all.tokens {
        let Some(owner) = people.get(&token.old.user_id) else { continue };
        let id = bring_token(connection, token, *owner)?;
        tokens.insert(token.old.id, id);
        grants.extend(token.old.remaining.map(|remaining| (Holder::Token(id), remaining)));
        counts.tokens += 1;
    }
    for (model, price) in &all.prices {
        let added = connection
            .prepare_cached(
                "INSERT INTO prices (model, input_micros_per_million, cached_micros_per_million,
                                     output_micros_per_million, call_micros)
                 VALUES (:model, :input, :cached, :output, :call) ON CONFLICT DO NOTHING",
            )?
            .execute(named_params! {
                ":model": model,
                ":input": price.input_micros_per_million,
                ":cached": price.cached_micros_per_million,
                ":output": price.output_micros_per_million,
                ":call": price.call_micros,
            })?;
        counts.prices += added as u64;
    }
    for old in &all.usage {
        let Some(user) = people.get(&old.user_id) else { continue };
        let row = UsageRow {
            // The same row brought in twice is known by its name.
            request_id: format!("new-api-{}", old.id),
            user_id: Some(*user),
            token_id: tokens.get(&old.token_id).copied(),
            model: old.model.clone(),
            prompt_tokens: old.prompt_tokens,
            completion_tokens: old.completion_tokens,
            total_ms: old.total_ms,
            cost: old.cost,
            outcome: Outcome::Complete,
            created_at: old.created_at,
            ..UsageRow::default()
        };
        let settled = settle(connection, &row)?;
        counts.usage += u64::from(matches!(settled, Settled::Now { .. }));
    }
    // Only now: what was used there was paid there, and must not be taken from what is left.
    for (holder, remaining) in grants {
        grant(connection, holder, Grant::Set(remaining), REFERENCE, now)?;
    }
    Ok(counts)
}

/// Says also whether their group was not here before.
fn bring_user(connection: &Connection, user: &BroughtUser, now: i64) -> Result<(UserId, bool)> {
    let new = NewUser {
        name: user.name.clone(),
        password: user.password.clone(),
        role: user.role,
        created_at: now,
    };
    let id = users::insert_bounded(connection, &new)?.id;
    let group = user.group.as_deref().map(|name| group(connection, name, now)).transpose()?;
    let more = UserChange {
        disabled: Some(user.disabled),
        email: Some(user.email.clone()),
        group_id: group.as_ref().map(|group| Some(group.id)),
        ..UserChange::default()
    };
    users::apply(connection, id, &more)?;
    Ok((id, group.is_some_and(|group| group.is_new)))
}

fn group(connection: &Connection, name: &str, now: i64) -> Result<MadeGroup> {
    let known = connection
        .prepare_cached("SELECT id FROM groups WHERE name_key = ?1")?
        .query_row([name.to_lowercase()], |row| row.get(0))
        .optional()?;
    match known {
        Some(id) => Ok(MadeGroup { id, is_new: false }),
        None => {
            let id = groups::insert(connection, name, now)?.id;
            Ok(MadeGroup { id, is_new: true })
        }
    }
}

fn bring_token(connection: &Connection, token: &BroughtToken, owner: UserId) -> Result<ApiTokenId> {
    let new = NewApiToken {
        user_id: owner,
        name: token.name.clone(),
        prefix: token.prefix.clone(),
        hash: token.hash,
        created_at: token.old.created_at,
        expires_at: token.old.expires_at,
        models: token.old.models.clone(),
        allow_ips: token.allow_ips.clone(),
    };
    let id = api_tokens::insert(connection, &new)?.id;
    let more = ApiTokenChange { disabled: Some(token.old.disabled), ..ApiTokenChange::default() };
    api_tokens::apply(connection, id, None, &more)?;
    Ok(id)
}
