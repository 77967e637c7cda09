//! Who asks, and what that allows.

use std::net::IpAddr;

use hearth_store::{Act, ApiTokenId, GroupId, SessionHash, UserId, UserRole};
use serde_json::Value;

use crate::backend::Asker;
use crate::call::CallNotes;
use crate::error::{Error, Result};
use crate::permission::{Permission, permissions};

/// Who asks. Made only by [`crate::accounts::Accounts`] from a credential, or by
/// [`Caller::operator`] for the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    /// `None` is the operator, who owns nothing.
    pub user_id: Option<UserId>,
    /// The user's name, for people.
    pub name: String,
    /// What the caller may do.
    pub role: UserRole,
    /// The credential that was shown.
    pub via: Via,
    /// Where from, and within which bounds.
    pub scope: Scope,
}

/// Where a caller comes from and what their group allows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The group that the user is in.
    pub group_id: Option<GroupId>,
    /// Its name.
    pub group: Option<String>,
    /// The models that the group's people may use; `None` is all.
    pub models: Option<Vec<String>>,
    /// What came with the call.
    pub notes: CallNotes,
    /// The user's part of what this machine computes, as their group has it; 0 counts as 1.
    pub weight: u16,
    /// When the user of a session last proved who they are, in Unix seconds.
    pub confirmed_at: i64,
}

/// The credential that a caller has shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Via {
    /// The web app's cookie.
    Session(SessionHash),
    /// An API token.
    ApiToken {
        /// Which one.
        id: ApiTokenId,
        /// The models that it may use; `None` is all.
        models: Option<Vec<String>>,
        /// Whether it can do less than its owner, or only for a time.
        restricted: bool,
    },
    /// The control secret of the data directory, or the directory itself.
    Operator,
}

impl Caller {
    /// Whoever has the data directory in their hands: the command line.
    pub fn operator() -> Caller {
        Caller {
            user_id: None,
            name: "operator".to_owned(),
            role: UserRole::Owner,
            via: Via::Operator,
            scope: Scope::default(),
        }
    }

    /// The caller as those see it who share out what all want.
    pub fn asker(&self) -> Asker {
        Asker { user: self.user_id, token: self.token_id(), weight: self.scope.weight }
    }

    /// The user on whose rows the caller acts; the operator has none.
    pub fn owner(&self) -> Result<UserId> {
        self.user_id.ok_or_else(|| {
            Error::Forbidden("This needs a user; the operator of the machine is none.".to_owned())
        })
    }

    /// Refuses everybody but admins and the operator.
    pub fn require_admin(&self) -> Result<()> {
        self.require(Permission::ManagePeople)
    }

    /// Refuses whoever's role does not have this permission.
    pub fn require(&self, permission: Permission) -> Result<()> {
        if permissions(self.role).contains(&permission) {
            return Ok(());
        }
        let who = match permission {
            Permission::ManageOwners => "an owner",
            _ => "an admin",
        };
        Err(Error::Forbidden(format!("This needs {who}.")))
    }

    /// Refuses to give somebody a role above the caller's own.
    pub fn require_rank(&self, role: UserRole) -> Result<()> {
        match role <= self.role {
            true => Ok(()),
            false => Err(Error::Forbidden("This needs an owner.".to_owned())),
        }
    }

    /// Refuses sessions whose user has not proved who they are since this time: what is dangerous
    /// is not done by whoever finds a browser open.
    pub fn require_confirmed(&self, since: i64) -> Result<()> {
        match self.via {
            Via::Session(_) if self.scope.confirmed_at < since => Err(Error::ConfirmRequired),
            _ => Ok(()),
        }
    }

    /// An act of this caller, for the audit log.
    pub fn act(&self, at: i64, action: &'static str, target: String, detail: Value) -> Act {
        let via = match &self.via {
            Via::Session(_) => "session".to_owned(),
            Via::ApiToken { id, .. } => format!("token {}", id.0),
            Via::Operator => "operator".to_owned(),
        };
        let address = self.scope.address.map(|address| address.to_string()).unwrap_or_default();
        let actor = self.name.clone();
        Act { at, actor_id: self.user_id, actor, via, address, action, target, detail }
    }

    /// Refuses everybody but the operator.
    pub fn require_operator(&self) -> Result<()> {
        match self.via {
            Via::Operator => Ok(()),
            Via::Session(_) | Via::ApiToken { .. } => Err(Error::Forbidden(
                "This is done with the hearth command on the server's own machine.".to_owned(),
            )),
        }
    }

    /// Refuses API tokens that can do less than their owner: with one, nobody may make
    /// credentials that can do more.
    pub fn require_unrestricted(&self) -> Result<()> {
        match self.via {
            Via::ApiToken { restricted: true, .. } => Err(Error::Forbidden(
                "An API token with limits cannot do this; sign in or use one without limits."
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Whether the caller's credential and group allow this model.
    pub fn may_use_model(&self, model: &str) -> bool {
        let allows = |patterns: &Vec<String>| patterns.iter().any(|pattern| covers(pattern, model));
        let by_token = match &self.via {
            Via::ApiToken { models: Some(patterns), .. } => allows(patterns),
            _ => true,
        };
        by_token && self.scope.models.as_ref().is_none_or(allows)
    }

    /// The API token that was shown, for the books.
    pub fn token_id(&self) -> Option<ApiTokenId> {
        match self.via {
            Via::ApiToken { id, .. } => Some(id),
            _ => None,
        }
    }
}

/// A pattern is a model's name, or the start of one and `*`.
fn covers(pattern: &str, model: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => model.starts_with(start),
        None => pattern == model,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_models(models: &[&str]) -> Caller {
        let models = Some(models.iter().map(|&model| model.to_owned()).collect());
        Caller {
            user_id: Some(UserId(1)),
            name: "u".to_owned(),
            role: UserRole::User,
            via: Via::ApiToken { id: ApiTokenId(1), models, restricted: true },
            scope: Scope::default(),
        }
    }

    #[test]
    fn a_token_uses_the_models_that_it_names_and_no_others() {
        let caller = with_models(&["llama3", "qwen*"]);
        for (model, allowed) in
            [("llama3", true), ("llama3.1", false), ("qwen2:7b", true), ("Qwen2", false)]
        {
            assert_eq!(caller.may_use_model(model), allowed, "{model}");
        }
        assert!(with_models(&["*"]).may_use_model("anything"));
        assert!(!with_models(&[]).may_use_model("anything"), "an empty list allows nothing");
        let mut member = with_models(&["llama3", "qwen*"]);
        member.scope.models = Some(vec!["qwen2*".to_owned()]);
        for (model, allowed) in [("llama3", false), ("qwen1", false), ("qwen2:7b", true)] {
            assert_eq!(member.may_use_model(model), allowed, "{model}: group and token together");
        }
    }

    #[test]
    fn the_operator_administers_but_owns_nothing() {
        let operator = Caller::operator();
        operator.require_admin().unwrap();
        operator.require_operator().unwrap();
        assert!(matches!(operator.owner(), Err(Error::Forbidden(_))));
        let user = with_models(&["*"]);
        assert!(user.require_admin().is_err());
        assert!(user.require_operator().is_err());
        assert!(user.require_unrestricted().is_err());
    }
}
