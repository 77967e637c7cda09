//! Groups of people, and which models they may use.

use hearth_store::{Group, GroupChange, GroupId};
use serde_json::json;

use super::{Accounts, api_tokens, names};
use crate::caller::Caller;
use crate::error::{Error, Result};

/// The most parts of what the engine computes.
const MAX_WEIGHT: u16 = 100;

/// What an admin wants of a group; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct GroupWishes {
    /// 1 to 64 characters.
    pub name: Option<String>,
    /// Models that its people may use, or `Some(None)` for all.
    pub models: Option<Option<Vec<String>>>,
    /// Parts of what the engine computes that its people have against one of others, 1 to 100.
    pub weight: Option<u16>,
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
    if wishes.weight.is_some_and(|weight| !(1..=MAX_WEIGHT).contains(&weight)) {
        let message = format!("A weight is 1 to {MAX_WEIGHT}.");
        return Err(Error::invalid("weight", message));
    }
    Ok(GroupChange {
        weight: wishes.weight,
        name: wishes.name.as_deref().map(names::parse).transpose()?,
        models: wishes
            .models
            .map(|models| models.map(api_tokens::parse_models).transpose())
            .transpose()?,
    })
}

fn detail(change: &GroupChange) -> serde_json::Value {
    let mut detail = json!({});
    if let Some(name) = &change.name {
        detail["name"] = json!(name);
    }
    if let Some(weight) = change.weight {
        detail["weight"] = json!(weight);
    }
    if let Some(models) = &change.models {
        detail["models"] = json!(models);
    }
    detail
}
