//! API tokens: made, listed and deleted by their owners and by admins.

use std::net::IpAddr;

use hearth_store::{ApiToken, ApiTokenChange, ApiTokenId, NewApiToken, Rotation, User};
use ipnet::IpNet;
use serde_json::{Value, json};

use super::secrets::{self, Secret, TOKEN_START};
use super::{Accounts, names};
use crate::caller::Caller;
use crate::error::{Error, Result};

/// Most models or networks that one API token names.
const MAX_ENTRIES: usize = 100;
/// Longest name or start of a name of a model, in bytes.
const MAX_MODEL_BYTES: usize = 256;
/// Letters of the secret that the list shows after its start.
const SHOWN_LETTERS: usize = 4;
/// Longest time that a secret works beside the one that replaces it: 30 days.
const MAX_OVERLAP_S: u32 = 30 * 24 * 60 * 60;

/// An API token to be made.
#[derive(Clone, Debug, Default)]
pub struct NewToken {
    /// What its owner calls it; 1 to 64 characters.
    pub name: String,
    /// Name of the user whose it will be; `None` is the caller. Others need an admin.
    pub user: Option<String>,
    /// Unix seconds; `None` never expires.
    pub expires_at: Option<i64>,
    /// Names, or starts of names with `*`, of models; `None` is all.
    pub models: Option<Vec<String>>,
    /// Addresses or networks that it may be used from; `None` is everywhere.
    pub allow_ips: Option<Vec<String>>,
    /// Names of groups: it works only while its owner is in one of them; `None` is always.
    pub groups: Option<Vec<String>>,
}

/// What is changed of an API token; `None` leaves it, `Some(None)` takes a bound away.
#[derive(Clone, Debug, Default)]
pub struct TokenChange {
    /// A new name.
    pub name: Option<String>,
    /// Disables or enables.
    pub disabled: Option<bool>,
    /// As [`NewToken::expires_at`].
    pub expires_at: Option<Option<i64>>,
    /// As [`NewToken::models`].
    pub models: Option<Option<Vec<String>>>,
    /// As [`NewToken::allow_ips`].
    pub allow_ips: Option<Option<Vec<String>>>,
    /// As [`NewToken::groups`].
    pub groups: Option<Option<Vec<String>>>,
}

impl Accounts {
    /// Makes an API token; its secret is shown this once.
    pub async fn create_token(&self, caller: &Caller, new: NewToken) -> Result<(ApiToken, Secret)> {
        caller.require_unrestricted()?;
        let owner = self.owner_of_new(caller, new.user.as_deref()).await?;
        let now = self.inner.clock.now();
        if new.expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(Error::invalid("expires_at", "'expires_at' must be in the future."));
        }
        let more = self
            .parse_change(TokenChange { groups: Some(new.groups), ..TokenChange::default() })
            .await?;
        let secret = secrets::new_token();
        let row = NewApiToken {
            user_id: owner.id,
            name: names::parse(&new.name)?,
            prefix: shown(&secret),
            hash: self.inner.keys.hash(secret.reveal()),
            created_at: now,
            expires_at: new.expires_at,
            models: new.models.map(parse_models).transpose()?,
            allow_ips: new.allow_ips.map(parse_networks).transpose()?,
        };
        let detail = json!({
            "prefix": row.prefix, "expires_at": row.expires_at, "models": row.models,
            "allow_ips": row.allow_ips, "groups": more.groups.clone().flatten(),
        });
        let target = format!("token {} of {}", row.name, owner.name);
        let store = self.acting(caller, "tokens.create", target, detail);
        let token = store.api_tokens().create_with(row, more).await?;
        Ok((token, secret))
    }

    /// Changes an API token: the caller's own, or anybody's for admins.
    pub async fn update_token(
        &self,
        caller: &Caller,
        id: ApiTokenId,
        change: TokenChange,
    ) -> Result<ApiToken> {
        let (token, owner) = self.token_to_change(caller, id).await?;
        let change = self.parse_change(change).await?;
        let target = format!("token {} of {}", token.name, owner.name);
        let store = self.acting(caller, "tokens.update", target, changed(id, &change));
        let token = store.api_tokens().update(id, Some(owner.id), change).await?;
        self.inner.revocations.ring();
        Ok(token)
    }

    /// Gives an API token a new secret, shown this once; the old one works for `overlap_s` more.
    pub async fn rotate_token(
        &self,
        caller: &Caller,
        id: ApiTokenId,
        overlap_s: u32,
    ) -> Result<(ApiToken, Secret)> {
        if overlap_s > MAX_OVERLAP_S {
            let message = format!("'overlap_s' must be 0 to {MAX_OVERLAP_S}.");
            return Err(Error::invalid("overlap_s", message));
        }
        let (token, owner) = self.token_to_change(caller, id).await?;
        let secret = secrets::new_token();
        let new = Rotation {
            prefix: shown(&secret),
            hash: self.inner.keys.hash(secret.reveal()),
            old_expires_at: self.inner.clock.now() + i64::from(overlap_s),
        };
        let target = format!("token {} of {}", token.name, owner.name);
        let detail = json!({ "id": id, "prefix": new.prefix, "overlap_s": overlap_s });
        let store = self.acting(caller, "tokens.rotate", target, detail);
        Ok((store.api_tokens().rotate(id, Some(owner.id), new).await?, secret))
    }

    /// The caller's API tokens, or everybody's for admins, in the order of their ids.
    pub async fn list_tokens(
        &self,
        caller: &Caller,
        all: bool,
        after: Option<ApiTokenId>,
        limit: u32,
    ) -> Result<Vec<ApiToken>> {
        let tokens = self.inner.store.api_tokens();
        if all {
            caller.require_admin()?;
            return Ok(tokens.list_all(after, limit).await?);
        }
        Ok(tokens.list_of(caller.owner()?, after, limit).await?)
    }

    /// Deletes an API token: the caller's own, or anybody's for admins.
    pub async fn delete_token(&self, caller: &Caller, id: ApiTokenId) -> Result<()> {
        let (token, owner) = self.token_to_change(caller, id).await?;
        let target = format!("token {} of {}", token.name, owner.name);
        let detail = json!({ "id": id, "prefix": token.prefix });
        let store = self.acting(caller, "tokens.delete", target, detail);
        store.api_tokens().delete_of(owner.id, id).await?;
        self.inner.revocations.ring();
        Ok(())
    }

    async fn owner_of_new(&self, caller: &Caller, user: Option<&str>) -> Result<User> {
        let own = caller.user_id.is_some() && user.is_none_or(|name| caller.name == name);
        match user {
            Some(name) if !own => {
                let owner = self.user_by_name(caller, name).await?;
                // A token of somebody else does what they may do.
                caller.require_rank(owner.role)?;
                self.require_confirmed(caller)?;
                Ok(owner)
            }
            _ => self.me(caller).await,
        }
    }

    /// An API token and its owner, if the caller may change it; a foreign one is not found.
    async fn token_to_change(&self, caller: &Caller, id: ApiTokenId) -> Result<(ApiToken, User)> {
        caller.require_unrestricted()?;
        let found = self.inner.store.api_tokens().by_id(id).await?;
        let is_own = |user: &User| caller.user_id == Some(user.id);
        let (token, owner) = found
            .filter(|(_, owner)| is_own(owner) || caller.require_admin().is_ok())
            .ok_or(Error::NotFound)?;
        if !is_own(&owner) {
            caller.require_rank(owner.role)?;
        }
        Ok((token, owner))
    }

    async fn parse_change(&self, change: TokenChange) -> Result<ApiTokenChange> {
        if let Some(Some(groups)) = &change.groups {
            if groups.len() > MAX_ENTRIES {
                return Err(Error::invalid("groups", "'groups' may have at most 100 entries."));
            }
            for name in groups {
                self.group_named(name).await?;
            }
        }
        Ok(ApiTokenChange {
            name: change.name.as_deref().map(names::parse).transpose()?,
            disabled: change.disabled,
            expires_at: change.expires_at,
            models: change.models.map(|list| list.map(parse_models).transpose()).transpose()?,
            allow_ips: change
                .allow_ips
                .map(|list| list.map(parse_networks).transpose())
                .transpose()?,
            groups: change.groups,
        })
    }
}

/// What the list shows of a secret.
fn shown(secret: &Secret) -> String {
    let start = secret.reveal().get(..TOKEN_START.len() + SHOWN_LETTERS).unwrap_or_default();
    format!("{start}…")
}

/// What of a token was changed, for the audit log.
fn changed(id: ApiTokenId, change: &ApiTokenChange) -> Value {
    let mut detail = json!({ "id": id });
    let fields = [
        ("name", change.name.as_ref().map(|name| json!(name))),
        ("disabled", change.disabled.map(|disabled| json!(disabled))),
        ("expires_at", change.expires_at.map(|time| json!(time))),
        ("models", change.models.as_ref().map(|list| json!(list))),
        ("allow_ips", change.allow_ips.as_ref().map(|list| json!(list))),
        ("groups", change.groups.as_ref().map(|list| json!(list))),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            detail[name] = value;
        }
    }
    detail
}

pub(super) fn parse_models(models: Vec<String>) -> Result<Vec<String>> {
    let wrong = |message: &str| Err(Error::invalid("models", message));
    if models.len() > MAX_ENTRIES {
        return wrong("'models' may have at most 100 entries.");
    }
    for model in &models {
        let start = model.strip_suffix('*').unwrap_or(model);
        if model.is_empty() || model.len() > MAX_MODEL_BYTES || start.contains('*') {
            return wrong("Each of 'models' is a model's name, or the start of one and *.");
        }
    }
    Ok(models)
}

/// Networks in one spelling; a single address is a network of one.
pub(super) fn parse_networks(networks: Vec<String>) -> Result<Vec<String>> {
    if networks.len() > MAX_ENTRIES {
        return Err(Error::invalid("allow_ips", "'allow_ips' may have at most 100 entries."));
    }
    let parse = |text: &String| {
        let text = text.trim();
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.ok().map(|network| network.trunc().to_string())
    };
    networks.iter().map(parse).collect::<Option<_>>().ok_or_else(|| {
        let message = "Each of 'allow_ips' is an address such as 10.0.0.1 or a network such as \
                       10.0.0.0/8.";
        Error::invalid("allow_ips", message)
    })
}
