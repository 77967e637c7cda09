//! What admins do with routes and with the policies of groups.

use hearth_store::{GroupId, RouteRow};
use serde_json::json;

use super::{Channels, spec};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::routing::{Policy, Route};

impl Channels {
    /// Every route, by model. For admins.
    pub fn routes(&self, caller: &Caller) -> Result<Vec<(String, Route)>> {
        caller.require_admin()?;
        let board = self.board();
        let mut routes: Vec<(String, Route)> =
            board.routes.iter().map(|(model, route)| (model.clone(), route.clone())).collect();
        routes.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(routes)
    }

    /// Makes or replaces the route of a model. For admins.
    pub async fn set_route(&self, caller: &Caller, model: &str, route: &Route) -> Result<()> {
        caller.require_admin()?;
        spec::check_name("model", model)?;
        route.check()?;
        let settings = serde_json::to_string(route)
            .map_err(|error| Error::Internal(format!("a route: {error}")))?;
        let row = RouteRow { model: model.to_owned(), settings };
        let target = format!("route {model}");
        let store = self.acting(caller, "routes.set", target, json!(route));
        store.routes().set(row, self.inner.clock.now()).await?;
        self.reload().await
    }

    /// Removes the route of a model. For admins.
    pub async fn remove_route(&self, caller: &Caller, model: &str) -> Result<()> {
        caller.require_admin()?;
        let store = self.acting(caller, "routes.remove", format!("route {model}"), json!({}));
        store.routes().remove(model.to_owned()).await?;
        self.reload().await
    }

    /// The policies of groups, by the groups' names. For admins.
    pub async fn group_policies(&self, caller: &Caller) -> Result<Vec<(String, Policy)>> {
        caller.require_admin()?;
        let board = self.board();
        let groups = self.inner.store.groups().list().await?;
        let policy = |id: &GroupId| board.group_policies.get(id).copied();
        Ok(groups.into_iter().filter_map(|group| Some((group.name, policy(&group.id)?))).collect())
    }

    /// Sets the policy of a group, or takes it away. For admins.
    pub async fn set_group_policy(
        &self,
        caller: &Caller,
        group: &str,
        policy: Option<Policy>,
    ) -> Result<()> {
        caller.require_admin()?;
        let target = format!("group {group}");
        let group = self.inner.store.groups().by_name(group).await?.ok_or(Error::NotFound)?;
        let name = policy.map(|policy| serde_json::to_value(policy).unwrap_or_default());
        let name = name.and_then(|name| name.as_str().map(str::to_owned));
        let store = self.acting(caller, "groups.policy", target, json!({ "policy": name }));
        store.routes().set_group_policy(group.id, name).await?;
        self.reload().await
    }
}
