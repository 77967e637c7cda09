//! Groups of people: which models they may use and how much they may ask for.

use hearth_store::{Group, GroupChange, GroupId, Limits};
use serde_json::json;

use super::{Accounts, api_tokens, names};
use crate::caller::Caller;
use crate::error::{Error, Result};

/// What an admin wants of a group; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct GroupWishes {
    /// 1 to 64 characters.
    pub name: Option<String>,
    /// Models that its people may use, or `Some(None)` for all.
    pub models: Option<Option<Vec<String>>>,
    /// All three limits.
    pub limits: Option<Limits>,
}

impl Accounts {
    /// All groups, by name; for admins.
    pub async fn list_groups(&self, caller: &Caller) -> Result<Vec<Group>> {
        caller.require_admin()?;
        Ok(self.inner.store.groups().list().await?)
    }

    /// Makes a group; for admins.
    pub async fn create_group(&self, caller: &Caller, wishes: GroupWishes) -> Result<Group> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        let name = names::parse(wishes.name.as_deref().unwrap_or_default())?;
        let change = parse(GroupWishes { name: None, ..wishes })?;
        let now = self.inner.clock.now();
        let target = format!("group {name}");
        let store = self.acting(caller, "groups.create", target, detail(&change));
        Ok(store.groups().create_with(name, change, now).await?)
    }

    /// Changes a group; for admins.
    pub async fn update_group(
        &self,
        caller: &Caller,
        id: GroupId,
        wishes: GroupWishes,
    ) -> Result<Group> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        let change = parse(wishes)?;
        let group = self.inner.store.groups().by_id(id).await?.ok_or(Error::NotFound)?;
        let target = format!("group {}", group.name);
        let store = self.acting(caller, "groups.update", target, detail(&change));
        Ok(store.groups().update(id, change).await?)
    }

    /// Deletes a group; its people are in none then. For admins.
    pub async fn delete_group(&self, caller: &Caller, id: GroupId) -> Result<()> {
        caller.require_admin()?;
        caller.require_unrestricted()?;
        let group = self.inner.store.groups().by_id(id).await?.ok_or(Error::NotFound)?;
        let target = format!("group {}", group.name);
        let store = self.acting(caller, "groups.delete", target, json!({}));
        Ok(store.groups().delete(id).await?)
    }

    /// The group of this name, or an error that names the field.
    pub(super) async fn group_named(&self, name: &str) -> Result<Group> {
        let found = self.inner.store.groups().by_name(name.trim()).await?;
        found.ok_or_else(|| Error::invalid("group", format!("There is no group `{name}`.")))
    }
}

fn parse(wishes: GroupWishes) -> Result<GroupChange> {
    if let Some(limits) = &wishes.limits {
        check_limits(limits)?;
    }
    Ok(GroupChange {
        name: wishes.name.as_deref().map(names::parse).transpose()?,
        models: wishes
            .models
            .map(|models| models.map(api_tokens::parse_models).transpose())
            .transpose()?,
        limits: wishes.limits,
    })
}

/// A limit of nothing is no limit but a way to disable, of which there is a better one.
pub(super) fn check_limits(limits: &Limits) -> Result<()> {
    let all = [
        ("requests_per_minute", limits.requests_per_minute),
        ("tokens_per_minute", limits.tokens_per_minute),
        ("max_running", limits.max_running),
    ];
    match all.iter().find(|(_, limit)| *limit == Some(0)) {
        Some((name, _)) => {
            Err(Error::invalid(name, format!("'{name}' must be at least 1, or null for none.")))
        }
        None => Ok(()),
    }
}

fn detail(change: &GroupChange) -> serde_json::Value {
    let mut detail = json!({});
    if let Some(name) = &change.name {
        detail["name"] = json!(name);
    }
    if let Some(models) = &change.models {
        detail["models"] = json!(models);
    }
    if let Some(limits) = &change.limits {
        detail["limits"] = json!(limits);
    }
    detail
}
